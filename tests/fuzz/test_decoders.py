"""The fuzzing target over its corpus, over damaged copies of it, and, in the slow tier, under atheris where it is installed."""

from __future__ import annotations

import importlib.util
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from secagg.wire import codec, wardround_pb2
from tests.fuzz.decoders import CORPUS, machines, read_one, readers, seeds

MINUTES = 10


def corpus() -> list[bytes]:
    return [path.read_bytes() for path in sorted(CORPUS.iterdir())]


def test_corpus_is_small_and_holds_every_seed() -> None:
    assert set(seeds().values()) <= set(corpus())
    assert sum(map(len, corpus())) < 1 << 18


@pytest.mark.threat("FL-19", control="C-LIMITS")
def test_corpus_and_damaged_copies_of_it() -> None:
    every, chance = readers(), random.Random(1)
    for data in corpus():
        read_one(every[data[0] % len(every)], data[1:])
        for _ in range(25):
            changed = bytearray(data[1:])
            for _ in range(chance.randint(1, 4)):
                place = chance.randrange(len(changed))
                changed[place : place + chance.randint(0, 3)] = chance.randbytes(chance.randint(0, 3))
                changed = changed or bytearray(1)
            read_one(every[chance.randrange(len(every))], bytes(changed))


@pytest.mark.threat("FL-19", control="C-LIMITS")
@pytest.mark.parametrize("count", [1, 1000, 16000])
def test_many_empty_entries_cost_no_more_than_the_bound(count: int) -> None:
    """Two bytes on the wire, an object in memory: the most that a length buys."""
    message = wardround_pb2.KeyList(first_round=1)
    for _ in range(count):
        message.adverts.add()
    for reader in readers():
        read_one(reader, message.SerializeToString())
        read_one(reader, codec.wrap("key_list", message.SerializeToString()))


def test_every_arrow_accepts_its_seed() -> None:
    """The corpus starts from messages that get through, not from refusals."""
    for reader, message in machines().values():
        reader(message)


def raises(_: bytes) -> None:
    raise KeyError("not a refusal")


def devours(_: bytes) -> None:
    bytearray(4 << 20)


@pytest.mark.parametrize(("reader", "error"), [(raises, KeyError), (devours, AssertionError)])
def test_target_notices_crashes_and_memory(reader: Callable[[bytes], None], error: type[Exception]) -> None:
    with pytest.raises(error):
        read_one(reader, b"data")


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="needs the extra fuzz")
def test_ten_minutes_of_fuzzing() -> None:
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", "--minutes", str(MINUTES)], cwd=root, check=False
    )
    found = list(CORPUS.parent.glob("crash-*")) + list(CORPUS.parent.glob("oom-*"))
    for path in found:
        shutil.copy(path, CORPUS)
    assert done.returncode == 0
    assert not found
