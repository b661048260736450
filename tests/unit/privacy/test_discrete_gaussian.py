"""The vectorized sampler's decisions at their exact integers, its constants, and known answers; its statistics are in tests/statistical."""

import hashlib
from decimal import Decimal, localcontext

import numpy as np
import pytest

from privacy.discrete_gaussian import (
    LARGEST_SCALE,
    _coins,
    _decided,
    _exp_coins,
    _half_normal_integers,
    _x,
    _x_squared_over_two,
    cumulative,
    discrete_gaussian,
    first_digits,
)

TOP = 2**64 - 1

# Words: SHAKE-256 of the label, eight bytes each, little end first.
KNOWN = {
    2: [1, 2, -2, 0, 3, 0],
    8: [4, 14, 2, -5, -14, -5],
    2**41 + 12345: [
        -1226984448524,
        522432480317,
        -1652100643266,
        -2459402200267,
        4109932935516,
        2222970487003,
    ],
    2**53: [
        19713611597418792,
        6004702074351005,
        5780987521446429,
        5549783086396158,
        11504957856039776,
        3901193996102277,
    ],
}


class Stream:
    """Words from a public label."""

    def __init__(self, label: str) -> None:
        self._label = label
        self.used = 0

    def __call__(self, count: int) -> np.ndarray:
        data = hashlib.shake_256(self._label.encode()).digest(8 * (self.used + count))
        self.used += count
        return np.frombuffer(data, dtype="<u8")[self.used - count :].astype(np.uint64)


class Script:
    """Chosen words, each used once."""

    def __init__(self, *words: int) -> None:
        self.words = list(words)

    def __call__(self, count: int) -> np.ndarray:
        taken, self.words = self.words[:count], self.words[count:]
        assert len(taken) == count, "more words were asked for than the decision needs"
        return np.array(taken, dtype=np.uint64)


def constants() -> list[Decimal]:
    """F_1, F_2, ... to 150 digits, by another arithmetic."""
    with localcontext() as context:
        context.prec = 150
        weights = [(-(Decimal(k) ** 2) / 2).exp() for k in range(40)]
        total = sum(weights)
        return [sum(weights[: m + 1], Decimal(0)) / total for m in range(40)]


@pytest.mark.parametrize("scale", KNOWN)
def test_known_answers(scale: int) -> None:
    assert discrete_gaussian(6, scale, Stream(f"scale {scale}")).tolist() == KNOWN[scale]


def test_a_coin_is_decided_at_the_exact_integer() -> None:
    # 2^64 = 3 x 6148914691236517205 + 1: the last word is thrown away, the others are divided evenly.
    third = 6148914691236517205
    assert _coins(4, 1, 3, Script(0, third - 1, third, TOP - 1)).tolist() == [True, True, False, False]
    assert _coins(1, 1, 3, Script(TOP, TOP, third - 1)).tolist() == [True]
    # Powers of two throw nothing away.
    assert _coins(2, 1, 2, Script(2**63 - 1, TOP)).tolist() == [True, False]
    above = np.array([0, 1, 2], dtype=np.uint64)
    assert _coins(3, above, 3, Script(0, third, third)).tolist() == [False, False, True]


def test_a_coin_of_exp_counts_its_heads() -> None:
    # exp(-1/2): the first failure at step 1 or 3 says yes, at step 2 no.
    heads, tails = 0, TOP - 63
    for words, says in (([tails], True), ([heads, tails], False), ([heads, heads, tails], True)):

        def half(active: np.ndarray, step: int, script: Script = Script(*words)) -> np.ndarray:  # noqa: B008
            return _coins(len(active), 1, 2 * step, script)

        assert _exp_coins(1, half).tolist() == [says]


