"""An adversary that owns the network, the clock, the power switches and the coordinator's tongue.

A schedule is a list of operations; every number in it is taken modulo what there is at that moment, so that each list means
something and can be shortened. The same list gives the same bytes.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias, assert_never

from secagg.errors import WireError
from secagg.wire import codec
from secagg.wire.records import Agreement, SetSignature
from tests.sim.hospitals import CountedEntropy, Killed, SimClock, SimHospital
from tests.sim.lies import Signatures, lie
from tests.sim.record import Record
from tests.sim.server import Server
from tests.unit.secagg.rounds import names

COORDINATOR = "coordinator"


@dataclass(frozen=True, slots=True)
class Deliver:
    """So many messages arrive, from this one on in the order in which they are under way."""

    index: int
    count: int = 1


@dataclass(frozen=True, slots=True)
class Drop:
    """A message is lost."""

    index: int


@dataclass(frozen=True, slots=True)
class Duplicate:
    """A message is under way twice."""

    index: int


@dataclass(frozen=True, slots=True)
class Reorder:
    """A message falls behind all others."""

    index: int


@dataclass(frozen=True, slots=True)
class Tamper:
    """One byte of a message is changed."""

    index: int
    position: int
    mask: int


@dataclass(frozen=True, slots=True)
class ReplayOldRound:
    """A message that was sent before, by anybody to anybody, is under way again to the same party."""

    index: int


@dataclass(frozen=True, slots=True)
class Crash:
    """A process dies: at once, or after so many more statements that write. The last is the coordinator."""

    party: int
    writes: int = 0


@dataclass(frozen=True, slots=True)
class Restart:
    """A hospital's process starts again on its files and is greeted."""

    party: int


@dataclass(frozen=True, slots=True)
class AdvanceTime:
    """The deadline of whatever the coordinator waits for passes."""

    seconds: int = 60


@dataclass(frozen=True, slots=True)
class ServerLies:
    """The coordinator tells one hospital something that is not so."""

    kind: int
    party: int
    choice: int


Operation: TypeAlias = (
    Deliver
    | Drop
    | Duplicate
    | Reorder
    | Tamper
    | ReplayOldRound
    | Crash
    | Restart
    | AdvanceTime
    | ServerLies
)


@dataclass(frozen=True, slots=True)
class Envelope:
    """A message under way."""

    source: str
    target: str
    message: bytes


