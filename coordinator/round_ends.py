"""The end of a round: on the disk first, then announced, and only then may the next order leave.

The disk is written by a thread of its own while the strategy works out the next model and the next order is made and signed: hospitals wait for
both. The row that says that the next round of the same task may be ordered is written with it, as every wait for the disk is one in which nobody works.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from coordinator.clock import Clock
from coordinator.disk_faults import DiskFault
from coordinator.gather import Gatherer
from coordinator.outcome import Outcome
from coordinator.progress import Progress
from coordinator.records import interrupted, outcome_of, round_record
from coordinator.state import IN_THE_RECEIPT, CoordinatorState, StoredRound
from privacy.studies.agreement import Agreement
from privacy.studies.exchange import task_of, total_rounds
from secagg.wire import codec
from secagg.wire.records import Abort


@dataclass(slots=True)
class RoundEnds:
    """Ends one round after the other; used by one thread.

    Between `write` and `settle` the state is the writing thread's.

    Attributes:
        _written: the round that the thread stores, until its receipt is on its way.
        _may_begin: the round that is on the disk as begun and whose order did not leave; 0 for none.
    """

    agreement: Agreement
    state: CoordinatorState
    gatherer: Gatherer
    clock: Clock
    report: Callable[[Progress], None]
    _writer: ThreadPoolExecutor = field(init=False, repr=False)
    _written: tuple[Outcome, Future[None]] | None = field(default=None, init=False, repr=False)
    _unsaid: list[Outcome] = field(default_factory=list, init=False, repr=False)
    _may_begin: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="rounds")

    @property
    def study_hash(self) -> bytes:
        return bytes.fromhex(self.agreement.hash)

    def resume(self) -> set[int]:
        """The numbers of the rounds that an earlier process of this coordinator left.

        A round that was ordered and not finished is over: hospitals start no round twice. All are read here, so that a damaged one is found
        before anybody is asked, and again when their turn comes (`replayed`): together they may be longer than the memory.
        """
        found = {outcome_of(stored).round for stored in self.state.rounds(self.study_hash)}
        for number in self.state.begun(self.study_hash):
            if number not in found:
                self._store(interrupted(number))
                found.add(number)
        return found

    def replayed(self, number: int) -> Outcome:
        """One of those rounds as it was."""
        return outcome_of(self.state.round(self.study_hash, number))

    def write(self, outcome: Outcome) -> None:
        """Begin to store a round; `settle` announces it. An aborted one is over when this returns: the next round depends on who is shown to be at fault."""
        if outcome.status != "done":
            try:
                self._store(outcome)
            finally:
                # Over all the same: to the next process it is one that was ordered and never finished.
                self._send(outcome)
                self.say()
            return
        stored, begins_next = self._stored(outcome), self._begins_next(outcome.round)
        future = self._writer.submit(self.state.add_round, self.study_hash, stored, begins_next=begins_next)
        # The sum is not needed for what is announced, and a long one would be kept while the next order is made.
        self._written = (replace(outcome, total=None), future)

    def settle(self) -> None:
        """`announce`, and `say` so."""
        self.announce()
        self.say()

    def announce(self) -> None:
        """Wait until the round that is being stored is on the disk, then send its receipt; nothing happens without one.

        Raises:
            DiskFault, sqlite3.Error: it could not be stored; it is not announced, and with a fault of the disk hospitals are told that it is over.
        """
        if self._written is None:
            return
        outcome, future = self._written
        # Who is interrupted while it waits leaves it to `close`.
        problem = future.exception()
        self._written = None
        if isinstance(problem, DiskFault):
            self._send(replace(outcome, status="aborted", receipt=None, reason=problem.reason))
            self.say()
        if problem is not None:
            raise problem
        if self._begins_next(outcome.round):
            self._may_begin = outcome.round + 1
        self._send(outcome)

    def say(self) -> None:
        """Report the rounds whose receipt was sent since."""
        while self._unsaid:
            self._say(self._unsaid.pop(0))

    def begin(self, number: int) -> None:
        """When it returns, the order of this round may leave: it is on the disk that it may have."""
        if number != self._may_begin:
            self.state.begin_round(self.study_hash, number)
        self._may_begin = 0

    def wait_with(self, number: int) -> None:
        """The order of this round does not leave yet: a coordinator that is started again meanwhile has not lost the round."""
        self.say()
        if number == self._may_begin:
            self._take_back()

    def close(self) -> None:
        """However the run ended: a round that the thread stored is announced, one whose order did not leave is not lost, and what the thread could not do is said.

        So Ctrl-C and SIGTERM between two rounds cost none. A fault of the disk is raised by nothing here in place of what ended the run.
        """
        self._writer.shutdown()
        try:
            self.announce()
            self._take_back()
        except DiskFault as fault:
            self.report(Progress("not_stored", str(fault)))
        self.say()

    def _begins_next(self, number: int) -> bool:
        """Whether the row that begins the next round is written with this one's end.

        A coordinator that is killed while the next model is worked out then loses that round, so it must be one of several of the same task; an answer
        that is asked once waits for the disk once more.
        """
        task = task_of(self.agreement, number)
        return number < total_rounds(self.agreement) and task == task_of(self.agreement, number + 1)

    def _take_back(self) -> None:
        if self._may_begin:
            self.state.take_back(self.study_hash, self._may_begin)
            self._may_begin = 0

    def _store(self, outcome: Outcome) -> None:
        """A round on the disk that nobody is told of here."""
        self.state.add_culprits(self.study_hash, outcome.round, outcome.at_fault)
        self.state.add_round(self.study_hash, self._stored(outcome))

    def _stored(self, outcome: Outcome) -> StoredRound:
        task = task_of(self.agreement, outcome.round)
        return StoredRound(
            outcome.round,
            round_record(outcome, task, self.agreement.threshold, self.clock.now()),
            outcome.receipt,
            self._total(outcome),
            outcome.culprit,
        )

    def _total(self, outcome: Outcome) -> bytes | None:
        if outcome.total is not None and self.agreement.modulus_bits == 64:
            return IN_THE_RECEIPT
        return None if outcome.total is None else outcome.total.astype("<i8").tobytes()

    def _send(self, outcome: Outcome) -> None:
        """The receipt of a finished round, or the abort, to everybody who is connected."""
        if outcome.receipt is not None:
            message = outcome.receipt
        else:
            message = codec.pack("abort", Abort(outcome.round, outcome.reason[:500], outcome.culprit))
        for hospital in sorted(self.gatherer.link.connected()):
            self.gatherer.tell(hospital, message)
        self._unsaid.append(outcome)

    def _say(self, outcome: Outcome) -> None:
        task, last = task_of(self.agreement, outcome.round), total_rounds(self.agreement)
        who = ", ".join(outcome.answered)
        missing = "".join(f"; missing: {s.hospital} at {s.step} ({s.reason})" for s in outcome.missing)
        if outcome.status == "done":
            text = f"round {outcome.round} of {last} ({task}): sum over {who}{missing}"
        else:
            text = f"round {outcome.round} of {last} ({task}) was aborted: {outcome.reason}{missing}"
        self.report(
            Progress(
                f"round_{outcome.status}", text, round=outcome.round, rounds=last, seconds=outcome.seconds
            )
        )
