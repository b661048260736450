"""The demo's check that aggregation is exact: the sums that the coordinator published against the integers that the hospitals recorded
before masking, in other processes. Simulation only: in a study nobody has both.

Where hospitals took spare noise out of a sum again, what they told of it is written down nowhere: there the difference must be noise that they can
have drawn, and everything beside the noised numbers is exact.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from coordinator.state import CoordinatorState, StoredRound
from deploy.demo_consortium import DemoRun
from privacy.link.canonical import parse_canonical
from privacy.noise.noise_layers import is_believable
from privacy.studies.agreement import Agreement
from privacy.studies.exchange import REMOVED, statistic_release, task_at


@dataclass(frozen=True, slots=True)
class SumCheck:
    """How many rounds were compared and whether all agreed to the last bit."""

    rounds: int
    equal: bool
    problem: str
    spare: bool = False

    @property
    def but(self) -> str:
        """What the comparison leaves open."""
        return ", but for spare noise within what they can have drawn" if self.spare else ""

    @property
    def sentence(self) -> str:
        if self.equal:
            return (
                f"exact sums: in {self.rounds} rounds the published integers equal the sum of the integers that the named hospitals recorded "
                f"before masking, in other processes{self.but} (simulation only)"
            )
        return f"[red]exact sums: FAILED, {self.problem}[/red]"


def check_sums(run: DemoRun, agreement: Agreement) -> SumCheck:
    """Compares every finished round, coordinate by coordinate, as integers."""
    state = CoordinatorState(run.folder.coordinator / "state" / "coordinator.db")
    try:
        return _compared(run, agreement, state.rounds(bytes.fromhex(agreement.hash)))
    finally:
        state.close()


def _compared(run: DemoRun, agreement: Agreement, rounds: Iterable[StoredRound]) -> SumCheck:
    compared, spare = 0, False
    for stored in rounds:
        if stored.total is None:
            continue
        record = parse_canonical(stored.record)
        assert isinstance(record, dict)
        published = np.frombuffer(stored.total, dtype="<i8")
        recorded = np.zeros_like(published)
        for hospital in record["answered"]:
            path = (
                run.folder.hospital(hospital).reports
                / "releases"
                / f"{agreement.study.id}-{stored.round}.bin"
            )
            recorded += np.frombuffer(path.read_bytes(), dtype="<i8")
        removed = record["noise_removed"]
        members = len(record["answered"])
        if removed and _is_spare_noise(recorded - published, agreement, stored.round, members, len(removed)):
            recorded, spare = published, True
        if not np.array_equal(published, recorded):
            return SumCheck(compared, False, f"round {stored.round} differs from what its hospitals recorded")
        compared += 1
    return SumCheck(compared, compared > 0, "" if compared else "no round was finished", spare)


def _is_spare_noise(
    difference: NDArray[np.int64], agreement: Agreement, round_number: int, members: int, told: int
) -> bool:
    """Whether so many of the members of a sum can have told this, (dim,), of their spare noise together."""
    task = task_at(agreement, round_number)
    release = statistic_release(agreement, task)
    out = members - release.fewest
    beside = difference[task.length :].copy()
    beside[REMOVED] += told
    kept, spare = release.layers()[:-out], release.layers()[-out:]
    # The sum of what each can have drawn is held to the same number of its own standard deviations.
    return not beside.any() and is_believable(
        difference[: task.length], kept * told + spare * told, out * told
    )
