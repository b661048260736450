"""A patient's integer row is never longer than the sensitivity, on rows made to deceive the rounding of norms."""

import numpy as np
import pytest

from privacy.noise import clipped_blocks
from privacy.noise.clipped_blocks import SMALLEST_CLIP, Block, Outer, clipped_sum
from privacy.noise.mechanisms import quantize
from privacy.noise.whole import Whole

BITS = 40
D = 1 << BITS


def deceiving_row(size: int) -> np.ndarray:
    """One coordinate of 1 and many whose squares are just below half a unit in its last place: a running sum of squares loses them all."""
    row = np.full((1, size), 2.0**-26.51)
    row[0, 0] = 1.0
    return row


def exact_square(total: np.ndarray) -> int:
    return sum(int(value) ** 2 for value in total.tolist())


def deceiving_blocks() -> list[list[Block]]:
    long, one = deceiving_row(1 << 20), np.ones(1)
    factor = Whole.of(np.full((1, 40), 0.999999), 14)
    return [
        [long],
        [long, Outer(one, long, Whole.of(np.ones((1, 1)), 19))],
        [np.zeros((1, 3)), Outer(one * 3e7, None, factor), Outer(one * 1e-7, deceiving_row(1 << 12), factor)],
    ]


@pytest.mark.threat("FL-20", control="C-CLIPUPDATE")
@pytest.mark.parametrize("blocks", deceiving_blocks())
@pytest.mark.parametrize("clip", [1e-3, 7.0])
def test_no_row_is_longer_than_the_sensitivity(blocks: list[Block], clip: float) -> None:
    assert exact_square(clipped_sum(blocks, clip, BITS)) <= D**2


def test_without_the_room_some_row_is_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the room is for; the proof says how much of it is needed."""
    monkeypatch.setattr(clipped_blocks, "_ROOM", 0.0)
    squares = [exact_square(clipped_sum(blocks, 1e-3, BITS)) for blocks in deceiving_blocks()]
    assert max(squares) > D**2


def test_rows_written_out_have_the_same_bound() -> None:
    assert exact_square(quantize(deceiving_row(1 << 20), 1e-3, BITS)[0]) <= D**2


@pytest.mark.parametrize("tiny", [1e-160, 1e-200, 5e-324])
def test_squares_that_vanish_let_nothing_through(tiny: float) -> None:
    right = Whole.of(np.ones((1, 3)), 17)
    for weight, left in ((tiny, 1 / tiny), (1 / tiny if tiny > 1e-300 else 1e300, tiny)):
        one = [Outer(np.full(1, weight), np.full((1, 4), min(left, 1e300)), right)]
        assert exact_square(clipped_sum(one, 1.0, BITS)) <= D**2
    assert exact_square(clipped_sum([np.full((1, 5), tiny)], SMALLEST_CLIP, BITS)) <= D**2


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e40, 1e200])
def test_who_is_not_finite_or_too_large_counts_as_nothing_and_moves_nobody(value: float) -> None:
    rng = np.random.default_rng(2)
    right = Whole.of(rng.uniform(-1, 1, (5, 3)), 17)
    rows, weight, left = rng.normal(size=(5, 2)), rng.normal(size=5), rng.normal(size=(5, 4))
    usual = [rows, Outer(weight, left, right)]
    rest = clipped_sum(_without(usual, 2), 1.0)
    for place in range(3):
        parts = [rows.copy(), weight.copy(), left.copy()]
        parts[place][2] = value
        total = clipped_sum([parts[0], Outer(parts[1], parts[2], right)], 1.0)
        assert np.array_equal(total, rest)


def _without(blocks: list[Block], patient: int) -> list[Block]:
    kept = np.arange(5) != patient
    return [clipped_blocks._part(block, kept) for block in blocks]


def test_more_patients_than_fit_at_once_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(4)
    blocks = [
        rng.normal(size=(50, 3)),
        Outer(rng.normal(size=50), rng.normal(size=(50, 2)), Whole.of(rng.uniform(-1, 1, (50, 4)), 17)),
    ]
    at_once = clipped_sum(blocks, 1.0)
    monkeypatch.setattr(clipped_blocks, "_ROWS_AT_ONCE", 7)
    assert np.array_equal(clipped_sum(blocks, 1.0), at_once)


def test_a_clip_below_the_proof_is_refused() -> None:
    for clip in (SMALLEST_CLIP / 2, 0.0, -1.0, np.nan):
        with pytest.raises(ValueError, match="raise clip_l2"):
            clipped_sum([np.zeros((1, 2))], clip)
