"""A hospital of the simulation: the real node on real files, with a fuse that kills it at any write.

Inputs are chosen so that the sum shows who was counted: declared sizes are distinct powers of two times one number, and
each hospital moves the parameters by steps of its own. Nothing else of the node is replaced.
"""

from __future__ import annotations

import functools
import sqlite3
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import current_thread, main_thread
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deploy.simulate import simulation_policy
from hospital_node.admission import Admission
from hospital_node.clock import Clock
from hospital_node.entropy import DiscreteGaussian, Entropy
from hospital_node.flower_link import Tagged
from hospital_node.journal import FILES_SUFFIX, Journal
from hospital_node.ledger_store import LedgerStore
from hospital_node.local_study import LocalStudy
from hospital_node.node import Node
from hospital_node.node_words import NodeEvent
from hospital_node.record_log import RecordLog
from hospital_node.upload_files import UploadFiles
from privacy.noise.mechanisms import Sampler
from privacy.studies.agreement import Agreement, build
from privacy.studies.study import Study
from tests.study_files import study, table, write_csv
from tests.unit.secagg.rounds import entropy, key_of, make_roster, names

ROUNDS = 8
SIZE = 400
START = datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC)
# Everything that answers an order lies in files here, as long vectors do.
VECTOR_FILE_BYTES = 200
# The simulation kills processes, not machines.
NO_FSYNC = "PRAGMA synchronous = OFF"


class Killed(Exception):
    """The hospital's process ended here, between two statements."""


@dataclass(slots=True)
class Fuse:
    """Counts the statements that write down to the one before which the process dies."""

    left: int | None = None
    dead: bool = False

    def burn(self) -> None:
        """Pass one statement."""
        if self.left is None:
            return
        self.left -= 1
        if self.left <= 0:
            self.left, self.dead = None, True
            raise Killed


class FusedConnection:
    """A database in which the process may die before each statement that writes, and after each transaction."""

    def __init__(self, database: sqlite3.Connection, fuse: Fuse) -> None:
        database.execute(NO_FSYNC)
        self._database = database
        self._fuse = fuse

    def execute(self, statement: str, *values: Any) -> sqlite3.Cursor:
        """Run one statement; the dead run none."""
        if self._fuse.dead:
            return self._database.cursor()
        if statement.startswith("SELECT"):
            return self._database.execute(statement, *values)
        if statement.startswith("PRAGMA synchronous"):
            return self._database.cursor()
        self._fuse.burn()
        done = self._database.execute(statement, *values)
        if not self._database.in_transaction:
            self._fuse.burn()
        return done

    def executemany(self, statement: str, values: Any) -> sqlite3.Cursor:
        """Run one statement for each of several rows."""
        self._fuse.burn()
        return self._database.executemany(statement, values)

    def close(self) -> None:
        """What was not committed is gone, as after a kill."""
        self._database.close()


