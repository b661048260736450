"""The tables of the design, and second opinions that share no code with the accountant."""

import json
import time
from dataclasses import replace
from math import e, exp, sqrt
from typing import Any

import dp_accounting
import numpy as np
import pytest
from dp_accounting.rdp import RdpAccountant
from scipy.stats import norm

from privacy.guarantees.accounting import Accountant, AccountingError, curve, renyi_epsilon, spent, tradeoff
from privacy.guarantees.calibration import calibrate_local, calibrate_shares
from privacy.guarantees.composition import (
    RDP_ORDERS,
    gaussian_mu,
    gdp_epsilon,
    gdp_mu,
    grid_width,
    loss_distribution,
    merged,
    merged_vectors,
    pld_epsilon,
)
from privacy.guarantees.guarantee import Adjacency
from privacy.guarantees.mixture import sampled_rdp
from privacy.guarantees.pricing import price
from privacy.guarantees.release import Release
from privacy.guarantees.stage_release import LevelRelease

DELTA = 1e-5


def sampled(noise: float, rate: float, steps: int, rows: int = 1) -> Release:
    return Release("train", "poisson_gaussian", noise, rows, rate, steps)


def epsilon(*releases: Release, adjacency: Adjacency = "add/remove", accountant: Accountant = "pld") -> float:
    return spent(releases, DELTA, adjacency, accountant).number()


@pytest.mark.threat("FL-29", control="C-SELFTEST")
@pytest.mark.parametrize(
    ("noise", "rate", "steps", "add_remove", "rdp", "replaced", "shuffled"),
    [
        (1.0, 0.10, 60, 5.57, 6.34, 7.92, 12.87),
        (1.0, 0.05, 400, 6.70, 7.43, 10.62, 28.4),
        (2.0, 0.05, 400, 2.25, 2.46, 4.38, 11.5),
    ],
)
def test_table(
    noise: float, rate: float, steps: int, add_remove: float, rdp: float, replaced: float, shuffled: float
) -> None:
    release = sampled(noise, rate, steps)
    assert epsilon(release) == pytest.approx(add_remove, abs=0.0051)
    assert epsilon(release, accountant="rdp") == pytest.approx(rdp, abs=0.0051)
    assert epsilon(release, adjacency="replace") == pytest.approx(replaced, abs=0.0051)
    # A shuffled loader shows each patient rate * steps times, whole: Gaussian DP without amplification.
    assert gdp_epsilon(sqrt(rate * steps) / noise, DELTA) == pytest.approx(shuffled, abs=0.051)


@pytest.mark.parametrize(("target", "mu"), [(1.0, 0.2681), (3.0, 0.7191), (8.0, 1.666)])
def test_full_batch_is_gaussian_dp(target: float, mu: float) -> None:
    assert gdp_mu(target, DELTA) == pytest.approx(mu, rel=2e-4)
    steps = 25
    release = Release("train", "gaussian", sqrt(steps) / gdp_mu(target, DELTA), steps=steps)
    assert epsilon(release) == pytest.approx(target, rel=1e-6)
    # Replacing moves the sum twice as far.
    assert epsilon(release, adjacency="replace") == pytest.approx(
        gdp_epsilon(2 * gdp_mu(target, DELTA), DELTA)
    )


def test_one_share_alone_costs_more() -> None:
    assert gdp_epsilon(gdp_mu(1.0, DELTA) * sqrt(3), DELTA) == pytest.approx(1.84, abs=0.006)


@pytest.mark.threat("FL-27", control="C-BUDGETALL")
@pytest.mark.parametrize(("rows", "expected"), [(1, 1.00), (2, 2.16), (5, 6.18), (10, 14.5), (20, 36.6)])
def test_rows_behind_drop_are_a_mixture(rows: int, expected: float) -> None:
    started = time.process_time()
    release = sampled(3.589, 128 / 3000, 468, rows)
    assert epsilon(release) == pytest.approx(expected, rel=0.01)
    assert time.process_time() - started < 5
    assert epsilon(release, accountant="rdp") >= epsilon(release)


