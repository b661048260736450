"""The noise of the synthesizer's sums as a patient would look for it: the likelihood ratio of being in or out."""

import numpy as np
import pytest

from hospital_node.entropy import DiscreteGaussian
from privacy.guarantees.composition import gaussian_mu
from privacy.synthesis.charges import MARGINS, MOMENTS, SCORE
from privacy.synthesis.releases import synthesis_plan
from privacy.synthesis.statistics import margin_rows, measure, moment_rows, score_rows
from tests.statistical.test_noise import Scaled
from tests.unit.privacy.synthesis.patients import DICTIONARY, INTERVALS

DRAWS = 80
PLAN = synthesis_plan(1.0, 1e-5, DICTIONARY)
# Noise so small that 80 draws tell the right scale from two fifths of it.
LOUD = synthesis_plan(8.0, 1e-5, DICTIONARY)
# At every bound, so that no patient's rows are longer.
CANARY = np.ones((1, DICTIONARY.n_columns))
CELL = np.array([0])


def detectability(noise: DiscreteGaussian | Scaled) -> float:
    """How many standard deviations lie between the two hypotheses, for the best test of three of the four sums.

    The outcome's sum is projected before anybody sees it; what it adds is left out, so the value is below mu.
    """
    clip = LOUD.release(SCORE).clip_l2

    def ratio(x: np.ndarray, cell: np.ndarray) -> float:
        sums = measure(x, cell, INTERVALS, DICTIONARY, LOUD, noise, lambda _: None)
        rows = {
            SCORE: (sums.score, score_rows(CANARY, CELL, sums.outcome, clip)),
            MOMENTS: (sums.moments, moment_rows(CANARY, clip)),
            MARGINS: (sums.margins, margin_rows(CANARY, DICTIONARY)),
        }
        weight = {
            name: (LOUD.release(name).noise_multiplier * LOUD.release(name).clip_l2) ** -2 for name in rows
        }
        return float(sum(weight[name] * seen @ row[0] for name, (seen, row) in rows.items()))

    absent = [ratio(CANARY[:0], CELL[:0]) for _ in range(DRAWS)]
    present = [ratio(CANARY, CELL) for _ in range(DRAWS)]
    spread = np.sqrt((np.var(absent) + np.var(present)) / 2)
    return float((np.mean(present) - np.mean(absent)) / spread)


def within(found: float, at_most: float, at_least: float) -> bool:
    # Five standard errors of a difference of means in units of the spread.
    room = 5 * np.sqrt(2 / DRAWS)
    return at_least - room < found < at_most + room


@pytest.mark.threat("FL-26", control="C-DPSYNTH")
def test_a_patient_at_every_bound_is_as_detectable_as_the_accountant_says() -> None:
    mu = gaussian_mu(LOUD.releases)
    assert mu is not None
    assert within(detectability(DiscreteGaussian()), mu, 0.6 * mu)
    assert not within(detectability(Scaled(2 / 5)), mu, 0.6 * mu)


@pytest.mark.parametrize(("factor", "is_right"), [(1.0, True), (2 / 3, False), (3 / 2, False)])
def test_every_coordinate_has_its_noise(factor: float, is_right: bool) -> None:
    noise = DiscreteGaussian() if factor == 1.0 else Scaled(factor)
    nobody = CANARY[:0], CELL[:0]
    found = [measure(*nobody, INTERVALS, DICTIONARY, PLAN, noise, lambda _: None) for _ in range(60)]
    for name, draws in (
        (SCORE, np.array([sums.score for sums in found])),
        (MOMENTS, np.array([sums.moments for sums in found])),
        (MARGINS, np.array([sums.margins for sums in found])),
    ):
        release = PLAN.release(name)
        units = draws / (release.noise_multiplier * release.clip_l2)
        assert np.abs(units.mean(axis=0)).max() < 6 * factor / np.sqrt(60)
        assert (np.abs(np.square(units).mean() - 1) < 5 * np.sqrt(2 / units.size)) == is_right, name
        # No coordinate goes without.
        assert units.std(axis=0).min() > 0.5 * factor
