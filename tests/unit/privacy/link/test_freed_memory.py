"""A process keeps what it freed: in a process of its own, since there is no way back."""

from __future__ import annotations

import subprocess
import sys

import pytest

ROUNDS = """
import resource, sys
from privacy.link.freed_memory import keep_freed_memory
told = sys.argv[1] == "yes" and keep_freed_memory()
def rounds():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        vectors = [b"x" * (6 << 20) for _ in range(5)]
        del vectors
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
rounds()
print(told, rounds())
"""


def faults(keeps: str) -> tuple[str, int]:
    """Whether the C library was told, and the pages that five rounds took anew."""
    ran = subprocess.run([sys.executable, "-c", ROUNDS, keeps], capture_output=True, text=True, check=True)
    told, count = ran.stdout.split()
    return told, int(count)


def test_freed_memory_is_used_again_without_new_pages() -> None:
    told, count = faults("yes")
    if told == "False":
        pytest.skip("this C library has no mallopt")
    assert count < 100
    assert faults("no")[1] > 10_000
