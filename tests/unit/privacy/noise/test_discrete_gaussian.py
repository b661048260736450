"""The vectorized sampler's decisions at their exact integers, its constants, and known answers; its statistics are in tests/statistical."""

import hashlib
from decimal import Decimal, localcontext

import numpy as np
import pytest

from privacy.noise import discrete_gaussian as sampler
from privacy.noise.discrete_gaussian import (
    _MARGIN,
    LARGEST_SCALE,
    _decided,
    _half_normal_integers,
    below_exp,
    cumulative,
    discrete_gaussian,
    exp_bounds,
    first_digits,
)

TOP = 2**64 - 1

# Words: SHAKE-256 of the label, eight bytes each, little end first.
KNOWN = {
    2: [1, -2, -2, 0, 0, 2],
    8: [-4, 2, 2, 12, 6, -14],
    2**41 + 12345: [
        -522432480317,
        2459402200267,
        4109932935516,
        2222970487003,
        -4679004971841,
        29282192857,
    ],
    2**53: [
        -19713611597418792,
        -6004702074351005,
        -11504957856039776,
        12255611274624338,
        -9710713637696695,
        423807462389781,
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


def by_decimals(count: int, scale: int, words: Stream) -> list[int]:
    """The same draws from the same words by decimal arithmetic, one candidate at a time; few enough that no digit is needed twice."""
    candidates = count + count // 2 + 16
    first, second, third = (words(candidates).tolist() for _ in range(3))
    width = 2**64 // scale
    kept = []
    with localcontext() as context:
        context.prec = 80
        bounds = constants()
        for u, v, w in zip(first, second, third, strict=True):
            k = sum(Decimal(u) / 2**64 >= bound for bound in bounds)
            assert v < scale * width, "choose another label"
            x = Decimal(v // width) / scale
            if Decimal(w) / 2**64 < (-x * (2 * k + x) / 2).exp():
                kept.append(k * scale + v // width)
    signs = "".join(f"{word:064b}"[::-1] for word in words((len(kept) + 63) // 64).tolist())
    pairs = [(z, sign) for z, sign in zip(kept, signs, strict=False) if (z, sign) != (0, "1")]
    return [-z if sign == "1" else z for z, sign in pairs][:count]


@pytest.mark.parametrize("scale", KNOWN)
def test_the_draws_are_those_of_another_arithmetic(scale: int) -> None:
    assert discrete_gaussian(6, scale, Stream(f"scale {scale}")).tolist() == by_decimals(
        6, scale, Stream(f"scale {scale}")
    )
    assert discrete_gaussian(60, scale, Stream("more")).tolist() == by_decimals(60, scale, Stream("more"))


def test_integers_alone_decide_as_doubles_and_integers_do(monkeypatch: pytest.MonkeyPatch) -> None:
    draws = discrete_gaussian(3000, 2**41 + 7, Stream("both"))
    monkeypatch.setattr(sampler, "_MARGIN", 2.0)
    assert (discrete_gaussian(3000, 2**41 + 7, Stream("both")) == draws).all()


@pytest.mark.threat("FL-30", control="C-RNG")
def test_the_doubles_are_a_thousand_times_closer_than_they_need_to_be() -> None:
    """So is their exp: over all k and x that occur, against decimals."""
    rng = np.random.default_rng(3)
    k, j, scale = rng.integers(0, 12, 3000), rng.integers(0, 2**53, 3000), 2**53
    x = j / np.float64(scale)
    doubles = np.exp((x * -0.5 - k) * x)
    with localcontext() as context:
        context.prec = 50
        for number, a, b in zip(doubles.tolist(), k.tolist(), j.tolist(), strict=True):
            exact = Decimal(-b * (2 * a * scale + b)) / (2 * scale**2)
            assert abs(Decimal(number) - exact.exp()) < Decimal(_MARGIN) / 1000


def test_exp_is_bounded_from_both_sides() -> None:
    with localcontext() as context:
        context.prec = 150
        for above, below in ((1, 3), (7, 2), (1, 2**80), (2**80 - 1, 2**80), (123, 10), (40, 1), (0, 1)):
            for digits in (64, 128, 256):
                low, high = exp_bounds(above, below, digits)
                assert low <= (Decimal(-above) / below).exp() * 2**digits <= high <= low + 2


def test_a_comparison_with_exp_takes_as_many_digits_as_it_needs() -> None:
    with localcontext() as context:
        context.prec = 150
        value = int((Decimal(-1) / 3).exp() * 2**192)
    first, second, third = value >> 128, (value >> 64) & TOP, value & TOP
    # Far away nothing more is drawn.
    assert below_exp(first - 9, 1, 3, Script())
    assert not below_exp(first + 9, 1, 3, Script())
    # The same first digits: the next 64 tell, or the 64 behind them.
    assert below_exp(first, 1, 3, Script(second - 9))
    assert not below_exp(first, 1, 3, Script(second + 9))
    assert below_exp(first, 1, 3, Script(second, third - 9))
    assert not below_exp(first, 1, 3, Script(second, third + 9))
    # exp(0) = 1 is above every number below 1.
    assert below_exp(TOP, 0, 3, Script())


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
    accepted = (0, 0, 0)

    class Then:
        def __init__(self, sign: int) -> None:
            self.script = [*accepted, sign]
            self.rest = Stream("after minus zero")

        def __call__(self, count: int) -> np.ndarray:
            taken, self.script = self.script[:count], self.script[count:]
            return np.array([*taken, *self.rest(count - len(taken))], dtype=np.uint64)

    from privacy.noise.discrete_gaussian import _candidates

    assert _candidates(1, 8, Then(0)).tolist() == [0]
    assert _candidates(1, 8, Then(1)).tolist() == []


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
