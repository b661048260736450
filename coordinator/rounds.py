"""Runs sessions and rounds of secure aggregation over a link: the imperative side of `secagg.coordinator`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from coordinator.clock import Clock
from coordinator.disk_faults import DiskFault
from coordinator.final_set import collect_signatures
from coordinator.gather import Gatherer, Silence
from coordinator.leaving import leave_the_set
from coordinator.outcome import Outcome
from coordinator.progress import Progress
from coordinator.session_keys import agree_on_keys
from coordinator.spare_noise import SpareNoiseTaken
from coordinator.spool import Spool, SpoolError
from secagg import coordinator as protocol
from secagg.context import Context
from secagg.errors import OrderMismatch, ProtocolError, TooFewSurvivors
from secagg.fixed_point import from_ring
from secagg.masks import Ring
from secagg.pairs import RoundFrame
from secagg.params import SecAggParams
from secagg.roster import Roster
from secagg.secret import SecretBytes
from secagg.wire import codec
from secagg.wire.records import VectorChunk


class RoundAborted(Exception):
    """Inside the engine: the round ends here; `shown` says that the culprit is so by its own messages, not by others' word."""

    def __init__(self, reason: str, culprit: str = "", *, shown: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.culprit = culprit
        self.shown = shown


@dataclass(frozen=True, slots=True)
class Ordered:
    """A round whose order is made: the state in which its uploads come, and the message to all hospitals."""

    uploading: protocol.Uploading
    message: bytes


@dataclass(slots=True)
class _Working:
    """What a round has come to; every step replaces its part."""

    frame: RoundFrame
    silent: dict[str, Silence]
    uploaded: frozenset[str] = frozenset()


@dataclass(slots=True)
class RoundEngine:
    """One session's rounds, one after the other; blocking, used by one thread."""

    identity: SecretBytes
    params: SecAggParams
    roster: Roster
    gatherer: Gatherer
    clock: Clock
    report: Callable[[Progress], None]
    spool_directory: Path
    session: protocol.Session | None = None
    accusations: dict[str, int] = field(default_factory=dict)
    # Why the last round was aborted, where it was the coordinator's own disk.
    fault: DiskFault | None = None

    def open_session(
        self, fresh: Callable[[], Context], first_round: int, present: frozenset[str]
    ) -> dict[str, Silence]:
        """The session's keys, see `agree_on_keys`. Returns the hospitals that are not on the key list, with the reason.

        Raises:
            TooFewSurvivors: fewer than the threshold sent a good advert.
        """
        self.session, silent = agree_on_keys(
            self.gatherer, self.identity, self.params, self.roster, fresh, first_round, present
        )
        return silent

    def order(
        self,
        round_number: int,
        task: str,
        model: bytes | memoryview,
        settings: bytes,
        previous_receipt: bytes,
    ) -> Ordered:
        """A signed order, which nobody gets before `tell`."""
        assert self.session is not None
        made = protocol.start_round(self.session, round_number, task, model, settings, previous_receipt)
        return Ordered(*made)

    def tell(self, ordered: Ordered, present: frozenset[str]) -> None:
        """The order to all who are present; `run` follows."""
        for hospital in sorted(present):
            self.gatherer.ask(hospital, ordered.message)

    def run(
        self,
        ordered: Ordered,
        present: frozenset[str],
        absent: dict[str, Silence],
        spare: SpareNoiseTaken | None = None,
    ) -> Outcome:
        """One round over those `present`, who have the order, whatever happens: the outcome says what did; `absent` ones are named in it.

        `spare` takes out the noise that the opened sum does not need, where a study has such.
        """
        started = self.clock.monotonic_s()
        uploading, round_number = ordered.uploading, ordered.uploading.frame.round
        working = _Working(uploading.frame, dict(absent))
        removed: tuple[str, ...] = ()
        spool = Spool(self.spool_directory, self.params.vector_bytes)
        try:
            uploading = self._uploads(uploading, present, spool, working)
            agreeing = self._agreements(uploading, working)
            opening = self._openings(agreeing, working, spare)
            total = sum_spooled(opening, spool)
            if spare is not None:
                total, removed = self._without_spare_noise(total, opening, spare)
            receipt = protocol.make_receipt(opening, total)
        except RoundAborted as abort:
            return self._aborted(working, abort, started)
        except ProtocolError as error:
            return self._aborted(working, RoundAborted(str(error), error.culprit or "", shown=True), started)
        except DiskFault as fault:
            self.fault = fault
            return self._aborted(working, RoundAborted(fault.reason), started)
        finally:
            spool.clear()
        return Outcome(
            round_number,
            working.frame.order_hash,
            "done",
            opening.members,
            _as_receipted(opening, working.silent),
            _signed(total, self.params.modulus_bits),
            receipt,
            "",
            "",
            self.clock.monotonic_s() - started,
            noise_removed=removed,
        )

    def _uploads(
        self,
        state: protocol.Uploading,
        present: frozenset[str],
        spool: Spool,
        working: _Working,
    ) -> protocol.Uploading:
        pending: dict[str, dict[str, bytes]] = {hospital: {} for hospital in present}

        def take(hospital: str, kind: str, message: bytes) -> bool:
            nonlocal state
            if kind == "vector_chunk":
                _spool(spool, hospital, message, state.frame.round)
            elif kind in ("upload_header", "seals"):
                pending[hospital][kind] = message
            if len(pending[hospital]) < 2 or not spool.complete(hospital):
                return False
            parts = pending[hospital]
            try:
                state = protocol.add_upload(
                    state, hospital, parts["upload_header"], parts["seals"], spool.sha256(hospital)
                )
            except OrderMismatch as mismatch:
                raise RoundAborted(str(mismatch), hospital, shown=True) from None
            working.uploaded |= {hospital}
            self.report(
                Progress("uploaded", f"{hospital} uploaded", hospital=hospital, round=state.frame.round)
            )
            return True

        silent = self.gatherer.gather("upload", present, take, round_number=state.frame.round)
        working.silent |= silent
        self._needs(len(present) - len(silent), "upload", silent)
        return state

    def _agreements(self, uploading: protocol.Uploading, working: _Working) -> protocol.Agreeing:
        state, requests = protocol.propose(uploading)
        while True:
            waiting = frozenset(requests)
            for hospital in sorted(waiting):
                self.gatherer.ask(hospital, requests[hospital])

            def take(hospital: str, kind: str, message: bytes) -> bool:
                nonlocal state
                if kind == "agreement":
                    state = protocol.add_agreement(state, hospital, message)
                return hospital not in protocol.missing_agreements(state)

            silent = self.gatherer.gather("agree", waiting, take, round_number=working.frame.round)
            lost = leave_the_set(silent, waiting, self.accusations)
            working.silent |= lost
            if not lost:
                return state
            self._needs(len(waiting) - len(lost), "agree", lost)
            state, requests = protocol.shrink(state, frozenset(lost))

    def _openings(
        self, agreeing: protocol.Agreeing, working: _Working, spare: SpareNoiseTaken | None
    ) -> protocol.Opening:
        final: protocol.Agreeing | protocol.Settling = agreeing
        late: dict[str, bytes] = {}
        if self.params.neighborhood is not None:
            final, late, silent = collect_signatures(agreeing, self.gatherer)
            working.silent |= silent
            self._needs(len(final.agreeing.signatures), "sign", silent)
        state, requests = protocol.request_open(final)
        for hospital in sorted(requests):
            before = (late[hospital],) if hospital in late else ()
            self.gatherer.ask(hospital, *before, requests[hospital])

        def take(hospital: str, kind: str, message: bytes) -> bool:
            nonlocal state
            if kind == "spare_noise" and spare is not None:
                # Before the shares of the same hospital, so that nothing waits for it.
                spare.take(hospital, message, working.frame.round)
            if kind == "shares":
                state = protocol.add_shares(state, hospital, message)
            return kind == "shares"

        lost = self.gatherer.gather(
            "open",
            frozenset(requests),
            take,
            enough=lambda: protocol.can_open(state),
            round_number=working.frame.round,
        )
        working.silent |= lost
        if not protocol.can_open(state):
            self._needs(len(requests) - len(lost), "open", lost)
        return state

    def _without_spare_noise(
        self, total: Ring, opening: protocol.Opening, spare: SpareNoiseTaken
    ) -> tuple[Ring, tuple[str, ...]]:
        quiet, removed = spare.out_of(total, opening.members)
        for hospital, reason in sorted(spare.wrong.items()):
            text = f"{hospital} leaves its spare noise in the sum: {reason}"
            number = opening.agreeing.uploading.frame.round
            self.report(Progress("spare_noise", text, hospital=hospital, round=number))
        return quiet, removed

    def _needs(self, present: int, step: str, lost: dict[str, Silence]) -> None:
        """Aborts when too few go on; says first what the hospitals themselves gave as the reason."""
        if present >= self.params.threshold:
            return
        told = sorted({f"{s.hospital}: {s.reason}" for s in lost.values() if s.kind != "lost"})
        culprits = sorted({s.culprit for s in lost.values() if s.culprit and s.kind != "blamed"})
        too_few = TooFewSurvivors(self.params.threshold, present, step)
        raise RoundAborted("; ".join([str(too_few), *told]), culprits[0] if len(culprits) == 1 else "")

    def _aborted(self, working: _Working, abort: RoundAborted, started: float) -> Outcome:
        return Outcome(
            working.frame.round,
            working.frame.order_hash,
            "aborted",
            tuple(sorted(working.uploaded)),
            _sorted(working.silent),
            None,
            None,
            abort.reason,
            abort.culprit,
            self.clock.monotonic_s() - started,
            _at_fault(working.silent, abort),
        )


def sum_spooled(state: protocol.Opening, spool: Spool) -> Ring:
    """The checked sum; vectors are read block by block, from memory or from disk."""
    ring = state.agreeing.uploading.session.desk.params.ring

    def read(hospital: str, first: int, due: Ring) -> Ring:
        return due[: spool.read_into(hospital, first * ring.itemsize, due.data.cast("B")) // ring.itemsize]

    return protocol.unmask_blocks(state, read)


def _signed(total: Ring, bits: int) -> NDArray[np.int64]:
    """The sum's representatives nearest zero; those of 64 bits stay where they are."""
    return total.view("<i8") if bits == 64 else from_ring(total, bits)


def _spool(spool: Spool, hospital: str, message: bytes, round_number: int) -> None:
    chunk = codec.unpack_views("vector_chunk", VectorChunk, message)
    if chunk.round != round_number:
        return
    try:
        spool.add(hospital, chunk.offset, chunk.data)
    except SpoolError as error:
        raise ProtocolError(str(error), hospital) from None


def _at_fault(silent: dict[str, Silence], abort: RoundAborted) -> dict[str, str]:
    """Whose own messages were wrong in an aborted round: the next one goes on without them."""
    found = {hospital: s.reason for hospital, s in silent.items() if s.kind == "refused"}
    if abort.shown and abort.culprit:
        found[abort.culprit] = abort.reason
    return found


def _as_receipted(opening: protocol.Opening, silent: dict[str, Silence]) -> tuple[Silence, ...]:
    """Who was missing and at which step, as the receipt signs it; the reasons are the coordinator's own."""
    outside = Silence("", "", "lost", "it is not in this session")
    return tuple(
        replace(silent.get(hospital, outside), hospital=hospital, step=step)
        for hospital, step in sorted(protocol.missing_hospitals(opening).items())
    )


def _sorted(silent: dict[str, Silence]) -> tuple[Silence, ...]:
    return tuple(silent[hospital] for hospital in sorted(silent))