def test_x_is_the_fraction_that_it_should_be() -> None:
    """exp(-x) and exp(-x^2 / 2) for x = 1/4: first throws of probability 1/4, and 1/2 x 1/4 x 1/4."""
    j, quarter = np.array([1], dtype=np.uint64), 2**62
    one = np.array([0])
    assert _x(j, 4, Script(quarter - 1))(one, 1).tolist() == [True]
    assert _x(j, 4, Script(quarter))(one, 1).tolist() == [False]
    # At step 2 the coin 1/2 comes first, and nothing is thrown after a failure.
    assert _x(j, 4, Script(2**63))(one, 2).tolist() == [False]
    assert _x(j, 4, Script(2**63 - 1, quarter - 1))(one, 2).tolist() == [True]
    assert _x_squared_over_two(j, 4, Script(2**63 - 1, quarter - 1, quarter - 1))(one, 1).tolist() == [True]
    assert _x_squared_over_two(j, 4, Script(2**63 - 1, quarter - 1, quarter))(one, 1).tolist() == [False]
    assert _x_squared_over_two(j, 4, Script(2**62 - 1, quarter - 1, quarter - 1))(one, 2).tolist() == [True]


def test_the_constants_are_those_of_another_arithmetic() -> None:
    with localcontext() as context:
        context.prec = 150
        for digits in (128, 192, 256):
            for (low, high), value in zip(cumulative(digits), constants(), strict=False):
                assert low <= value * 2**digits <= high
        expected = [int(value * 2**64) for value in constants()]
    assert first_digits().tolist() == [*(word for word in expected if word < TOP), TOP]


def test_k_is_decided_by_as_many_digits_as_it_takes() -> None:
    first = [int(word) for word in first_digits()]
    exact = [(low >> 64, low & TOP) for low, _ in cumulative(128)]
    below, above = Script(first[0] - 1), Script(first[0] + 1)
    assert _half_normal_integers(1, below).tolist() == [0]
    assert _half_normal_integers(1, above).tolist() == [1]
    # Its first 64 digits are those of F_1: the next 64 tell.
    second = exact[0][1]
    assert _half_normal_integers(1, Script(first[0], second - 9)).tolist() == [0]
    assert _half_normal_integers(1, Script(first[0], second + 9)).tolist() == [1]
    # And so on: 128 equal digits take 192.
    third = (cumulative(192)[0][0] + 1) & TOP
    middle = ((cumulative(192)[0][0] + 1) >> 64) & TOP
    assert _decided(first[0], Script(middle, third - 9)) == 0
    assert _decided(first[0], Script(middle, third + 9)) == 1
    # All ones is beyond every constant of 64 digits.
    assert _decided(TOP, Script(0)) == 9
    assert _decided(TOP, Script(TOP, 0)) > 9


def test_minus_zero_is_rejected() -> None:
    """k = 0, j = 0, accepted at once: a plus is zero, a minus is drawn again."""
    accepted = (0, 0, TOP - 63)

    class Then:
        def __init__(self, sign: int) -> None:
            self.script = [*accepted, sign]
            self.rest = Stream("after minus zero")

        def __call__(self, count: int) -> np.ndarray:
            taken, self.script = self.script[:count], self.script[count:]
            return np.array([*taken, *self.rest(count - len(taken))], dtype=np.uint64)

    from privacy.discrete_gaussian import _candidates

    assert _candidates(1, 8, Then(TOP)).tolist() == [0]
    assert _candidates(1, 8, Then(0)).tolist() == []


def test_the_scale_has_bounds() -> None:
    for scale in (1, 0, -3, LARGEST_SCALE + 1):
        with pytest.raises(ValueError, match="scale"):
            discrete_gaussian(1, scale, Stream("x"))
    assert discrete_gaussian(0, 8, Script()).shape == (0,)
    rng = np.random.default_rng(2)
    large = discrete_gaussian(
        50_000, LARGEST_SCALE, lambda n: rng.integers(0, TOP, n, np.uint64, endpoint=True)
    )
    assert large.std() == pytest.approx(2**53, rel=0.02)
