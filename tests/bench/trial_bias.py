"""What hazards that change within an interval do to the trial mode's effect: `python -m tests.bench.trial_bias`, JSON lines.

Trials of a million patients whose times are quantiles in the place of random ones, so that neither sampling nor the noise of epsilon 3 is left: what differs
from the log hazard ratio of -.7 is bias. Weibull hazards on the grid of ten intervals, censoring as in `tests.bench.trial`.
"""

import json

import numpy as np
from scipy.stats import qmc

from hospital_node.cohort import Cohort
from privacy.recipes.trial import Trial
from privacy.recipes.trial_interval import trial_estimate
from tests.bench.folded import integer_path
from tests.bench.trial import HORIZON_DAYS, HOSPITALS, agreement_of

LOG_HR = -0.7
PATIENTS_AN_ARM = 1 << 19
SHAPES = (0.8, 1.0, 1.2, 1.5)
HAZARDS = (0.45, 1.0, 1.5, 2.0, 3.0)


def patients(hazard: float, shape: float) -> dict[str, Cohort]:
    """Two equal arms; `hazard` is the cumulative one of the reference arm over the horizon."""
    places = qmc.Sobol(2, seed=1).random(PATIENTS_AN_ARM)
    until = np.minimum((0.5 + places[:, 1]) * HORIZON_DAYS, HORIZON_DAYS)
    times, events = [], []
    for effect in (0.0, LOG_HR):
        spent = -np.log1p(-places[:, 0])
        time = HORIZON_DAYS * (spent / (hazard * np.exp(effect))) ** (1 / shape)
        times.append(np.maximum(np.minimum(time, until), 1e-6))
        events.append((time <= until).astype(np.int64))
    arm = np.repeat([0.0, 1.0], PATIENTS_AN_ARM)[:, None]
    everybody = Cohort(arm, np.concatenate(times), np.concatenate(events))
    place = np.arange(2 * PATIENTS_AN_ARM) % len(HOSPITALS)
    return {name: everybody.select(np.flatnonzero(place == i)) for i, name in enumerate(HOSPITALS)}


def main() -> None:
    """Every shape with every hazard."""
    sizes = 2 * PATIENTS_AN_ARM // len(HOSPITALS)
    agreement = agreement_of("distributed", 3.0, {"0": 1.0, "1": 1.0}, sizes)
    for shape in SHAPES:
        for hazard in HAZARDS:
            fit = integer_path(agreement, patients(hazard, shape)).state
            assert isinstance(fit, Trial)
            row = {
                "shape": shape,
                "reference_hazard": hazard,
                "released_hazard": float(np.exp(fit.marginal).sum()),
                "bias": float(trial_estimate(fit).log_hr[0]) - LOG_HR,
            }
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