def test_rows_in_full_batch_multiply_the_sensitivity() -> None:
    assert epsilon(Release("t", "gaussian", 20.0, 5)) == pytest.approx(epsilon(Release("t", "gaussian", 4.0)))


def test_quadrature_agrees_with_the_library_for_one_row() -> None:
    orders = (2.0, 3.0, 8.0, 32.0)
    ours = 60 * sampled_rdp(sampled(1.0, 0.1, 1), orders)
    for order, loss in zip(orders, ours, strict=True):
        library = RdpAccountant([order])
        library.compose(sampled(1.0, 0.1, 60).event())
        assert dp_accounting.rdp.rdp_privacy_accountant.compute_epsilon([order], [loss], DELTA)[
            0
        ] == pytest.approx(library.get_epsilon(DELTA), rel=1e-9)


def test_a_mixture_of_gaussians_costs_as_much_alone_as_its_second_moment_says() -> None:
    # At order 2 the divergence is log sum_ij w_i w_j exp(i j / z^2), a closed form.
    release = sampled(3.0, 0.05, 1, rows=4)
    weights = np.array([0.95**4, 4 * 0.05 * 0.95**3, 6 * 0.05**2 * 0.95**2, 4 * 0.05**3 * 0.95, 0.05**4])
    counts = np.arange(5)
    exact = np.log(weights @ np.exp(np.outer(counts, counts) / 9.0) @ weights)
    assert sampled_rdp(release, (2.0,))[0] == pytest.approx(exact, rel=1e-9)


def test_the_renyi_opinion_is_never_below_the_figure() -> None:
    table = Release("life_table", "gaussian", 12.0)
    for release in (sampled(2.3, 0.1, 200), sampled(5.7, 0.1, 200), sampled(1.1, 0.02, 50)):
        assert epsilon(table, release, accountant="rdp") >= epsilon(table, release)


def test_rounds_of_a_ledger_cost_exactly_what_the_plan_costs() -> None:
    train, table = sampled(2.3, 0.1, 200), Release("life_table", "gaussian", 12.0)
    assert merged([*[train.split(10)] * 10, table]) == merged([table, train])
    assert epsilon(*[train.split(10)] * 10, table) == epsilon(table, train)


def test_nothing_released_costs_nothing() -> None:
    assert epsilon() == 0.0
    assert epsilon(accountant="rdp") == 0.0
    assert renyi_epsilon((), DELTA, 8) == 0.0
    assert tradeoff(()) == [(fpr, 1 - fpr) for fpr, _ in tradeoff(())]


def test_accounting_is_monotone_in_what_is_released() -> None:
    base = epsilon(sampled(4.0, 0.1, 20))
    assert base < epsilon(sampled(4.0, 0.1, 21))
    assert base < epsilon(sampled(3.9, 0.1, 20))
    assert base < epsilon(sampled(4.0, 0.11, 20))
    assert base < epsilon(sampled(4.0, 0.1, 20, rows=2))


def test_the_filter_at_one_order_is_never_below_the_best_order() -> None:
    release = sampled(2.3, 0.1, 200)
    best = epsilon(release, accountant="rdp")
    assert all(renyi_epsilon((release,), DELTA, order) >= best - 1e-9 for order in (2, 8, 20))
    assert {2.0, 8.0, 20.0} <= set(RDP_ORDERS)


def test_replaced_mixtures_are_bounded_by_groups_and_renyi_has_no_such_theorem() -> None:
    # Small enough for the bound's second delta to lie within the PLD's truncation.
    release = sampled(40.0, 0.1, 50, rows=3)
    single = epsilon(release)
    assert 2 * single <= epsilon(release, adjacency="replace") < 5 * single
    with pytest.raises(AccountingError):
        spent((release,), DELTA, "replace", "rdp")


