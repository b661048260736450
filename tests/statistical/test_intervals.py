"""Standard errors that know of the noise, against simulated patients: the errors of many fits in units of what was claimed."""

from dataclasses import replace

import numpy as np

from hospital_node.cohort import Cohort
from privacy.recipes.intervals import estimate
from privacy.recipes.newton import Newton
from privacy.studies.agreement import Agreement, build
from privacy.studies.study import parse_study
from tests.bench.folded import integer_path

HOSPITALS, PATIENTS, COLUMNS, STUDIES = "abcde", 3000, 8, 12


def agreement() -> Agreement:
    fields = "".join(
        f'[[field]]\nname = "x{j}"\ntype = "float"\nrole = "feature"\npurpose = "p"\nminimum = -1\nmaximum = 1\n'
        for j in range(COLUMNS)
    )
    sizes = ", ".join(f"{hospital} = 600" for hospital in HOSPITALS)
    return build(
        parse_study(
            f'[study]\nid = "s"\npurpose = "p"\nhorizon_days = 1000\nn_public = {{{sizes}}}\n'
            '[cohort]\nthreshold = 4\n[privacy]\nmode = "distributed"\nepsilon = 1\ndelta = 1e-5\n'
            '[[field]]\nname = "days"\ntype = "float"\nrole = "time"\nunit = "days"\npurpose = "p"\n'
            f'[[field]]\nname = "event"\ntype = "int"\nrole = "event"\npurpose = "p"\n{fields}',
            "simulated",
        )
    )


def patients(rng: np.random.Generator, log_hr: np.ndarray) -> Cohort:
    x = rng.uniform(-1, 1, (PATIENTS, COLUMNS))
    time = 900 * (rng.exponential(size=PATIENTS) / np.exp(x @ log_hr)) ** (1 / 1.2)
    until = np.minimum(rng.uniform(300, 1500, PATIENTS), 1000)
    return Cohort(x, np.maximum(np.minimum(time, until), 0.5), (time <= until).astype(np.int64))


def test_errors_are_as_large_as_claimed_and_larger_than_without_the_noise() -> None:
    agreed, rng = agreement(), np.random.default_rng(17)
    aware, naive = [], []
    for _ in range(STUDIES):
        log_hr = 0.35 * rng.normal(size=COLUMNS)
        cohort = patients(rng, log_hr)
        parts = {h: cohort.select(np.arange(PATIENTS)[i::5]) for i, h in enumerate(HOSPITALS)}
        state = integer_path(agreed, parts).state
        assert isinstance(state, Newton)
        known, blind = estimate(state), estimate(replace(state, noise_sd=(0.0,) * len(state.noise_sd)))
        assert known.standard_error is not None
        assert blind.standard_error is not None
        aware.append((known.log_hr - log_hr) / known.standard_error)
        naive.append((known.log_hr - log_hr) / blind.standard_error)
    # 96 errors: the root mean square of right ones has a standard deviation of .07.
    spread, blind_spread = np.sqrt(np.mean(np.square(aware))), np.sqrt(np.mean(np.square(naive)))
    assert 0.7 < spread < 1.4
    # The same errors in units that forget the noise: at this epsilon a fifth of every standard error.
    assert blind_spread > 1.1 * spread
