"""Noise never repeats: not in a forked process, not after a restart, and nothing of it lies on the disk. Broken variants are caught.

A right sampler repeats one number of this scale by chance about once in 10^12, and all of them never.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hospital_node import entropy as entropy_module
from hospital_node.admission import Admission
from hospital_node.entropy import DiscreteGaussian, DrawnAhead, OsEntropy, SampledAhead, poisson_sample
from hospital_node.local_study import LocalStudy
from privacy.noise.mechanisms import Sampler
from tests.consortium import Hand, RememberingAdmission, World

SCALE = 2**41
Numbers = Callable[[], list[int]]


class Seeded:
    """A generator in memory, as libraries keep one: a fork copies it, and a restart with the same seed repeats it."""

    def __init__(self) -> None:
        self._rng = np.random.default_rng(1)

    def draw(self, count: int, scale: int) -> np.ndarray:
        return np.rint(self._rng.normal(0, scale, count)).astype(np.int64)


class Buffered:
    """Real noise drawn ahead without a thought of forks."""

    def __init__(self) -> None:
        self._left = list(DiscreteGaussian().draw(1000, SCALE))

    def draw(self, count: int, scale: int) -> np.ndarray:
        taken, self._left = self._left[:count], self._left[count:]
        return np.array(taken)


def repeats_in_a_fork(numbers: Numbers) -> bool:
    """Whether a child that was forked now and its parent get a number in common."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, " ".join(map(str, numbers())).encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(write)
    with os.fdopen(read) as pipe:
        theirs = {int(word) for word in pipe.read().split()}
    assert theirs
    return bool(theirs & set(numbers()))


def few(sampler: Sampler) -> Numbers:
    return lambda: [int(value) for value in sampler.draw(8, SCALE)]


def many(sampler: Sampler) -> Numbers:
    return lambda: [int(value) for value in sampler.draw(400, SCALE)]


def begun(sampler: Sampler) -> Sampler:
    """A buffer that was filled before the fork."""
    ahead = DrawnAhead(sampler, 1000)
    ahead.draw(5, SCALE)
    return ahead


def samples() -> list[int]:
    """A thousand inclusions as one number."""
    mask = poisson_sample(1000, 0.5, OsEntropy())
    return [int.from_bytes(np.packbits(mask).tobytes(), "big")]


def samples_begun() -> Numbers:
    """Samples that were drawn before the fork."""
    ahead = SampledAhead(OsEntropy(), 1000, 0.5, 30)
    ahead.next()
    return lambda: [sum(1 << place for place in ahead.next().tolist())]


@pytest.mark.threat("FL-30", control="C-RNG")
@pytest.mark.parametrize(
    "numbers",
    [
        few(DiscreteGaussian()),
        many(DiscreteGaussian()),
        few(begun(DiscreteGaussian())),
        samples,
        samples_begun(),
    ],
)
def test_a_fork_draws_other_noise(numbers: Numbers) -> None:
    numbers()
    assert not repeats_in_a_fork(numbers)


@pytest.mark.threat("FL-29", control="C-SELFTEST")
@pytest.mark.parametrize("broken", [Seeded(), Buffered()])
def test_a_generator_that_a_fork_copies_is_noticed(broken: Sampler) -> None:
    assert repeats_in_a_fork(few(broken))


def own_sampler(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hospital a reads its table in every node: a remembered study would keep the sampler of the first."""
    remembered = RememberingAdmission._prepare

    def prepare(self: RememberingAdmission, *arguments: Any) -> LocalStudy:
        reads = Admission._prepare if self.me == "a" else remembered
        return reads(self, *arguments)

    monkeypatch.setattr(RememberingAdmission, "_prepare", prepare)


def released(root: Path, sampler: Callable[[], Sampler]) -> np.ndarray:
    """The life table's integers of hospital a, whose process dies between the order and its answer and starts again on its files."""
    root.mkdir()
    world = World.of(root)
    world.nodes["a"].sampler = sampler()
    hand = Hand(world).join()
    hand.order(1)
    world.restart("a").sampler = sampler()
    hand.join()
    _, order = hand.order(1)
    assert hand.ask("a", order)
    # The last number is the declared size.
    return world.recorded(1, ["a"])[:-1]


@pytest.mark.threat("FL-30", control="C-RNG")
@pytest.mark.parametrize(("sampler", "repeats"), [(DiscreteGaussian, False), (Seeded, True)])
def test_a_restarted_hospital_never_repeats_its_noise(
    sampler: Callable[[], Sampler], repeats: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_sampler(monkeypatch)
    first, second = (released(tmp_path / attempt, sampler) for attempt in ("first", "second"))
    assert bool((first == second).all()) is repeats


def kept_on_disk(root: Path, secrets: list[bytes]) -> list[str]:
    """Files in which one of the secrets stands."""
    return [
        path.name
        for path in root.rglob("*")
        if path.is_file() and any(secret in path.read_bytes() for secret in secrets)
    ]


@pytest.mark.threat("FL-30", control="C-RNG")
def test_neither_noise_nor_its_key_is_written_to_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World.of(tmp_path)
    keys: list[bytes] = []
    keystream = entropy_module._keystream

    class Watched(DiscreteGaussian):
        def draw(self, count: int, scale: int) -> np.ndarray:
            drawn = super().draw(count, scale)
            keys.extend(value.tobytes() for value in np.asarray(drawn) if abs(int(value)) > 2**32)
            return drawn

    def watched(key: bytes) -> object:
        keys.append(key)
        return keystream(key)

    monkeypatch.setattr(entropy_module, "_keystream", watched)
    world.nodes["a"].sampler = Watched()
    own_sampler(monkeypatch)
    hand = Hand(world).join()
    total, receipt, _ = hand.round(1)
    assert total.size
    for hospital in world.nodes:
        hand.ask(hospital, receipt)
    assert len(keys) > 10
    assert kept_on_disk(tmp_path, keys) == []
    # A log of what was drawn, as somebody who debugs would leave it, is found.
    (tmp_path / "debug.log").write_bytes(b"noise " + keys[0])
    assert kept_on_disk(tmp_path, keys) == ["debug.log"]