def test_curve_falls_and_meets_the_figure() -> None:
    release = sampled(2.3, 0.1, 200)
    points = dict(curve((release,), (1e-4, 1e-5, 1e-6)))
    assert points[1e-4] < points[1e-5] < points[1e-6]
    assert points[1e-5] == epsilon(release)


def test_tradeoff_is_exact_for_gaussians_and_a_bound_for_samples() -> None:
    mu = 0.7
    release = Release("t", "gaussian", 1 / mu)
    for fpr, fnr in tradeoff((release,)):
        assert fnr == pytest.approx(norm.cdf(norm.ppf(1 - fpr) - mu), abs=1e-9)
    subsampled = sampled(2.3, 0.1, 200)
    for fpr, fnr in tradeoff((subsampled,)):
        assert 0 <= fnr <= 1 - fpr
        assert fnr >= 1 - DELTA - exp(epsilon(subsampled)) * fpr - 1e-6


def test_a_stage_without_delta_moves_the_tradeoff_too() -> None:
    level, score = LevelRelease(1.0, 5, "ab" * 32), Release("score", "gaussian", 2.0)
    for fpr, fnr in tradeoff((level,)):
        # Randomized response is the worst case of a pure epsilon.
        assert fnr == pytest.approx(max(0.0, 1 - e * fpr, (1 - fpr) / e))
    for (fpr, alone), (_, behind) in zip(tradeoff((score,)), tradeoff((level, score)), strict=True):
        assert behind < alone - 0.005, fpr


def test_price_is_quick_whole_and_repeatable() -> None:
    plan = calibrate_local(3.0, DELTA, sample_rate=0.1, steps=20, rounds=10)
    started = time.process_time()
    priced: dict[str, Any] = price(plan)
    assert time.process_time() - started < 5
    assert json.loads(json.dumps(priced)) == priced == price(plan)
    guarantee = priced["guarantee"]
    assert isinstance(guarantee, dict)
    assert guarantee["epsilon"] == epsilon(*plan.releases) <= 3.0
    assert priced["replace"]["epsilon"] > guarantee["epsilon"]
    assert priced["rdp"]["epsilon"] >= guarantee["epsilon"]
    # In local mode the masks are not counted, so breaking them changes nothing.
    for view in ("curious_hospital", "secure_aggregation_broken"):
        assert priced["views"][view]["epsilon"] == guarantee["epsilon"]


def test_the_smallest_noise_the_mechanism_can_draw_is_accounted_lower_than_its_target() -> None:
    coarse = replace(sampled(1.0, 0.1, 60), units_bits=8)
    assert epsilon(coarse) > epsilon(sampled(1.0, 0.1, 60))


@pytest.mark.parametrize("adjacency", ["add/remove", "replace"])
def test_the_composition_is_the_one_of_the_librarys_accountant(adjacency: Adjacency) -> None:
    relation = {
        "add/remove": dp_accounting.NeighboringRelation.ADD_OR_REMOVE_ONE,
        "replace": dp_accounting.NeighboringRelation.REPLACE_ONE,
    }[adjacency]
    releases = [Release("life_table", "gaussian", 9.0, steps=2), sampled(2.3, 0.1, 200)]
    library = dp_accounting.pld.PLDAccountant(relation, 5e-4)
    for release in merged(releases):
        library.compose(release.event())
    ours = spent(releases, DELTA, adjacency).number()
    # Ours counts mass for what the transforms round away.
    assert -1e-10 < ours - library.get_epsilon(DELTA) < 1e-7


def test_the_mixture_is_the_one_of_the_librarys_accountant() -> None:
    release = sampled(8.0, 0.05, 40, rows=3)
    library = dp_accounting.pld.PLDAccountant(value_discretization_interval=2e-3)
    library.compose(release.event())
    # Ours counts mass for what the transforms round away.
    assert 0 <= spent([release], DELTA).number() - library.get_epsilon(DELTA) < 1e-7


