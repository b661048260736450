"""Layers of a noise share: whatever is taken out, what is left is at least what is accounted."""

from __future__ import annotations

from dataclasses import replace
from math import isclose, isqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from privacy.guarantees.plan import PlanError, Release
from privacy.noise.noise_layers import LEAST_SCALE, is_believable, kept_variance, layer_scales, spare_part

# n = 5, T = 1, t = 4.
FIVE = Release("newton", "gaussian", 1.5, shares=3, spare=1, fewest=4)


@st.composite
def consortia(draw: st.DrawFn) -> tuple[int, int, int]:
    """(n, T, t) that SecAggParams admits and that share noise."""
    colluding = draw(st.integers(0, 30))
    n = draw(st.integers(max(3, colluding + 2), 100))
    lowest = max(colluding + 2, (n + colluding) // 2 + 1)
    threshold = draw(st.integers(min(lowest, n), n))
    return n, colluding, threshold


@given(consortia(), st.integers(8, 2**53 - 1))
def test_every_set_that_can_be_opened_keeps_the_accounted_variance(
    chosen: tuple[int, int, int], scale: int
) -> None:
    """For every u: the u - max(T, 1) hospitals that nobody who looks holds keep h s^2 together; in integers, with no tolerance."""
    n, colluding, threshold = chosen
    known = max(colluding, 1)
    shares = threshold - known
    layers = layer_scales(scale, shares, n - threshold)
    assert len(layers) == n - threshold + 1
    assert all(layer == 0 or layer >= LEAST_SCALE for layer in layers)
    assert layers[0] >= LEAST_SCALE
    for members in range(threshold, n + 1):
        kept = kept_variance(layers, members - threshold)
        assert (members - known) * kept >= shares * scale**2
        # And hardly more: less would do only by rounding, or by the least scale of a layer.
        slack = 2 * isqrt(kept) + 1 + LEAST_SCALE**2
        assert (members - known) * (kept - slack) <= shares * scale**2


def test_one_layer_less_would_be_too_little() -> None:
    layers = FIVE.layers()
    assert 4 * kept_variance(layers, 1) >= 3 * FIVE.scale_units() ** 2
    assert 3 * kept_variance(layers, 1) < 3 * FIVE.scale_units() ** 2


def test_noise_of_the_opened_sum_before_and_after() -> None:
    """n = 5, T = 1, t = 4: sqrt(5/3) = 1.29 times central noise become sqrt(5/4) = 1.118, and in between where some say nothing."""
    central = FIVE.noise_multiplier
    assert isclose(FIVE.noise_sd(5), (5 / 3) ** 0.5 * central, rel_tol=1e-9)
    assert isclose(FIVE.noise_sd(5, 5), (5 / 4) ** 0.5 * central, rel_tol=1e-9)
    assert isclose(FIVE.noise_sd(5, 4), (4 / 4 + 1 / 3) ** 0.5 * central, rel_tol=1e-9)
    assert isclose(FIVE.noise_sd(4), (4 / 3) ** 0.5 * central, rel_tol=1e-9)
    assert FIVE.noise_sd(4, 4) == FIVE.noise_sd(4), "a sum over t needs all of it"
    assert FIVE.expected_sd(5) == FIVE.noise_sd(5, 5)


def test_views_where_layers_are_out() -> None:
    """The headline is what it was; who looks at less sees the least of all sizes of the set."""
    whole = replace(FIVE, spare=0, fewest=0)
    assert FIVE.multiplier_seen(3) == whole.multiplier_seen(3) == FIVE.accounted_multiplier()
    # The coordinator alone: 5/4 at |U| = 5 is less than 4/3 at |U| = 4; one hospital: 4/4; one vector alone: 1/4.
    for shares, of_central in ((4, 5 / 4), (1, 1 / 4)):
        assert isclose(FIVE.multiplier_seen(shares), (of_central) ** 0.5 * 1.5, rel_tol=1e-9)
    assert FIVE.multiplier_seen(1) < whole.multiplier_seen(1)
    three = replace(FIVE, fewest=5, shares=3)  # T = 2, n = 6, t = 5
    # One curious hospital: 4 others of 1/3 at t, 5 of 1/4 at n.
    assert isclose(three.multiplier_seen(4), (5 / 4) ** 0.5 * 1.5, rel_tol=1e-9)


def test_a_sum_over_as_few_as_may_be_has_no_spare_part() -> None:
    drawn = np.arange(12, dtype=np.int64).reshape(3, 4)
    np.testing.assert_array_equal(spare_part(drawn, 0), np.zeros(4))
    np.testing.assert_array_equal(spare_part(drawn, 1), drawn[2])
    np.testing.assert_array_equal(spare_part(drawn, 2), drawn[1] + drawn[2])
    np.testing.assert_array_equal(spare_part(drawn, 9), drawn[1] + drawn[2])


def test_what_nobody_can_have_drawn_is_not_believed() -> None:
    layers = (100, 30, 40)
    assert is_believable(np.array([12 * 50, -12 * 50]), layers, 2)
    assert not is_believable(np.array([0, 12 * 51 + 1]), layers, 2)
    assert not is_believable(np.array([np.iinfo(np.int64).min]), layers, 2)
    assert not is_believable(np.array([12 * 41 + 1]), layers, 1)


def test_a_plan_says_that_layers_are_taken_out() -> None:
    body = FIVE.to_json()
    assert (body["spare"], body["fewest"]) == (1, 4)
    assert Release.from_json(body) == FIVE
    with pytest.raises(PlanError):
        Release.from_json({key: value for key, value in body.items() if key != "spare"})
    for wrong in ({"spare": -1}, {"shares": 1}, {"fewest": 3}, {"spare": 0}):
        with pytest.raises(PlanError):
            replace(FIVE, **wrong)