@dataclass(slots=True)
class Simulation:
    """Hospitals, a coordinator, a network and a clock."""

    n: int
    root: Path
    rounds: int = 2
    sparse: bool = False
    clock: SimClock = field(default_factory=SimClock)
    under_way: list[Envelope] = field(default_factory=list)
    sent: list[Envelope] = field(default_factory=list)
    signatures: Signatures = field(default_factory=dict)
    record: Record = field(init=False)
    hospitals: dict[str, SimHospital] = field(init=False)
    server: Server = field(init=False)

    def __post_init__(self) -> None:
        self.record = Record(self.n, self.sparse)
        self.hospitals = {
            name: SimHospital(
                name, self.n, self.root / name, self.clock, CountedEntropy(name), sparse=self.sparse
            )
            for name in names(self.n)
        }
        self.server = Server(
            self.n, self.rounds, lambda to, message: self._send(COORDINATOR, to, message), self.sparse
        )
        for hospital in self.hospitals.values():
            hospital.start()
        self.server.open_session()

    def close(self) -> None:
        """Close every file."""
        for hospital in self.hospitals.values():
            hospital.stop()

    def step(self, operation: Operation) -> None:
        """Do one operation."""
        match operation:
            case Deliver(index, count):
                for _ in range(count):
                    if self.under_way:
                        self._arrive(self.under_way.pop(index % len(self.under_way)))
            case AdvanceTime(seconds):
                self.clock.seconds += seconds
                self.server.deadline()
            case Crash(party, writes):
                self._crash(party % (self.n + 1), writes)
            case Restart(party):
                self._restart(names(self.n)[party % self.n])
            case ServerLies(kind, party, choice):
                lie(self.server, kind, names(self.n)[party % self.n], choice, self.signatures)
            case ReplayOldRound(index):
                self.under_way.append(self.sent[index % len(self.sent)])
            case Drop() | Duplicate() | Reorder() | Tamper():
                if self.under_way:
                    self._bend(operation, operation.index % len(self.under_way))
            case _:
                assert_never(operation)
        self.record.look(self.hospitals, self.server)

    def settle(self) -> None:
        """Let everybody come back and time pass, so that what can still be summed is."""
        for _ in range(2):
            for party, hospital in enumerate(self.hospitals.values()):
                if hospital.node is None:
                    self.step(Restart(party))
            self.step(Deliver(0, 240 if self.sparse else 120))
            self.step(AdvanceTime())

    def _bend(self, operation: Drop | Duplicate | Reorder | Tamper, index: int) -> None:
        envelope = self.under_way[index]
        match operation:
            case Drop():
                del self.under_way[index]
            case Duplicate():
                self.under_way.append(envelope)
            case Reorder():
                self.under_way.append(self.under_way.pop(index))
            case Tamper(_, position, mask):
                changed = bytearray(envelope.message)
                changed[position % len(changed)] ^= mask
                self.under_way[index] = Envelope(envelope.source, envelope.target, bytes(changed))

    def _send(self, source: str, target: str, message: bytes) -> None:
        envelope = Envelope(source, target, message)
        self.sent.append(envelope)
        self.under_way.append(envelope)

    def _arrive(self, envelope: Envelope) -> None:
        if envelope.target == COORDINATOR:
            self._note_signature(envelope)
            self.server.receive(envelope.source, envelope.message)
            return
        hospital = self.hospitals[envelope.target]
        if hospital.node is None:
            return
        before = hospital.node.state
        try:
            replies = hospital.handle(envelope.message)
        except Killed:
            self.record.killed(hospital, envelope.message)
            return
        self.record.answered(hospital, envelope.message, replies, before)
        for reply in replies:
            self._send(envelope.target, COORDINATOR, reply)

    def _note_signature(self, envelope: Envelope) -> None:
        try:
            kind, payload = codec.unwrap(envelope.message)
            if kind not in ("agreement", "set_signature"):
                return
            answer = codec.decode(SetSignature if kind == "set_signature" else Agreement, payload)
        except WireError:
            return
        if not answer.signature:
            return  # Over the sparse graph agreeing is not signing.
        given = self.signatures.setdefault((answer.round, answer.set_hash), {})
        given.setdefault(envelope.source, answer.signature)

    def _crash(self, party: int, writes: int) -> None:
        if party == self.n:
            self.server.crash()
            return
        hospital = self.hospitals[names(self.n)[party]]
        if writes == 0:
            hospital.stop()
        else:
            hospital.fuse.left = writes

    def _restart(self, name: str) -> None:
        hospital = self.hospitals[name]
        hospital.stop()
        hospital.start()
        self.server.greet(name)


def run(n: int, operations: Sequence[Operation], rounds: int = 2, *, sparse: bool = False) -> list[Envelope]:
    """Run a schedule, let it settle, check every invariant; the messages that were sent.

    Args:
        n: hospitals, 3 to 6.
        operations: the schedule.
        rounds: round numbers that the coordinator uses up before it stops.
        sparse: over the sparse graph.

    Raises:
        AssertionError: an invariant is broken.
    """
    root = Path(tempfile.mkdtemp(prefix="schedule-"))
    simulation = Simulation(n, root, rounds, sparse)
    try:
        for operation in operations:
            simulation.step(operation)
        simulation.settle()
        simulation.record.check(simulation.hospitals, [e.message for e in simulation.sent])
        return simulation.sent
    finally:
        simulation.close()
        shutil.rmtree(root)
