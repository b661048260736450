"""Integers in, noisy integers out."""

from collections.abc import Sequence
from math import exp, pi

import numpy as np
import pytest

from privacy.guarantees.release import Release
from privacy.noise.mechanisms import (
    MAXIMUM_COLUMNS,
    decode,
    decode_release,
    noisy_sum,
    quantize,
    release_rows,
)

D = 2**40


class Recorded:
    """Noise that the test chose, and what was asked for."""

    def __init__(self, draws: Sequence[int]) -> None:
        self.draws = draws
        self.asked: list[tuple[int, int]] = []

    def draw(self, count: int, scale: int) -> Sequence[int]:
        self.asked.append((count, scale))
        return self.draws[:count]


def test_rows_within_the_clip_are_truncated_toward_zero() -> None:
    rows = quantize([[0.5, -0.25], [1 / 3, -1 / 3]], 1.0)
    assert rows.tolist() == [[D // 2, -D // 4], [D // 3, -(D // 3)]]


def test_rows_beyond_the_clip_keep_their_direction_and_lose_their_length() -> None:
    row = quantize([[3e200, -4e200]], 2.0, bits=20)[0]
    assert row.tolist() == pytest.approx([0.6 * 2**20, -0.8 * 2**20], abs=1)


@pytest.mark.threat("FL-20", control="C-CLIPUPDATE")
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_row_that_is_no_number_contributes_zero(bad: float) -> None:
    rows = quantize([[bad, 1.0], [0.5, 0.0]], 1.0)
    assert rows.tolist() == [[0, 0], [D // 2, 0]]


def test_no_rows_and_zero_rows() -> None:
    assert quantize(np.zeros((0, 3)), 1.0).shape == (0, 3)
    assert quantize(np.zeros((2, 3)), 1.0).tolist() == [[0] * 3] * 2
    assert quantize([[5e-324, 0.0]], 1.0).tolist() == [[0, 0]]


def test_the_shape_is_a_matter_of_the_model() -> None:
    with pytest.raises(ValueError, match="shape"):
        quantize([1.0, 2.0], 1.0)
    with pytest.raises(ValueError, match="columns"):
        quantize(np.zeros((1, MAXIMUM_COLUMNS + 1)), 1.0)


def test_the_sum_is_exact_and_the_noise_is_what_the_sampler_drew() -> None:
    sampler = Recorded([7, -9])
    total = noisy_sum(np.array([[1, 2], [3, -4]], dtype=np.int64), 1000, sampler)
    assert total.tolist() == [1 + 3 + 7, 2 - 4 - 9]
    assert sampler.asked == [(2, 1000)]


@pytest.mark.threat("FL-01", control="C-MINBATCH")
def test_an_empty_batch_is_noised() -> None:
    assert noisy_sum(np.zeros((0, 2), dtype=np.int64), 8, Recorded([5, -6])).tolist() == [5, -6]


def test_an_overflow_wraps_and_never_raises() -> None:
    rows = np.full((3, 1), 2**62, dtype=np.int64)
    wrapped = noisy_sum(rows, 8, Recorded([2**63]))
    assert int(wrapped[0]) % 2**64 == (3 * 2**62 + 2**63) % 2**64


def test_a_sampler_that_draws_too_little_is_noticed() -> None:
    with pytest.raises(ValueError, match="drew 1"):
        noisy_sum(np.zeros((1, 2), dtype=np.int64), 8, Recorded([1]))


def test_a_release_brings_its_own_clip_units_and_noise() -> None:
    release = Release("train", "gaussian", 2.0, clip_l2=0.5, units_bits=20)
    sampler = Recorded([0, 0])
    total = release_rows([[0.25, 0.0], [0.0, 10.0]], release, sampler)
    assert sampler.asked == [(2, release.scale_units())]
    assert decode_release(total, release).tolist() == pytest.approx([0.25, 0.5], abs=1e-5)
    assert decode(np.array([2**19]), 2.0, 20).tolist() == [1.0]


def test_the_discrete_gaussian_is_post_processing_of_the_accounted_one() -> None:
    # The plan's accounted_multiplier uses variance s^2 - 4: smoothing that continuous Gaussian with N_Z(y, 4) must
    # give N_Z(0, s^2), here at the smallest scale the plan allows, to the precision of doubles.
    s, reach = 8, 60
    y = np.arange(-80, 80, 1 / 32)
    density = np.exp(-(y**2) / (2 * (s * s - 4))) / np.sqrt(2 * pi * (s * s - 4)) / 32
    integers = np.arange(-100, 101)
    kernel = np.exp(-((integers[:, None] - y[None, :]) ** 2) / 8)
    smoothed = (kernel / kernel.sum(axis=0)) @ density
    discrete = np.exp(-(integers**2) / (2 * s * s))
    discrete /= discrete.sum()
    middle = np.abs(integers) <= reach
    # 2 coordinates of 4 exp(-8 pi^2) are far below; what is seen here is rounding.
    assert 4 * exp(-8 * pi**2) < 1e-12
    np.testing.assert_allclose(smoothed[middle], discrete[middle], rtol=1e-11)
