"""Freed memory stays with the process: seen by the pages that the system had to hand out."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

# Vectors of 8 MB that live together, twenty times over; prints the page faults of the last ten.
PROGRAM = """
import os, resource, sys
from privacy.link.kept_memory import keep_freed_memory
if sys.argv[1] == "keeps":
    keep_freed_memory(os.environ)
for turn in range(20):
    if turn == 10:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    vectors = [b"x" * (8 << 20) for _ in range(4)]
    del vectors
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str, **environment: str) -> int:
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, how],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | environment,
    )
    return int(ran.stdout)


def test_the_next_round_finds_the_pages_of_the_last_one() -> None:
    assert faults("keeps") < 1000 < faults("gives back")


@pytest.mark.parametrize(
    "own", [{"MALLOC_MMAP_THRESHOLD_": "131072"}, {"GLIBC_TUNABLES": "glibc.malloc.mmap_threshold=131072"}]
)
def test_an_operator_s_own_word_holds(own: dict[str, str]) -> None:
    assert faults("keeps", **own) > 1000
