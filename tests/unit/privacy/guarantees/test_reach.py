"""What is tabulated at all: plans that keep their promise are, hopeless ones are not."""

from itertools import product
from math import log

import pytest

from privacy.guarantees.accounting import spent
from privacy.guarantees.composition import RDP_ORDERS, rdp_epsilon
from privacy.guarantees.plan import DpPlan, Release
from privacy.guarantees.reach import LOOSEST_RENYI, is_within_reach


def at_its_own_promise(release: Release, delta: float) -> DpPlan:
    return DpPlan((release,), spent([release], delta).number(), delta)


def looseness(plan: DpPlan) -> float:
    """How many times 1 + epsilon the Renyi epsilon is, beyond log(1 / delta)."""
    return (rdp_epsilon(plan.releases, plan.delta, RDP_ORDERS) + log(plan.delta)) / (1 + plan.epsilon)


# The loosest of the grid below: few steps at a small rate, where order 2 is the best and its conversion dear.
LOOSE = [
    pytest.param(0.001, 1, 3, 0.4, 1e-5, marks=pytest.mark.slow),
    pytest.param(0.001, 1, 10, 1.0, 1e-5, marks=pytest.mark.slow),
    pytest.param(0.001, 1, 3, 0.6, 1e-5, marks=pytest.mark.slow),
    (0.001, 1, 1, 0.4, 1e-5),
    (0.1, 20, 1, 1.0, 1e-5),
    (1.0, 20, 1, 8.0, 1e-5),
]


@pytest.mark.parametrize(("rate", "steps", "rows", "noise", "delta"), LOOSE)
def test_a_plan_that_keeps_its_promise_is_within_reach(
    rate: float, steps: int, rows: int, noise: float, delta: float
) -> None:
    release = Release("t", "gaussian" if rate == 1 else "poisson_gaussian", noise, rows, rate, steps)
    plan = at_its_own_promise(release, delta)
    assert looseness(plan) < LOOSEST_RENYI - 1
    assert is_within_reach(plan)


@pytest.mark.slow
def test_a_factor_alone_would_refuse_honest_plans() -> None:
    plan = at_its_own_promise(Release("t", "poisson_gaussian", 1.0, 10, 0.001, 1), 1e-5)
    assert rdp_epsilon(plan.releases, 1e-5, RDP_ORDERS) > 6 * (1 + plan.epsilon)


@pytest.mark.slow
def test_the_measured_bound_holds_over_a_grid() -> None:
    """From rate 0.001 on; below it the Renyi accountant explains little, and next to no noise may be called out of reach."""
    grid = product((0.001, 0.01, 0.1, 1.0), (1, 20, 400), (1, 3), (0.4, 0.6, 1.0, 2.0, 8.0), (1e-5, 1e-9))
    worst = 0.0
    for rate, steps, rows, noise, delta in grid:
        release = Release("t", "gaussian" if rate == 1 else "poisson_gaussian", noise, rows, rate, steps)
        if rdp_epsilon((release,), delta, RDP_ORDERS) > 40:
            continue
        plan = at_its_own_promise(release, delta)
        worst = max(worst, looseness(plan))
        assert plan.epsilon == 0 or is_within_reach(plan)
    assert 2 < worst <= 3


@pytest.mark.parametrize("noise", [0.01, 0.1])
def test_a_hopeless_plan_is_not_tabulated(noise: float) -> None:
    assert not is_within_reach(DpPlan((Release("t", "poisson_gaussian", noise, 1, 0.1, 1000),), 3.0, 1e-5))
    assert not is_within_reach(DpPlan((Release("t", "poisson_gaussian", 1.0, 1, 0.5, 100_000),), 3.0, 1e-5))