class FusedFiles(UploadFiles):
    """Files in the middle of which the process may die, and before each is deleted."""

    def __init__(self, folder: Path, fuse: Fuse) -> None:
        super().__init__(folder)
        self._fuse = fuse

    def keep(self, replies: Mapping[str, bytes]) -> None:
        """Half of each, then all of it."""
        for name, data in replies.items():
            if not self._fuse.dead:
                (self._folder / name).write_bytes(data[: len(data) // 2])
                self._fuse.burn()
                (self._folder / name).write_bytes(data)
                self._fuse.burn()

    def drop(self, names: Collection[str]) -> None:
        """One after the other."""
        for name in names:
            if not self._fuse.dead:
                self._fuse.burn()
                super().drop([name])


def fused_journal(path: Path, fuse: Fuse) -> Journal:
    """A journal whose process may die at any write, its anchor's included."""
    journal = Journal(path, file_bytes=VECTOR_FILE_BYTES)
    for part in (journal, journal._anchor):
        part._db = FusedConnection(part._db, fuse)  # type: ignore[assignment]  # a connection that may end
    journal._files = FusedFiles(path.with_suffix(FILES_SUFFIX), fuse)
    return journal


def fused_ledger(path: Path, me: str, clock: SimClock, fuse: Fuse) -> LedgerStore:
    """A ledger whose process may die at any write."""
    ledger = LedgerStore(path, key_of(me), clock)
    ledger._database = FusedConnection(ledger._database, fuse)  # type: ignore[assignment]  # likewise
    return ledger


def fuse_log(log: RecordLog, fuse: Fuse) -> None:
    """A log of sums whose process may die before and after each record that the round waits for.

    What the store's own thread writes is not counted: of two threads the order differs from run to run.
    """
    real = log.append

    def append(name: str, parts: Sequence[bytes | memoryview]) -> None:
        if current_thread() is not main_thread():
            real(name, parts)
        elif not fuse.dead:
            fuse.burn()
            real(name, parts)
            fuse.burn()

    log.append = append  # type: ignore[method-assign]  # a log that may end


@dataclass(slots=True)
class SimClock:
    """One clock for everybody."""

    seconds: float = 0.0

    def now(self) -> datetime:
        return START + timedelta(seconds=self.seconds)

    def monotonic_s(self) -> float:
        return self.seconds


@dataclass(slots=True)
class CountedEntropy:
    """Bytes that never repeat within a run, not after a restart either, and are the same in each run."""

    name: str
    drawn: int = 0

    def random_bytes(self, count: int) -> bytes:
        self.drawn += 1
        block = b"".join(entropy(self.name, self.drawn, i) for i in range(-(-count // 32)))
        return block[:count]


@dataclass(frozen=True, slots=True)
class MarkedTraining:
    """Moves parameter i by (place + 1) thousandths; counts place + 1 patients per interval."""

    place: int

    def run(self, task: str, theta: NDArray[np.float64], training_round: int) -> Tagged:
        if task == "life_table":
            return Tagged(np.full(2 * INTERVALS, self.place + 1.0), task)
        moved = theta + (self.place + 1) * 1e-3 * (np.arange(theta.size) % 7 + training_round)
        return Tagged(moved, task)


INTERVALS = 10
SPARSE = '\n\n[secure_aggregation]\ngraph = "sparse"'


@functools.cache
def sim_study(n: int, sparse: bool = False) -> Study:
    """A study of n hospitals with full batches, whose accounting takes milliseconds; over the sparse graph from six on."""
    hospitals = names(n)
    sizes = ", ".join(f"{name} = {SIZE << place}" for place, name in enumerate(hospitals))
    quoted = ", ".join(f'"{name}"' for name in hospitals)
    return study(
        ("n_public = {a = 400, b = 500, c = 600}", f"n_public = {{{sizes}}}"),
        ('hospitals = ["a", "b", "c"]', f"hospitals = [{quoted}]" + (SPARSE if sparse else "")),
        (
            'family = "piecewise_exponential"',
            f'family = "piecewise_exponential"\nrounds = {ROUNDS}\nlocal_steps = 1\nsample_rate = 1.0',
        ),
    )


@functools.cache
def sim_agreement(n: int, sparse: bool = False) -> Agreement:
    """The agreement of `sim_study`."""
    return build(sim_study(n, sparse))


class PreparedAdmission(Admission):
    """Reads the made-up table once a process: nothing here looks at patients."""

    __slots__ = ()
    local: dict[str, LocalStudy] = {}

    def _prepare(
        self, agreement: Agreement, ledger: LedgerStore, clock: Clock, sampler: Sampler, entropy: Entropy
    ) -> LocalStudy:
        key = f"{self.me} {agreement.hash}"
        if key not in self.local:
            write_csv(table(40, 1), self.data.parent, self.data.name)
            # Entropy of its own: only the first run in a process prepares, and the node's draws must be the same in each.
            own = CountedEntropy(f"prepared {key}")
            self.local[key] = Admission._prepare(self, agreement, ledger, clock, sampler, own)
        return self.local[key]


@dataclass(slots=True)
class SimHospital:
    """One hospital: its files, its process if it runs, and what its operator saw."""

    name: str
    n: int
    home: Path
    clock: SimClock
    entropy: CountedEntropy
    fuse: Fuse = field(default_factory=Fuse)
    node: Node | None = None
    events: list[NodeEvent] = field(default_factory=list)
    sparse: bool = False

    def start(self) -> None:
        """A new process on the hospital's files."""
        self.fuse.left, self.fuse.dead = None, False
        self.home.mkdir(parents=True, exist_ok=True)
        chosen = sim_study(self.n, self.sparse)
        policy = simulation_policy(chosen).model_copy(
            update={"record_releases": True, "aborted_rounds_maximum": ROUNDS}
        )
        roster = make_roster(names(self.n))
        admission = PreparedAdmission(
            self.name, roster, policy, chosen, self.home / "patients.csv", self.home / "reports"
        )
        self.node = Node(
            admission,
            key_of(self.name),
            fused_journal(self.home / "journal.db", self.fuse),
            fused_ledger(self.home / "ledger.db", self.name, self.clock, self.fuse),
            self.entropy,
            DiscreteGaussian(),
            self.clock,
            self.events.append,
            lambda outgoing: True,
        )

    def stop(self) -> None:
        """The process is gone; what it had not committed is too."""
        if self.node is not None:
            self.node.journal.close()
            self.node.ledger.close()
            self.node = None

    def handle(self, message: bytes) -> tuple[bytes, ...]:
        """The replies of the process, all or those before its death.

        Raises:
            Killed: the fuse burned down; the process is gone.
        """
        assert self.node is not None
        replies: list[bytes] = []
        try:
            for reply in self.node.on_message(message):
                replies.append(reply)
        except Killed:
            self.stop()
            raise
        work = self.node.work
        if work is not None and not isinstance(work.training, MarkedTraining):
            place = names(self.n).index(self.name)
            self.node.work = replace(work, training=MarkedTraining(place))  # type: ignore[arg-type]  # a training whose numbers tell who is in a sum
            fuse_log(work.sums._store._log, self.fuse)
        return tuple(replies)

    def vector(self, round_number: int) -> NDArray[np.int64]:
        """The integers of a round before they were masked, as the node wrote them down."""
        name = f"{sim_study(self.n, self.sparse).id}-{round_number}.bin"
        return np.frombuffer((self.home / "reports" / "releases" / name).read_bytes(), dtype="<i8")