def test_gaussians_that_differ_are_one_gaussian_exactly() -> None:
    """The library rounds each of them to the grid; their common mu needs one rounding, so the bound is a little closer."""
    releases = [
        *(Release(f"beside-{i}", "gaussian", 9.0 + i, steps=i + 1) for i in range(3)),
        sampled(2.3, 0.1, 200),
    ]
    library = dp_accounting.pld.PLDAccountant(value_discretization_interval=5e-4)
    for release in merged(releases):
        library.compose(release.event())
    ours, theirs = spent(releases, DELTA).number(), library.get_epsilon(DELTA)
    assert ours <= theirs
    assert ours == pytest.approx(theirs, rel=1e-4)


@pytest.mark.parametrize("rows", [1, 3])
def test_a_wider_grid_is_an_upper_bound_within_a_thousandth(rows: int) -> None:
    """The grid that decides is five times, for mixtures four times, as wide as a very fine one."""
    releases = merged_vectors(
        [Release("life_table", "gaussian", 9.0 * rows, rows), sampled(2.3 * rows, 0.1, 200, rows=rows)]
    )
    fine = loss_distribution(releases, "add/remove", grid_width(releases) / (5 if rows == 1 else 4))
    ours = pld_epsilon(releases, DELTA, "add/remove")
    exact = float(fine.get_epsilon_for_delta(DELTA))
    assert exact <= ours <= 1.001 * exact
    assert pld_epsilon(releases, DELTA, "add/remove", 8) >= ours


@pytest.mark.parametrize(
    ("noise", "steps", "delta"), [(11.0772, 500, 3.154e-12), (11.153, 500, 1.662e-12), (50.0, 5000, 1e-12)]
)
@pytest.mark.parametrize("adjacency", ["add/remove", "replace"])
def test_a_tiny_delta_is_not_below_what_doubles_round_away(
    noise: float, steps: int, delta: float, adjacency: Adjacency
) -> None:
    """At rate 1 the exact answer is known; transforms of doubles lost up to 7e-14 of the mass above a loss."""
    exact = spent([Release("train", "gaussian", noise, steps=steps)], delta, adjacency).number()
    found = spent([sampled(noise, 1.0, steps)], delta, adjacency).epsilon
    assert found is not None
    assert found >= exact
    if adjacency == "add/remove":
        assert found < 1.2 * exact


def test_price_of_noise_shares_prints_every_view() -> None:
    """Figures of the design: with secure aggregation broken, epsilon 1 becomes 1.84 at h = 3."""
    release = Release("newton", "gaussian", 1.0, steps=20, shares=3)
    plan = calibrate_shares(1.0, DELTA, [replace(release, name="life_table", steps=1), release], [0.1, 0.9])
    priced: dict[str, Any] = price(plan, threshold=4)
    views = {name: view["epsilon"] for name, view in priced["views"].items()}
    headline = priced["guarantee"]["epsilon"]
    assert 0.9999 < headline <= 1
    assert views["coordinator_with_colluding"] == headline == pytest.approx(views["curious_hospital"])
    assert views["coordinator"] < headline
    assert views["secure_aggregation_broken"] == pytest.approx(1.84, abs=0.01)
    mu = gdp_mu(1.0, DELTA)
    assert views["secure_aggregation_broken"] == pytest.approx(gdp_epsilon(mu * 3**0.5, DELTA), rel=1e-3)
    with pytest.raises(AccountingError, match="threshold"):
        price(plan)


def test_shares_of_mu_squared_are_kept() -> None:
    releases = [Release("life_table", "gaussian", 1.0), Release("newton", "gaussian", 1.0, steps=10)]
    plan = calibrate_shares(3.0, DELTA, releases, [0.25, 0.75])
    table, newton = (gaussian_mu([release]) for release in plan.releases)
    assert table is not None
    assert newton is not None
    assert newton**2 / table**2 == pytest.approx(3, rel=1e-3)
