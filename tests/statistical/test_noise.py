"""The real noise of the real code path; each test must also reject a broken variant.

Bounds sit five standard errors out, so that a right sampler fails about once in two million runs.
"""

from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import chi2

from hospital_node.entropy import DiscreteGaussian
from privacy.mechanisms import decode_release, release_rows
from privacy.plan import Release

COUNT = 4000
RELEASE = Release("train", "poisson_gaussian", 2.275, sample_rate=0.1, steps=200, clip_l2=0.5)
PATIENTS = np.full((7, COUNT), 1e3)


class Scaled:
    """The real sampler at a wrong scale."""

    def __init__(self, factor: float) -> None:
        self.factor = factor

    def draw(self, count: int, scale: int) -> np.ndarray:
        return DiscreteGaussian().draw(count, round(scale * self.factor))


class Rounded:
    """Floating-point noise in single precision, rounded to the units: right scale, wrong low bits."""

    def draw(self, count: int, scale: int) -> np.ndarray:
        noise = np.random.default_rng().normal(size=count).astype(np.float32)
        return (noise * np.float32(scale)).astype(np.int64)


def scale_is_right(draws: np.ndarray, scale: float) -> bool:
    """Chi-square test of the variance at known mean zero."""
    ratio = float(np.sum((draws / scale) ** 2)) / len(draws)
    return abs(ratio - 1) < 5 * np.sqrt(2 / len(draws))


def shape_is_right(draws: np.ndarray, scale: int) -> bool:
    """Chi-square test against the exact discrete Gaussian, for scales small enough to count."""
    support = np.arange(-12 * scale, 12 * scale + 1)
    weights = np.exp(-(support**2) / (2 * scale**2))
    edges = np.arange(-2 * scale, 2 * scale + 1)
    cells = np.digitize(draws, edges)
    expected = np.bincount(np.digitize(support, edges), weights / weights.sum(), len(edges) + 1) * len(draws)
    statistic = float(np.sum((np.bincount(cells, minlength=len(edges) + 1) - expected) ** 2 / expected))
    return float(chi2.sf(statistic, len(edges))) > 1e-6


def low_bits_are_uniform(draws: np.ndarray) -> bool:
    """Chi-square test of the lowest four bits."""
    counts = np.bincount(draws & 15, minlength=16)
    expected = len(draws) / 16
    return float(chi2.sf(np.sum((counts - expected) ** 2 / expected), 15)) > 1e-6


@pytest.mark.threat("FL-29", control="C-SELFTEST")
def test_a_release_carries_the_noise_of_its_plan() -> None:
    total = release_rows(PATIENTS, RELEASE, DiscreteGaussian())
    # The seven patients are clipped as whole vectors: together they move a coordinate by 7 / sqrt(COUNT) of the clip.
    noise = decode_release(total, RELEASE) - 7 * RELEASE.clip_l2 / np.sqrt(COUNT)
    assert scale_is_right(noise, RELEASE.noise_multiplier * RELEASE.clip_l2)


def test_an_empty_batch_carries_the_same_noise() -> None:
    total = release_rows(np.zeros((0, COUNT)), RELEASE, DiscreteGaussian())
    assert scale_is_right(total, RELEASE.scale_units())


@pytest.mark.threat("FL-29", control="C-SELFTEST")
@pytest.mark.parametrize("factor", [2 / 3, 3 / 2])
def test_two_thirds_and_three_halves_of_the_noise_are_noticed(factor: float) -> None:
    total = release_rows(np.zeros((0, COUNT)), RELEASE, Scaled(factor))
    assert not scale_is_right(total, RELEASE.scale_units())


@pytest.mark.parametrize(
    ("draw", "right"),
    [
        (lambda count: DiscreteGaussian().draw(count, 8), True),
        (lambda count: DiscreteGaussian().draw(count, 12), False),
        (
            lambda count: np.round(np.random.default_rng().laplace(0, 8 / np.sqrt(2), count)).astype(int),
            False,
        ),
    ],
)
def test_the_distribution_is_the_discrete_gaussian(draw: Callable[[int], np.ndarray], right: bool) -> None:
    assert shape_is_right(draw(20_000), 8) is right


@pytest.mark.threat("FL-30", control="C-RNG")
def test_the_lowest_bits_are_noise_too() -> None:
    empty = np.zeros((0, COUNT))
    assert low_bits_are_uniform(release_rows(empty, RELEASE, DiscreteGaussian()))
    assert not low_bits_are_uniform(release_rows(empty, RELEASE, Rounded()))


def test_two_releases_of_the_same_data_share_no_noise() -> None:
    first, second = (release_rows(np.zeros((0, COUNT)), RELEASE, DiscreteGaussian()) for _ in range(2))
    correlation = float(np.corrcoef(first, second)[0, 1])
    assert abs(correlation) < 5 / np.sqrt(COUNT)
