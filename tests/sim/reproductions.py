"""Schedules that once broke an invariant, or that reach a corner which few random ones do, as literal lists.

Each is (hospitals, operations) under a name that says what happens in it.
"""

from __future__ import annotations

from tests.sim.scheduler import (
    AdvanceTime,
    Crash,
    Deliver,
    Drop,
    Duplicate,
    Operation,
    ReplayOldRound,
    Restart,
    ServerLies,
    Tamper,
)

REPRODUCTIONS: dict[str, tuple[int, list[Operation]]] = {
    "nothing goes wrong": (4, [Deliver(0, 200)]),
    "one hospital is away from the second round on": (
        4,
        [Deliver(0, 70), Crash(3), Deliver(0, 60), AdvanceTime()],
    ),
    "killed between the charge and the upload, then back": (
        3,
        [
            Deliver(0, 15),
            Crash(0, 5),
            Deliver(0, 20),
            Restart(0),
            Deliver(0, 9),
            AdvanceTime(),
            Deliver(0, 60),
        ],
    ),
    "killed after the upload was stored, asked again": (
        3,
        [
            Deliver(0, 15),
            Crash(0, 20),
            Deliver(0, 30),
            Restart(0),
            ReplayOldRound(12),
            ReplayOldRound(13),
            Deliver(0, 60),
        ],
    ),
    "the coordinator forgets everything in mid-round": (
        3,
        [Deliver(0, 25), Crash(3), AdvanceTime(), Deliver(0, 90)],
    ),
    "a smaller set is asked for in secret": (
        4,
        [Deliver(0, 34), *(ServerLies(0, party, 7) for party in range(4)), Deliver(0, 99)],
    ),
    "everything comes twice": (3, [op for i in range(20) for op in (Duplicate(i), Deliver(0, 2))]),
    "a vector changes on its way": (
        3,
        [Deliver(0, 24), Tamper(2, 40, 1), Deliver(0, 4), Drop(0), AdvanceTime()],
    ),
}
