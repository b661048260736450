"""Masks, shares and fixed point."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from secagg import shamir
from secagg.errors import OutsideClip, ParameterError, RingOverflow
from secagg.fixed_point import FixedPoint, bits_needed, from_ring, to_ring
from secagg.masks import Mask, Speed, add_masks
from secagg.secret import SecretBytes
from tests.unit.secagg.rounds import entropy


def test_speed_settings_change_nothing() -> None:
    masks = [Mask(SecretBytes(entropy("seed", i)), 1 if i % 2 else -1) for i in range(3)]
    for dtype, size in itertools.product(("<u4", "<u8"), (1, 5, 4096, 100_001)):
        plain = np.zeros(size, dtype=dtype)
        add_masks(plain, masks, Speed(threads=1, block_bytes=1 << 20))
        for speed in (Speed(1, 16, 1), Speed(2, 4096, 1), Speed(3, 64 << 10, 1)):
            if size > 5000 and speed.block_bytes == 16:
                continue
            other = np.zeros(size, dtype=dtype)
            add_masks(other, masks, speed)
            assert (other == plain).all()


def test_mask_counter_wraps_around() -> None:
    seed = SecretBytes(bytes(16) + b"\xff" * 16)
    one, two = np.zeros(4096, dtype="<u4"), np.zeros(4096, dtype="<u4")
    add_masks(one, [Mask(seed, 1)], Speed(1, 1 << 20))
    add_masks(two, [Mask(seed, 1)], Speed(2, 64, 1))
    assert (one == two).all()


def test_mask_seed_is_not_folded() -> None:
    """Every one of the 256 bits of a seed changes the mask."""
    base = bytearray(entropy("seed"))
    seen = set()
    for bit in range(256):
        changed = bytearray(base)
        changed[bit // 8] ^= 1 << (bit % 8)
        vector = np.zeros(8, dtype="<u4")
        add_masks(vector, [Mask(SecretBytes(bytes(changed)), 1)])
        seen.add(vector.tobytes())
    assert len(seen) == 256


def test_own_values_stand_where_nothing_masks_them() -> None:
    own, vector = np.arange(8, dtype="<u4"), np.zeros(8, dtype="<u4")
    add_masks(vector, [], fill=lambda start, part, _: own[start : start + part.size])
    assert vector.tolist() == own.tolist()


def test_masks_refuse_other_arrays() -> None:
    for bad in (
        np.zeros(4, dtype=">u4"),
        np.zeros(4, dtype="<i4"),
        np.zeros((2, 2), dtype="<u4"),
        np.zeros(8, dtype="<u4")[::2],
    ):
        with pytest.raises(ParameterError):
            add_masks(bad, [])
    for threads, block, worth in ((0, 16, 1), (1, 8, 1), (1, 20, 1), (1, 16, 0)):
        with pytest.raises(ParameterError):
            Speed(threads, block, worth)


def test_prime_is_prime() -> None:
    """Miller-Rabin with forty fixed bases."""
    odd, twos = shamir.PRIME - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    for base in range(2, 42):
        value = pow(base, odd, shamir.PRIME)
        if value in (1, shamir.PRIME - 1):
            continue
        squares = itertools.accumulate(range(twos - 1), lambda v, _: v * v % shamir.PRIME, initial=value)
        assert shamir.PRIME - 1 in squares


def test_any_threshold_of_shares_reconstructs_and_fewer_do_not() -> None:
    secret = shamir.field_element(bytes(range(48)))
    coefficients = [shamir.field_element(entropy("c", i) + bytes(16)) for i in range(2)]
    shares = shamir.split(secret, coefficients, range(1, 6))
    for chosen in itertools.combinations(shares, 3):
        assert shamir.reconstruct({p: shares[p] for p in chosen}) == secret
    for chosen in itertools.combinations(shares, 2):
        assert shamir.reconstruct({p: shares[p] for p in chosen}) != secret


def test_fewer_shares_fit_every_secret() -> None:
    """t - 1 shares are consistent with any secret: exactly one polynomial goes through them and it."""
    secret = shamir.field_element(bytes(range(48)))
    shares = shamir.split(secret, [7, 9], range(1, 6))
    for guess in (0, 1, shamir.PRIME - 1):
        points = {1: int.from_bytes(shares[1], "big"), 2: int.from_bytes(shares[2], "big")}
        # f = guess + a x + b x^2 through both points: the determinant 1*4 - 2*1 = 2 is not zero.
        y1, y2 = points[1] - guess, points[2] - guess
        b = (y2 - 2 * y1) * pow(2, -1, shamir.PRIME) % shamir.PRIME
        a = (y1 - b) % shamir.PRIME
        assert shamir.split(guess, [a, b], [1, 2]) == {1: shares[1], 2: shares[2]}


def test_shamir_refuses_position_zero_and_duplicates() -> None:
    with pytest.raises(ParameterError):
        shamir.split(5, [1], [0])
    with pytest.raises(ParameterError):
        shamir.lagrange_at_zero((1, 1))
    with pytest.raises(ParameterError):
        shamir.field_element(bytes(32))


def test_fixed_point_round_trip_and_bound() -> None:
    fixed = FixedPoint(20, 8.0, 32)
    values = np.array([0.0, 1.5, -8.0, 8.0, 2**-21, 3 * 2**-21, -(2**-20)])
    decoded = fixed.decode_sum(fixed.encode(values), 1)
    assert np.abs(decoded - values).max() <= 2**-21
    assert fixed.max_summands == (2**31 - 1) // (8 << 20)
    with pytest.raises(RingOverflow):
        fixed.decode_sum(fixed.encode(values), fixed.max_summands + 1)


def test_fixed_point_sum_at_the_limit_does_not_wrap() -> None:
    fixed = FixedPoint(20, 8.0, 32)
    total = np.zeros(2, dtype="<u4")
    for _ in range(fixed.max_summands):
        total += fixed.encode(np.array([8.0, -8.0]))
    assert (fixed.decode_sum(total, fixed.max_summands) == np.array([8.0, -8.0]) * fixed.max_summands).all()


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 1.0000001, -2.0])
def test_outside_the_clip_raises(bad: float) -> None:
    with pytest.raises(OutsideClip) as caught:
        FixedPoint(10, 1.0, 32).encode(np.array([0.5, bad, 0.1, bad]))
    assert caught.value.count == 2


@pytest.mark.parametrize(
    ("fraction_bits", "clip", "bits"),
    [(-1, 1.0, 32), (53, 1.0, 64), (10, 0.0, 32), (10, math.inf, 32), (31, 1.0, 32), (10, 1.0, 16)],
)
def test_fixed_point_refuses_formats(fraction_bits: int, clip: float, bits: int) -> None:
    with pytest.raises(ParameterError):
        FixedPoint(fraction_bits, clip, bits)


@pytest.mark.parametrize("bits", [32, 64])
def test_noised_integers_wrap_and_are_never_clamped(bits: int) -> None:
    """A sum is right modulo 2**bits even if single summands do not fit."""
    big = (1 << (bits - 1)) + 12345
    one, two = (
        to_ring(np.array([big, -5], dtype=object), bits),
        to_ring(np.array([-big, 3], dtype=object), bits),
    )
    assert from_ring(one + two, bits).tolist() == [0, -2]
    assert from_ring(to_ring(np.array([-7, 9], dtype=np.int64), bits), bits).tolist() == [-7, 9]
    with pytest.raises(ParameterError):
        from_ring(np.zeros(1, dtype=np.int64), bits)


def test_bits_needed() -> None:
    assert bits_needed(4, 1 << 20) == 32
    assert bits_needed(4, 1 << 30) == 64
    # The noise alone decides: 7.6 standard deviations of a sum of four.
    assert bits_needed(4, 0, noise_scale=1e8) == 32
    assert bits_needed(4, 0, noise_scale=2e8) == 64
    with pytest.raises(RingOverflow):
        bits_needed(4, 1 << 62)
