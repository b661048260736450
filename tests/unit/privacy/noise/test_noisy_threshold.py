"""The noisy threshold: what it costs, checked on its exact weights, and that k is true."""

import secrets
from collections import Counter
from fractions import Fraction
from math import ceil, exp

import pytest
from scipy.stats import chisquare

from privacy.guarantees.plan_error import PlanError
from privacy.noise.noisy_threshold import ThresholdNoise, kept_cells, privacy_profile

PAIRS = [(0.1, 1e-6), (0.5, 1e-6), (1.0, 1e-6), (1.0, 1e-3), (3.0, 1e-9)]


@pytest.mark.threat("FL-27", control="C-BUDGETALL")
@pytest.mark.parametrize(("epsilon", "delta"), PAIRS)
def test_the_privacy_profile_in_both_directions(epsilon: float, delta: float) -> None:
    noise = ThresholdNoise(epsilon, delta)
    for k in (*range(1, 21),) if epsilon >= 0.5 else (1, 2, 10, 20):
        profile = privacy_profile(noise, k)
        worst = max(profile.adding, profile.removing)
        assert min(profile.adding, profile.removing) > 0
        # Measured: at most .43 of delta from epsilon 1 on here, up to .97 at small epsilons; never above delta.
        assert worst <= Fraction(delta) * (Fraction(62, 100) if epsilon >= 1 else 1)


@pytest.mark.parametrize(("epsilon", "delta"), PAIRS)
def test_a_bound_or_scale_that_is_wrong_breaks_the_profile(epsilon: float, delta: float) -> None:
    noise, other = ThresholdNoise(epsilon, delta), ThresholdNoise(1.5 * epsilon, delta)

    class Narrow(ThresholdNoise):
        """The same noise cut off a few steps earlier."""

        bound = noise.bound - 1 - ceil(1 / epsilon)

    class Quiet(ThresholdNoise):
        """Noise for an epsilon 1.5 times as large, accounted as this one."""

        bound, weights, total = other.bound, other.weights, other.total

    for wrong in (Narrow, Quiet):
        found = privacy_profile(wrong(epsilon, delta), 5)
        assert max(found.adding, found.removing) > Fraction(delta)


def test_no_kept_cell_is_below_k_and_large_ones_are_always_kept() -> None:
    noise = ThresholdNoise(1.0, 1e-3)
    counts = {(number,): number for number in range(60)}
    sure = {cell for cell, count in counts.items() if count >= 5 + 2 * noise.bound}
    for _ in range(200):
        kept = kept_cells(counts, 5, noise, secrets.randbelow)
        assert sure <= kept
        assert all(counts[cell] >= 5 for cell in kept)
    assert noise.keep_probability(4, 5) == 0
    assert 0 < noise.keep_probability(5, 5) < Fraction(1, 1000)
    assert noise.keep_probability(5 + 2 * noise.bound, 5) == 1


def chi_square(epsilon_drawn: float) -> float:
    """p-value of draws against the weights of epsilon 1."""
    noise, drawn = ThresholdNoise(1.0, 1e-2), ThresholdNoise(epsilon_drawn, 1e-2)
    counted = Counter(drawn.draw(secrets.randbelow) + drawn.bound for _ in range(20_000))
    middle = range(-3, 4)
    observed = [counted[z] for z in middle] + [sum(n for z, n in counted.items() if z not in middle)]
    weights = {z: noise.weights[z + noise.bound] for z in middle}
    expected = [20_000 * weights[z] / noise.total for z in middle]
    return float(chisquare(observed, [*expected, 20_000 - sum(expected)]).pvalue)


def test_draws_have_the_distribution_and_another_scale_is_noticed() -> None:
    assert max(chi_square(1.0), chi_square(1.0)) > 1e-3
    assert chi_square(2 / 3) < 1e-6
    assert chi_square(3 / 2) < 1e-6


def test_weights_are_those_of_the_formula() -> None:
    noise = ThresholdNoise(0.5, 1e-6)
    assert len(noise.weights) == 2 * noise.bound + 1
    assert noise.weights == noise.weights[::-1]
    ratio = noise.weights[noise.bound + 1] / noise.weights[noise.bound]
    assert ratio == pytest.approx(exp(-0.5), rel=1e-15)


@pytest.mark.parametrize(
    ("epsilon", "delta"), [(0.0, 1e-6), (-1.0, 1e-6), (1.0, 0.0), (1.0, 1.0), (1e-9, 1e-6)]
)
def test_impossible_parameters(epsilon: float, delta: float) -> None:
    with pytest.raises(PlanError):
        ThresholdNoise(epsilon, delta)


def test_no_draw_lifts_a_count() -> None:
    """The two ends of the drawn noise, by hand: a count is never raised, and never lowered by more than 2B."""
    noise = ThresholdNoise(1.0, 1e-3)
    assert noise.draw(lambda total: total - 1) == 0
    assert noise.draw(lambda _: 0) == -2 * noise.bound


@pytest.mark.parametrize("delta", [1e-20, 1e-34, 1e-40, 1e-100])
@pytest.mark.parametrize("epsilon", [0.5, 5.0, 20.0, 50.0])
def test_the_profile_holds_where_128_bits_of_weight_are_too_few(epsilon: float, delta: float) -> None:
    """With 128 bits it is exceeded 16,000 times at (20, 1e-34), and at every epsilon from 1e-40 on."""
    profile = privacy_profile(ThresholdNoise(epsilon, delta), 5)
    assert 0 < max(profile.adding, profile.removing) <= Fraction(delta)


def test_a_delta_that_nobody_can_tell_from_zero_is_refused() -> None:
    for delta in (1e-101, 5e-324, 0.0, -1.0, float("nan")):
        with pytest.raises(PlanError, match="delta in"):
            ThresholdNoise(1.0, delta)
