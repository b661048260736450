"""The fold over released sums."""

import numpy as np
import pytest

from privacy.recipes.adam import Adam
from privacy.recipes.fit import Fit, Statistic
from privacy.studies.agreement import Agreement, build
from privacy.studies.trained_model import layout_of
from tests.study_files import study

DISTRIBUTED = ('mode = "local"', 'mode = "distributed"')


def begin(*changes: tuple[str, str]) -> tuple[Agreement, Fit]:
    agreement = build(study(DISTRIBUTED, *changes))
    layout = layout_of(agreement)
    return agreement, Fit.start(agreement.training, layout, Statistic(np.repeat([20.0, 30.0], 10), 1.0))


def test_a_recipe_is_released_in_the_order_of_its_tasks_and_pays_for_each() -> None:
    agreement, _ = begin()
    assert agreement.plan is not None
    assert [task.name for task in agreement.tasks] == [r.name for r in agreement.plan.releases]
    assert [task.rounds for task in agreement.tasks] == [r.steps for r in agreement.plan.releases]
    assert sum(task.share for task in agreement.tasks) == pytest.approx(1.0)
    assert agreement.dim == 1 + max(task.length for task in agreement.tasks)


def test_a_sum_of_another_task_is_refused() -> None:
    _, fit = begin()
    for task in ("gradient", "life_table", "train"):
        with pytest.raises(ValueError, match="has no task"):
            fit.after(task, Statistic(np.zeros(3), 0.0))


def test_noise_alone_stays_within_the_box() -> None:
    """Only noised quantities move the fit, however large they are; what is ordered next is never wild."""
    rng = np.random.default_rng(1)
    agreement, fit = begin()
    for task in agreement.tasks[1:]:
        for _ in range(task.rounds):
            theta = fit.ordered(task.name)
            assert np.isfinite(theta).all()
            assert np.abs(theta).max() <= agreement.training.parameter_clip
            fit = fit.after(task.name, Statistic(rng.normal(0, 300, task.length), 300.0))
    assert np.isfinite(fit.result).all()
    assert fit.estimate is not None


def test_adam_climbs_and_is_recalibrated_from_bins_of_its_own_predictor() -> None:
    agreement, fit = begin(("[model]", '[model]\nrecipe = "adam"'))
    assert [task.name for task in agreement.tasks][-2:] == ["predictor_moments", "risk_table"]
    up = np.zeros(agreement.parameters)
    up[-1] = 5.0
    for _ in range(20):
        fit = fit.after("gradient", Statistic(up, 1.0))
    assert isinstance(fit.state, Adam)
    assert fit.ordered("gradient")[-1] == pytest.approx(20 * agreement.training.learning_rate, rel=0.01)
    assert fit.estimate is None
    fit = fit.after("predictor_moments", Statistic(np.array([1000.0, 100.0, 60.0]), 1.0))
    asked = fit.ordered("risk_table")
    assert asked[0] == pytest.approx(0.6)
    assert asked[1] == pytest.approx((36 * 0.06 - 0.36) ** 0.5)
    np.testing.assert_array_equal(asked[2:10], 0.0)
    assert fit.result is not None


def test_an_aborted_moments_round_leaves_the_fit_as_it_was() -> None:
    _, fit = begin(("[model]", '[model]\nrecipe = "adam"'))
    before = fit.result
    np.testing.assert_array_equal(fit.after("risk_table", Statistic(np.ones(160), 1.0)).result, before)
