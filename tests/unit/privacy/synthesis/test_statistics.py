"""One patient moves each of the four sums by no more than its clip, and what the noise costs is what was asked for."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import product
from math import sqrt

import numpy as np
import pytest
from dp_accounting import GaussianDpEvent
from dp_accounting.pld import PLDAccountant
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from privacy.guarantees.plan import DpPlan, Release
from privacy.noise.mechanisms import quantize
from privacy.studies.grid import FloatArray, IntArray
from privacy.studies.refusals import NotBuilt
from privacy.synthesis.attributes import attributes
from privacy.synthesis.releases import (
    MARGINS,
    MOMENTS,
    OUTCOME,
    SCORE,
    moments_clip,
    synthesis_plan,
)
from privacy.synthesis.statistics import (
    SMALLEST_TOTAL,
    margin_rows,
    measure,
    moment_rows,
    on_simplex,
    outcome_cell,
    outcome_rows,
    score_rows,
    scores,
)
from tests.study_files import study
from tests.unit.privacy.synthesis.patients import DICTIONARY, INTERVALS, drawn

PLAN = synthesis_plan(1.0, 1e-5, DICTIONARY)
CLIP = PLAN.release(SCORE).clip_l2
Rows = Callable[[FloatArray, IntArray, FloatArray], FloatArray]
ROWS: dict[str, Rows] = {
    OUTCOME: lambda x, cell, outcome: outcome_rows(cell, INTERVALS),
    SCORE: lambda x, cell, outcome: score_rows(x, cell, outcome, CLIP),
    MOMENTS: lambda x, cell, outcome: moment_rows(x, CLIP),
    MARGINS: lambda x, cell, outcome: margin_rows(x, DICTIONARY),
}
PATIENTS = arrays(np.float64, (6, DICTIONARY.n_columns), elements=st.floats(-1, 1))
CELLS = arrays(np.int64, 6, elements=st.integers(0, 2 * INTERVALS))
COUNTS = arrays(np.float64, 2 * INTERVALS + 1, elements=st.floats(-1e3, 1e5))


class Silent:
    """No noise, where a test wants the exact sums."""

    def draw(self, count: int, scale: int) -> IntArray:
        return np.zeros(count, dtype=np.int64)


def fits(rows: FloatArray, release: Release) -> bool:
    """Nobody's row is longer than the clip that the noise is scaled to, and so nobody's is shortened by it."""
    units = quantize(rows, release.clip_l2, release.units_bits)
    return bool(np.linalg.norm(rows, axis=1).max() <= release.clip_l2 * (1 + 1e-12)) and all(
        sum(int(unit) ** 2 for unit in row) <= release.units**2 for row in units
    )


def corners() -> FloatArray:
    """Every patient at the bounds in every column."""
    return np.array(list(product((-1.0, 1.0), repeat=DICTIONARY.n_columns)))


@settings(max_examples=30, deadline=None)
@given(PATIENTS, CELLS, COUNTS)
def test_one_patient_moves_each_sum_by_at_most_its_clip(
    x: FloatArray, cell: IntArray, noised: FloatArray
) -> None:
    outcome = on_simplex(noised)
    for name, rows in ROWS.items():
        assert fits(rows(x, cell, outcome), PLAN.release(name)), name


def test_the_bounds_are_attained_and_a_wrong_one_is_noticed() -> None:
    x = corners()
    cell = np.arange(len(x)) % (2 * INTERVALS + 1)
    outcome = on_simplex(np.full(2 * INTERVALS + 1, 10.0))
    longest = {name: np.linalg.norm(rows(x, cell, outcome), axis=1).max() for name, rows in ROWS.items()}
    assert longest[OUTCOME] == 1
    assert longest[MARGINS] == pytest.approx(sqrt(len(attributes(DICTIONARY))))
    assert 0.9 * CLIP < longest[SCORE] <= CLIP * (1 + 1e-12)
    assert longest[MOMENTS] == pytest.approx(moments_clip(CLIP))
    for name, rows in ROWS.items():
        release = PLAN.release(name)
        assert fits(rows(x, cell, outcome), release)
        assert not fits(rows(x, cell, outcome), replace(release, clip_l2=0.85 * longest[name]))
        assert not fits(2 * rows(x, cell, outcome), release)


def test_a_patient_whose_columns_are_long_is_shortened_alike_in_score_and_moments() -> None:
    x = np.ones((1, DICTIONARY.n_columns))
    norm = sqrt(DICTIONARY.n_columns)
    assert norm > CLIP
    outcome = on_simplex(np.full(2 * INTERVALS + 1, 10.0))
    assert moment_rows(x, CLIP)[0, 0] == pytest.approx(sqrt(2) * CLIP / norm)
    score = score_rows(x, np.array([0]), outcome, CLIP)[0, 0]
    assert score == pytest.approx(scores(outcome)[0] * CLIP / norm)


@pytest.mark.parametrize(("epsilon", "delta"), [(0.3, 1e-6), (1.0, 1e-5), (3.0, 1e-5)])
def test_an_independent_accountant_finds_the_epsilon_that_was_asked(epsilon: float, delta: float) -> None:
    plan = synthesis_plan(epsilon, delta, DICTIONARY)
    accountant = PLDAccountant()
    for release in plan.releases:
        # Standard deviation over sensitivity, both in the units of what is really summed and drawn.
        accountant.compose(GaussianDpEvent(release.scale_units() / release.sensitivity()))
    assert 0.98 * epsilon < accountant.get_epsilon(delta) <= epsilon * (1 + 1e-3)


@pytest.mark.parametrize("wrong", [MARGINS, MOMENTS])
def test_a_sensitivity_that_is_too_small_costs_more_than_epsilon(wrong: str) -> None:
    plan = synthesis_plan(1.0, 1e-5, DICTIONARY)
    accountant = PLDAccountant()
    for release in plan.releases:
        # A mutant that calibrated this release's noise for a clip of 1.
        lost = release.clip_l2 if release.name == wrong else 1.0
        accountant.compose(GaussianDpEvent(release.scale_units() / release.sensitivity() / lost))
    assert accountant.get_epsilon(1e-5) > 1.2


def test_all_four_are_paid_before_they_are_looked_at() -> None:
    told: list[str] = []

    class Watching(Silent):
        def draw(self, count: int, scale: int) -> IntArray:
            told.append(f"drawn {count}")
            assert scale in {release.scale_units() for release in PLAN.releases}
            return super().draw(count, scale)

    patients = drawn(200)
    measure(
        patients.x,
        patients.cell,
        INTERVALS,
        DICTIONARY,
        PLAN,
        Watching(),
        lambda release: told.append(release.name),
    )
    assert told[::2] == [OUTCOME, SCORE, MOMENTS, MARGINS]
    d = DICTIONARY.n_columns
    cells = sum(attribute.cells for attribute in attributes(DICTIONARY))
    assert told[1::2] == [f"drawn {n}" for n in (2 * INTERVALS + 1, d, d + d * (d + 1) // 2, cells)]


def test_without_noise_the_sums_are_those_of_the_patients() -> None:
    patients = drawn(300, seed=1)
    found = measure(patients.x, patients.cell, INTERVALS, DICTIONARY, PLAN, Silent(), lambda _: None)
    assert found.outcome == pytest.approx(np.bincount(patients.cell, minlength=2 * INTERVALS + 1), abs=1e-4)
    assert found.total == pytest.approx(300)
    assert found.margins.sum() == pytest.approx(300 * len(attributes(DICTIONARY)), rel=1e-6)
    smoker = DICTIONARY.columns().index("smoker")
    short = np.minimum(1, CLIP / np.linalg.norm(patients.x, axis=1))
    assert found.moments[smoker] == pytest.approx(sqrt(2) * (short * patients.x[:, smoker]).sum(), rel=1e-6)


@settings(max_examples=60, deadline=None)
@given(COUNTS)
def test_projected_counts_are_not_negative_and_keep_their_total(noised: FloatArray) -> None:
    counts = on_simplex(noised)
    assert counts.min() >= 0
    assert counts.sum() == pytest.approx(max(noised.sum(), SMALLEST_TOTAL), rel=1e-9, abs=1e-6)
    moved = counts > 0
    # The nearest point: all that stay above zero move by the same amount.
    assert np.ptp((noised - counts)[moved]) <= 1e-6 * max(1.0, np.abs(noised).max())


@settings(max_examples=60, deadline=None)
@given(COUNTS)
def test_scores_lie_within_one(noised: FloatArray) -> None:
    score = scores(on_simplex(noised))
    assert score.shape == (2 * INTERVALS + 1,)
    assert np.abs(score).max() <= 1


def test_scores_are_martingale_residuals_of_the_life_table() -> None:
    outcome = np.zeros(5)
    outcome[[0, 1, 2, 4]] = 10, 20, 10, 60
    first, second = 10 / (100 - 10), 20 / (80 - 10)
    expected = [1 - first / 2, 1 - first - second / 2, -first / 2, -first - second / 2, -first - second]
    assert scores(outcome) == pytest.approx(expected)


def test_the_cells_of_the_outcome() -> None:
    cell = outcome_cell(
        np.array([0, 2, 2, 2]), np.array([1, 0, 0, 1]), np.array([False, False, True, True]), 3
    )
    assert cell.tolist() == [0, 5, 6, 2]


def refused() -> Iterator[tuple[str, str]]:
    entry = '[[field]]\nname = "start"\ntype = "float"\nrole = "entry"\nunit = "days"\npurpose = "p"\n\n'
    yield '[[field]]\nname = "age"', entry + '[[field]]\nname = "age"'
    yield 'role = "event"', 'role = "event"\nminimum = 0\nmaximum = 2'


@pytest.mark.parametrize("change", list(refused()), ids=["left truncation", "competing risks"])
def test_what_has_no_cell_is_refused(change: tuple[str, str]) -> None:
    with pytest.raises(NotBuilt, match="synthetic data is not built yet"):
        synthesis_plan(1.0, 1e-5, study(change).dictionary)


def test_the_plan_is_four_full_batches() -> None:
    assert isinstance(PLAN, DpPlan)
    assert {(release.kind, release.steps, release.sensitivity_rows) for release in PLAN.releases} == {
        ("gaussian", 1, 1)
    }
