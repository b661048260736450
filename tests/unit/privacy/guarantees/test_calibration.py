"""Calibration meets the design's noise multipliers, never exceeds its target, and is quick."""

import time
from dataclasses import replace

import pytest

from privacy.guarantees.accounting import AccountingError, spent
from privacy.guarantees.calibration import TICKS, calibrate_local
from privacy.guarantees.composition import gdp_mu

DELTA = 1e-5


@pytest.mark.parametrize(
    ("epsilon", "share", "noise"),
    [(1, 0.1, 5.71), (3, 0.1, 2.28), (8, 0.1, 1.17), (1, 0, 5.44), (3, 0, 2.18), (8, 0, 1.13)],
)
def test_noise_of_the_local_recipe(epsilon: float, share: float, noise: float) -> None:
    started = time.process_time()
    plan = calibrate_local(epsilon, DELTA, sample_rate=0.1, steps=20, rounds=10, life_table_share=share)
    assert time.process_time() - started < 5
    train = plan.release("train")
    assert train.noise_multiplier == pytest.approx(noise, abs=0.0151)
    assert (train.steps, train.sample_rate) == (200, 0.1)
    assert len(plan.releases) == (2 if share else 1)
    assert 0.999 * epsilon < spent(plan.releases, DELTA).number() <= epsilon


@pytest.mark.threat("FL-29", control="C-SELFTEST")
def test_a_tick_less_noise_would_break_the_target() -> None:
    plan = calibrate_local(3.0, DELTA, sample_rate=0.1, steps=20, rounds=10)
    train = plan.release("train")
    less = replace(train, noise_multiplier=train.noise_multiplier - 1 / TICKS)
    assert spent((plan.release("life_table"), less), DELTA).number() > 3.0


def test_the_life_table_takes_its_share_of_mu_squared() -> None:
    plan = calibrate_local(1.0, DELTA, sample_rate=0.1, steps=20, rounds=10, life_table_share=0.2)
    mu = 1 / plan.release("life_table").noise_multiplier
    assert mu**2 == pytest.approx(0.2 * gdp_mu(1.0, DELTA) ** 2, rel=1e-4)


@pytest.mark.threat("FL-27", control="C-BUDGETALL")
def test_behind_drop_every_release_counts_k_rows() -> None:
    started = time.process_time()
    plan = calibrate_local(3.0, DELTA, sample_rate=0.1, steps=20, rounds=10, rows=5, clip_l2=0.5)
    assert time.process_time() - started < 5
    assert {release.sensitivity_rows for release in plan.releases} == {5}
    assert plan.clip_l2 == 0.5
    assert spent(plan.releases, DELTA).number() <= 3.0
    alone = calibrate_local(3.0, DELTA, sample_rate=0.1, steps=20, rounds=10)
    assert plan.release("train").noise_multiplier > 3 * alone.release("train").noise_multiplier


def test_full_batch_is_calibrated_in_closed_form() -> None:
    plan = calibrate_local(1.0, DELTA, sample_rate=1, steps=1, rounds=20)
    assert plan.release("train").kind == "gaussian"
    assert plan.release("train").noise_multiplier == pytest.approx(
        (20 / 0.9) ** 0.5 / gdp_mu(1.0, DELTA), rel=1e-4
    )


def test_out_of_reach_is_refused() -> None:
    with pytest.raises(AccountingError, match="fewer steps"):
        calibrate_local(1e-4, 1e-9, sample_rate=1, steps=1000, rounds=100, life_table_share=0)
