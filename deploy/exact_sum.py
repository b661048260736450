"""The demo's check that aggregation is exact: the sums that the coordinator published against the integers that the hospitals recorded
before masking, in other processes. Simulation only: in a study nobody has both."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from coordinator.state import CoordinatorState
from deploy.demo_consortium import DemoRun
from privacy.agreement import Agreement
from privacy.canonical import parse_canonical


@dataclass(frozen=True, slots=True)
class SumCheck:
    """How many rounds were compared and whether all agreed to the last bit."""

    rounds: int
    equal: bool
    problem: str

    @property
    def sentence(self) -> str:
        if self.equal:
            return (
                f"exact sums: in {self.rounds} rounds the published integers equal the sum of the integers that the named hospitals recorded "
                "before masking, in other processes (simulation only)"
            )
        return f"[red]exact sums: FAILED, {self.problem}[/red]"


def check_sums(run: DemoRun, agreement: Agreement) -> SumCheck:
    """Compares every finished round, coordinate by coordinate, as integers."""
    state = CoordinatorState(run.folder.coordinator / "state" / "coordinator.db")
    rounds = state.rounds(bytes.fromhex(agreement.hash))
    state.close()
    compared = 0
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
        if not np.array_equal(published, recorded):
            return SumCheck(compared, False, f"round {stored.round} differs from what its hospitals recorded")
        compared += 1
    return SumCheck(compared, compared > 0, "" if compared else "no round was finished")
