"""Public rules: what decides about scale and curvature is the study file alone."""

import pytest

from privacy.studies import column_rules
from privacy.studies.agreement import build
from privacy.studies.study import Study, parse_study
from privacy.studies.training import resolve_training


def wide(
    columns: int,
    patients: int,
    epsilon: float = 1.0,
    mode: str = "distributed",
    event: str = "",
    recipe: str = "newton",
    more: str = "",
) -> Study:
    fields = "".join(
        f'[[field]]\nname = "x{j}"\ntype = "float"\nrole = "feature"\npurpose = "p"\nminimum = -1\nmaximum = 1\n'
        for j in range(columns)
    )
    sizes = ", ".join(f"{hospital} = {patients // 5}" for hospital in "abcde")
    model = f'recipe = "{recipe}"\n{more}'
    return parse_study(
        f'[study]\nid = "s"\npurpose = "p"\nhorizon_days = 1000\nn_public = {{{sizes}}}\n[cohort]\nthreshold = 4\n'
        f'[privacy]\nmode = "{mode}"\nepsilon = {epsilon:g}\ndelta = 1e-5\n[model]\n{model}\n'
        '[[field]]\nname = "days"\ntype = "float"\nrole = "time"\nunit = "days"\npurpose = "p"\n'
        f'[[field]]\nname = "event"\ntype = "int"\nrole = "event"\npurpose = "p"\n{event}{fields}',
        "wide",
    )


@pytest.mark.parametrize(
    ("study", "readable"),
    [
        (wide(8, 3000), True),
        (wide(14, 400), False),
        (wide(14, 400, epsilon=30), True),
        (wide(40, 7000), False),
        (wide(8, 3000, event="expected = [0.02, 0.08]\n"), False),
        # Every hospital's full noise: the same consortium cannot read it.
        (wide(8, 3000, mode="local"), False),
    ],
)
def test_a_hessian_is_released_where_its_directions_stand_out_of_its_noise(
    study: Study, readable: bool
) -> None:
    assert column_rules.hessian_is_readable(study) == readable
    training = resolve_training(study)
    assert (training.column_spread == ()) == readable
    names = [task.name for task in build(study).tasks]
    assert ("hessian" in names) == readable


def test_a_public_curvature_is_paid_by_nothing_and_leaves_its_budget_to_the_score() -> None:
    few, many = build(wide(14, 400)), build(wide(8, 3000))
    assert few.plan is not None
    assert many.plan is not None
    assert few.plan.release("newton").clip_l2 < many.plan.release("newton").clip_l2
    assert few.plan.release("newton").noise_multiplier < many.plan.release("newton").noise_multiplier
    assert sum(task.share for task in few.tasks) == pytest.approx(1.0)


def test_the_expected_spread_is_that_of_scaled_columns() -> None:
    study = wide(3, 100)
    assert column_rules.spread(study, 2.0) == pytest.approx((4 / 12,) * 3, abs=1e-6)
    assert column_rules.expected_events(study) == pytest.approx(100 / 3)


@pytest.mark.parametrize(
    ("study", "recipe"),
    [
        (wide(8, 3000, mode="local", recipe="auto"), "newton"),
        (wide(14, 600, mode="local", recipe="auto"), "dp_sgd"),
        (wide(8, 3000, mode="local", recipe="auto", more='strategy = "fedavg"'), "dp_sgd"),
        (wide(8, 3000, mode="local", recipe="auto", more="sample_rate = 0.2"), "dp_sgd"),
        (wide(8, 3000, mode="local", recipe="auto", more='family = "mlp"'), "dp_sgd"),
        (wide(60, 3000, recipe="auto"), "newton"),
        (wide(60, 3000, recipe="auto", more='family = "mlp"'), "adam"),
    ],
)
def test_auto_follows_columns_and_expected_events(study: Study, recipe: str) -> None:
    assert study.recipe == recipe
