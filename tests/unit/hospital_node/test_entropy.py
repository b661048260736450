"""Entropy comes from the operating system, is exact, and never repeats."""

import inspect
import os
import subprocess
import sys

import numpy as np
import pytest

from hospital_node.entropy import (
    MANY_BYTES,
    DiscreteGaussian,
    DrawnAhead,
    FreshWords,
    OsEntropy,
    SampledAhead,
    poisson_sample,
)

SCALE = 2**40

_FORK = """
import os
from hospital_node.entropy import DiscreteGaussian, OsEntropy
sampler = DiscreteGaussian()
sampler.draw(4, 2**40)
def line():
    return f"{sampler.draw(4, 2**40).tolist()} {OsEntropy().random_bytes(8).hex()}\\n".encode()
read, write = os.pipe()
if os.fork() == 0:
    os.write(write, line())
    os._exit(0)
os.wait()
os.write(1, line() + os.read(read, 4096))
"""


class Words:
    """Chosen 64-bit words."""

    def __init__(self, *words: int) -> None:
        self.words = words

    def random_bytes(self, count: int) -> bytes:
        assert count == 8 * len(self.words)
        return b"".join(word.to_bytes(8, sys.byteorder) for word in self.words)


def test_inclusion_is_decided_at_the_exact_integer() -> None:
    threshold = 2**62
    chosen = poisson_sample(4, 0.25, Words(0, threshold - 1, threshold, 2**64 - 1))
    assert chosen.tolist() == [True, True, False, False]


def test_rates_are_never_rounded_up() -> None:
    # 0.1 as a double is 0x1.999999999999ap-4; its multiple of 2^64 is an integer.
    threshold = int(float.fromhex("0x1.999999999999ap-4") * 2**64)
    assert poisson_sample(2, 0.1, Words(threshold - 1, threshold)).tolist() == [True, False]
    assert poisson_sample(1, 1e-300, Words(0)).tolist() == [False]


def test_everybody_is_in_at_rate_one_and_nobody_of_nobody() -> None:
    assert poisson_sample(3, 1.0, Words()).tolist() == [True] * 3
    assert poisson_sample(0, 0.5, Words()).shape == (0,)
    for rate in (0.0, -0.1, 1.0000001, float("nan")):
        with pytest.raises(ValueError, match="rate"):
            poisson_sample(1, rate, Words(0))


def test_draws_are_int64_and_of_the_asked_count() -> None:
    draws = DiscreteGaussian().draw(5, SCALE)
    assert draws.dtype == np.int64
    assert draws.shape == (5,)
    assert DiscreteGaussian().draw(0, SCALE).shape == (0,)
    for scale in (0, -1, 2**53 + 1):
        with pytest.raises(ValueError, match="scale"):
            DiscreteGaussian().draw(1, scale)


@pytest.mark.threat("FL-30", control="C-RNG")
def test_no_seed_can_be_given() -> None:
    for thing in (
        OsEntropy,
        DiscreteGaussian,
        DiscreteGaussian.draw,
        DrawnAhead,
        SampledAhead,
        FreshWords,
        poisson_sample,
    ):
        assert not any("seed" in name for name in inspect.signature(thing).parameters)


@pytest.mark.threat("FL-30", control="C-RNG")
def test_a_fork_and_a_new_process_draw_other_noise() -> None:
    lines = []
    for _ in range(2):
        run = subprocess.run([sys.executable, "-c", _FORK], capture_output=True, check=True, cwd=os.getcwd())
        lines += run.stdout.split(b"\n")[:2]
    assert len(lines) == len(set(lines)) == 4


def test_the_operating_system_is_asked_each_time() -> None:
    entropy = OsEntropy()
    assert entropy.random_bytes(16) != entropy.random_bytes(16)
    assert len(entropy.random_bytes(3)) == 3


def test_many_bytes_come_from_a_key_of_their_own_and_nothing_takes_one_twice() -> None:
    entropy = OsEntropy()
    first, second = entropy.random_bytes(MANY_BYTES), entropy.random_bytes(MANY_BYTES)
    assert len(first) == len(second) == MANY_BYTES
    assert first != second
    assert len(set(first)) > 200
    words = FreshWords(entropy)
    assert not set(words(500)) & set(words(500))


class Counting:
    """Draws 0, 1, 2, ... and remembers how it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, int]] = []
        self.next = 0

    def draw(self, count: int, scale: int) -> np.ndarray:
        self.asked.append((count, scale))
        self.next += count
        return np.arange(self.next - count, self.next)


def test_what_is_drawn_ahead_is_handed_out_once() -> None:
    source = Counting()
    ahead = DrawnAhead(source, 10)
    assert source.asked == []
    given = [ahead.draw(4, SCALE).tolist() for _ in range(3)]
    # Two numbers were left when four were asked for: they are thrown away.
    assert given == [[0, 1, 2, 3], [4, 5, 6, 7], [10, 11, 12, 13]]
    # Another scale never gets the noise of this one, and more than ahead is drawn at once.
    assert ahead.draw(2, 2 * SCALE).tolist() == [20, 21]
    assert ahead.draw(25, 2 * SCALE).tolist() == list(range(30, 55))
    assert source.asked == [(10, SCALE), (10, SCALE), (10, 2 * SCALE), (25, 2 * SCALE)]


def test_samples_drawn_ahead_are_those_of_the_words_and_handed_out_once() -> None:
    into, out = 2**62 - 1, 2**62
    ahead = SampledAhead(Words(into, into, out, into, out, out), 2, 0.25, 3)
    assert sorted(ahead.next().tolist() for _ in range(3)) == [[], [0, 1], [1]]
    assert ahead._left == []


def test_large_samples_are_drawn_one_at_a_time() -> None:
    asked: list[int] = []

    class Recording:
        def random_bytes(self, count: int) -> bytes:
            asked.append(count)
            return bytes(count)

    ahead = SampledAhead(Recording(), 1 << 15, 0.5, 20)
    assert [len(ahead.next()) for _ in range(2)] == [1 << 15] * 2
    assert asked == [8 << 15] * 2
    few = SampledAhead(Recording(), 100, 0.5, 20)
    assert [len(few.next()) for _ in range(20)] == [100] * 20
    assert asked[2:] == [8 * 100 * 20]
    assert SampledAhead(Recording(), 3, 1.0, 5).next().tolist() == [0, 1, 2]
    assert len(asked) == 3
