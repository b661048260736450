"""Sums over patients as integers: exact, held to the clip whatever the formulas say, noised once."""

import numpy as np
import pytest

from hospital_node.client_app import TaskError
from hospital_node.entropy import DiscreteGaussian, OsEntropy
from hospital_node.local_study import LocalStudy
from hospital_node.statistics.sums import summed
from hospital_node.statistics.tasks import Patients, UnknownTaskError, rows_of
from hospital_node.survival.follow_up import exit_counts
from privacy.guarantees.release import Release
from privacy.noise.mechanisms import decode_release
from privacy.recipes.tasks import RISK_BINS
from privacy.studies.agreement import build
from privacy.studies.exchange import statistic_release
from tests.study_files import study
from tests.unit.hospital_node.survival.patients import made_up_cohort
from tests.unit.hospital_node.test_local_study import ask

RELEASE = Release("newton", "gaussian", 1.0, clip_l2=2.0, shares=3)
DISTRIBUTED = ('mode = "local"', 'mode = "distributed"')
N = 2500


def local(*changes: tuple[str, str], n: int = N) -> LocalStudy:
    agreement = build(study(*changes))
    cohort = made_up_cohort(n)
    wide = np.zeros((n, len(agreement.columns)))
    wide[:, :3] = cohort.x
    return LocalStudy.of(
        agreement, "a", type(cohort)(wide, cohort.time, cohort.event), DiscreteGaussian(), OsEntropy()
    )


def test_slices_add_up_to_the_whole() -> None:
    rows = np.random.default_rng(1).normal(0, 0.3, (N, 4))
    total = summed(N, lambda chosen: rows[chosen], RELEASE, None)
    np.testing.assert_allclose(decode_release(total, RELEASE), rows.sum(axis=0), atol=1e-8)
    assert total.dtype == np.int64


def test_a_patient_beyond_the_clip_or_not_finite_is_held_whatever_the_formula_says() -> None:
    for wild in (1e9, np.inf, np.nan):
        total = summed(1, lambda chosen, wild=wild: np.full((1, 4), wild), RELEASE, None)
        assert sum(int(unit) ** 2 for unit in total) <= RELEASE.units**2


def test_nobody_is_noised_like_everybody() -> None:
    draws = summed(0, lambda chosen: np.zeros((0, 4000)), RELEASE, DiscreteGaussian())
    ratio = float(np.mean((draws / RELEASE.scale_units()) ** 2))
    assert abs(ratio - 1) < 5 * np.sqrt(2 / 4000)


def test_three_shares_have_the_central_noise_and_two_thirds_of_it_is_caught() -> None:
    """The real sampler through the real sum, at a hospital's share; a share too small must fail the same test."""

    def ratio(scale: float) -> float:
        class Scaled:
            def draw(self, count: int, share: int) -> np.ndarray:
                return DiscreteGaussian().draw(count, round(share * scale))

        parts = [summed(0, lambda chosen: np.zeros((0, 4000)), RELEASE, Scaled()) for _ in range(3)]
        central = RELEASE.noise_multiplier * RELEASE.units
        return float(np.mean((np.sum(parts, axis=0) / central) ** 2))

    bound = 5 * np.sqrt(2 / 4000)
    assert abs(ratio(1.0) - 1) < bound
    assert abs(ratio(0.9) - 1) > bound


def test_the_life_table_is_the_exit_histogram() -> None:
    hospital = local(DISTRIBUTED)
    quiet = LocalStudy.of(
        build(study(("[model]", '[model]\nrecipe = "newton"'), ('mode = "local"', 'mode = "none"'))),
        "a",
        hospital.cohort,
        DiscreteGaussian(),
        OsEntropy(),
    )
    counts = decode_release(
        quiet.statistic("life_table", np.zeros(quiet.model.layout.dim)), quiet.statistics["life_table"]
    )
    np.testing.assert_allclose(counts, exit_counts(hospital.cohort, hospital.grid_days), atol=1e-4)


def test_a_patient_is_one_cell_of_the_risk_table() -> None:
    hospital = local(("[model]", '[model]\nrecipe = "adam"'))
    everyone = Patients.of(hospital.cohort, hospital.patients, hospital.grid_days)
    theta = np.zeros(hospital.model.layout.dim)
    theta[1] = 1.0
    theta[-3:] = 0.7
    rows = rows_of("risk_table", hospital.model, hospital.training, theta, everyone)(slice(None))
    assert rows.shape == (N, 2 * RISK_BINS * 10)
    np.testing.assert_array_equal(rows.sum(axis=1), 1.0)
    np.testing.assert_array_equal(np.unique(rows), [0.0, 1.0])


def test_the_client_app_answers_noised_integers_to_the_last_unit() -> None:
    hospital = local(DISTRIBUTED)
    theta = np.zeros(hospital.model.layout.dim)
    for task, release in hospital.statistics.items():
        answer, metrics = ask(hospital, theta, task=task, round=1)
        assert answer["part0"].dtype == np.int64
        assert metrics == {"num-examples": 1}
        # A float would have lost the lowest bits; the noise reaches them.
        assert np.unique(answer["part0"] & 7).size > 1
        assert release == statistic_release(
            build(study(DISTRIBUTED)), next(t for t in build(study(DISTRIBUTED)).tasks if t.name == task)
        )


@pytest.mark.parametrize("task", ["train", "gradient", "risk_table", "weights"])
def test_a_task_of_another_recipe_is_refused(task: str) -> None:
    hospital = local(DISTRIBUTED)
    with pytest.raises(TaskError, match="does not have"):
        ask(hospital, np.zeros(hospital.model.layout.dim), task=task, round=1)


def test_an_unknown_statistic_is_refused() -> None:
    hospital = local(DISTRIBUTED)
    everyone = Patients.of(hospital.cohort, hospital.patients, hospital.grid_days)
    with pytest.raises(UnknownTaskError):
        rows_of("row_count", hospital.model, hospital.training, np.zeros(20), everyone)
