"""Random schedules against real nodes on real files: the seven invariants of `tests.sim.record` hold whatever happens."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.sim.reproductions import REPRODUCTIONS
from tests.sim.scheduler import (
    AdvanceTime,
    Crash,
    Deliver,
    Drop,
    Duplicate,
    Operation,
    Reorder,
    ReplayOldRound,
    Restart,
    ServerLies,
    Tamper,
    run,
)

SLOW_EXAMPLES = int(os.environ.get("SCHEDULES", "5000"))
INDEX = st.integers(0, 60)
ONWARD = st.builds(Deliver, st.just(0), st.integers(1, 40))


def faults(lies: int, parties: int) -> st.SearchStrategy[Operation]:
    """One operation that is not a plain delivery; so many kinds of lies, to hospitals 0 to `parties`."""
    return st.one_of(
        st.builds(Deliver, INDEX, st.integers(1, 8)),
        st.builds(AdvanceTime),
        st.builds(ServerLies, st.integers(0, lies - 1), st.integers(0, parties), INDEX),
        st.builds(ServerLies, st.integers(0, 1), st.integers(0, parties), INDEX),
        st.builds(Crash, st.integers(0, parties + 1), st.integers(0, 40)),
        st.builds(Restart, st.integers(0, parties)),
        st.builds(Drop, INDEX),
        st.builds(Duplicate, INDEX),
        st.builds(Reorder, INDEX),
        st.builds(Tamper, INDEX, st.integers(0, 3000), st.integers(1, 255)),
        st.builds(ReplayOldRound, st.integers(0, 300)),
    )


@st.composite
def schedules(draw: st.DrawFn, lies: int = 11, parties: int = 4) -> list[Operation]:
    """Stretches in which messages flow, and one to three faults after each."""
    fault = faults(lies, parties)
    operations: list[Operation] = []
    for _ in range(draw(st.integers(1, 6))):
        operations.append(draw(ONWARD))
        operations += draw(st.lists(fault, min_size=1, max_size=3))
    return operations


def tier(examples: int) -> settings:
    return settings(
        max_examples=examples,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
        derandomize=examples <= 300,
    )


@pytest.mark.parametrize("name", REPRODUCTIONS)
def test_reproductions(name: str) -> None:
    n, operations = REPRODUCTIONS[name]
    assert run(n, operations) == run(n, operations)


@given(schedules())
@tier(200)
def test_invariants_hold_among_three(operations: list[Operation]) -> None:
    run(3, operations)


@given(schedules())
@tier(80)
def test_invariants_hold_among_four(operations: list[Operation]) -> None:
    run(4, operations)


@given(schedules())
@tier(20)
def test_the_same_schedule_gives_the_same_bytes(operations: list[Operation]) -> None:
    assert run(3, operations) == run(3, operations)


@pytest.mark.slow
@given(st.sampled_from([3, 4, 4, 5]), schedules())
@tier(SLOW_EXAMPLES)
def test_invariants_hold_in_many_schedules(n: int, operations: list[Operation]) -> None:
    run(n, operations, rounds=3)
