"""The plan: one object, exact integers, strict JSON."""

from dataclasses import replace
from fractions import Fraction
from math import isclose
from typing import Any

import dp_accounting
import numpy as np
import pytest

from privacy.guarantees.plan import DpPlan, PlanError, Release
from privacy.guarantees.release import binomial_weights

TRAIN = Release("train", "poisson_gaussian", 2.275, sample_rate=0.1, steps=200)
TABLE = Release("life_table", "gaussian", 4.3975)
PLAN = DpPlan((TABLE, TRAIN), 3.0, 1e-5)


def test_scale_is_the_exact_ceiling() -> None:
    for noise in (2.275, 0.1, 1 / 3, 5.7048):
        s = replace(TRAIN, noise_multiplier=noise).scale_units()
        assert s - 1 < Fraction(noise) * 2**40 <= s


def test_accounted_noise_is_below_what_is_drawn() -> None:
    for bits in (8, 17, 40):
        release = replace(TRAIN, units_bits=bits)
        s, accounted = release.scale_units(), release.accounted_multiplier()
        assert Fraction(accounted) ** 2 * release.units**2 <= s * s - 4
        assert isclose(accounted, release.noise_multiplier, rel_tol=2e-2 if bits == 8 else 1e-4)


def test_sensitivity_counts_every_row_of_a_patient() -> None:
    assert PLAN.sensitivity(TRAIN) == 2**40
    assert replace(TRAIN, sensitivity_rows=5).sensitivity() == 5 * 2**40


def test_split_shares_the_steps() -> None:
    assert TRAIN.split(10).steps == 20
    with pytest.raises(PlanError, match="cannot be split"):
        TRAIN.split(7)


def test_events_are_those_of_dp_accounting() -> None:
    noise = TRAIN.accounted_multiplier()
    event = TRAIN.event()
    assert isinstance(event, dp_accounting.SelfComposedDpEvent)
    assert event.count == 200
    assert event.event == dp_accounting.PoissonSampledDpEvent(0.1, dp_accounting.GaussianDpEvent(noise))
    whole = replace(TABLE, sensitivity_rows=4).event()
    assert whole.event == dp_accounting.GaussianDpEvent(TABLE.accounted_multiplier() / 4)
    mixture = replace(TRAIN, sensitivity_rows=3).event().event
    assert list(mixture.sensitivities) == [0, 1, 2, 3]
    assert len(PLAN.event().events) == 2


def test_binomial_weights_lose_no_mass() -> None:
    for rows, rate in ((1, 0.1), (20, 128 / 3000), (100, 0.01)):
        weights = binomial_weights(rows, rate)
        assert len(weights) == rows + 1
        assert isclose(sum(weights), 1.0, abs_tol=1e-15)
        assert isclose(float(np.dot(weights, range(rows + 1))), rows * rate, rel_tol=1e-9)


def test_json_round_trip_also_through_integers() -> None:
    assert DpPlan.from_json(PLAN.to_json()) == PLAN
    body = PLAN.to_json()
    # Canonical JSON writes 3.0 as 3.
    assert DpPlan.from_json({**body, "epsilon": 3}) == PLAN


@pytest.mark.parametrize(
    "change",
    [
        {"noise_multiplier": 0.0},
        {"noise_multiplier": float("nan")},
        {"noise_multiplier": 1e9},
        {"noise_multiplier": 1e-13},
        {"sensitivity_rows": 0},
        {"steps": 0},
        {"sample_rate": 0.0},
        {"sample_rate": 1.1},
        {"kind": "gaussian"},
        {"kind": "shuffled"},
        {"clip_l2": 0.0},
        {"units_bits": 60},
        {"name": ""},
    ],
)
def test_a_release_out_of_range_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(PlanError):
        replace(TRAIN, **change)
    with pytest.raises(PlanError):
        Release.from_json({**TRAIN.to_json(), **change})


@pytest.mark.parametrize("change", [{"extra": 1}, {"steps": 2.5}, {"steps": True}, {"noise_multiplier": "1"}])
def test_a_release_of_other_keys_or_types_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(PlanError):
        Release.from_json({**TRAIN.to_json(), **change})


def test_a_plan_has_distinct_releases_and_sane_numbers() -> None:
    for releases, epsilon, delta in (((), 1.0, 1e-5), ((TRAIN, TRAIN), 1.0, 1e-5), ((TRAIN,), 0.0, 1e-5)):
        with pytest.raises(PlanError):
            DpPlan(releases, epsilon, delta)
    with pytest.raises(PlanError):
        DpPlan((TRAIN,), 1.0, 0.0)
    with pytest.raises(PlanError):
        DpPlan.from_json({**PLAN.to_json(), "mode": "local"})


@pytest.mark.threat("FL-27", control="C-BUDGETALL")
def test_what_is_not_in_the_plan_may_not_leave() -> None:
    with pytest.raises(PlanError, match="nothing pays for it"):
        PLAN.release("loss")


def test_a_share_is_the_smallest_integer_whose_sum_reaches_the_target() -> None:
    for shares in (1, 2, 3, 7):
        release = replace(TABLE, shares=shares)
        s, target = release.scale_units(), Fraction(release.noise_multiplier) * release.units
        assert shares * (s - 1) ** 2 < target**2 <= shares * s**2
        seen = Fraction(release.accounted_multiplier()) ** 2 * release.units**2
        assert seen <= shares * s * s - 4 < seen * (1 + Fraction(1, 10**12))
        assert isclose(release.noise_sd(5), (5 / shares) ** 0.5 * release.noise_multiplier, rel_tol=1e-9)


def test_shares_are_for_full_batches() -> None:
    with pytest.raises(PlanError, match="shares"):
        replace(TRAIN, shares=2)
    with pytest.raises(PlanError, match="shares"):
        replace(TABLE, shares=0)
    assert Release.from_json(replace(TABLE, shares=3).to_json()).shares == 3
