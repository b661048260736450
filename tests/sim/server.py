"""The coordinator of the simulation: the real machine in a small shell, one message at a time, deadlines by hand."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from privacy.studies import exchange, next_model
from privacy.studies.agreement import Agreement
from secagg import coordinator as co
from secagg.context import Context
from secagg.errors import SecAggError
from secagg.fixed_point import from_ring
from secagg.masks import Ring
from secagg.params import PROTOCOL_VERSION, SecAggParams
from secagg.wire import codec
from secagg.wire.records import SessionStart, StudyOffer, VectorChunk
from tests.sim.hospitals import sim_agreement
from tests.unit.secagg.rounds import entropy, key_of, make_roster, names

Phase = co.Collecting | co.Revealing | co.Session | co.Uploading | co.Agreeing | co.Settling | co.Opening


@dataclass(frozen=True, slots=True)
class Finished:
    """A round that came to a sum."""

    round: int
    members: tuple[str, ...]
    total: Ring
    receipt: bytes
    model: bytes


@dataclass(slots=True)
class Arriving:
    """What came of one hospital's upload."""

    header: bytes = b""
    seals: bytes = b""
    vector: bytes = b""


@dataclass(slots=True)
class Server:
    """An honest coordinator; `tests.sim.lies` makes it dishonest from outside."""

    n: int
    rounds: int
    send: Callable[[str, bytes], None]
    sparse: bool = False
    phase: Phase | None = None
    session: co.Session | None = None
    sessions: int = 0
    next_round: int = 1
    last_model: bytes = b""
    model: bytes = b""
    finished: list[Finished] = field(default_factory=list)
    uploads: dict[str, Arriving] = field(default_factory=dict)
    vectors: dict[str, bytes] = field(default_factory=dict)
    asked: dict[str, bytes] = field(default_factory=dict)
    # Key list and graph of a session over the sparse graph.
    keys: tuple[bytes, ...] = ()

    @property
    def agreement(self) -> Agreement:
        return sim_agreement(self.n, self.sparse)

    @property
    def params(self) -> SecAggParams:
        return self.agreement.secagg

    def open_session(self) -> None:
        """Offer the study and open a new session; also after a crash, which loses the one before."""
        roster = make_roster(names(self.n))
        self.sessions += 1
        self.asked, self.keys = {}, ()
        context = Context(
            PROTOCOL_VERSION,
            bytes.fromhex(self.agreement.hash),
            roster.hash,
            entropy("session", self.sessions)[:16],
        )
        self.phase = co.collect_adverts(
            key_of("coordinator"), self.params, roster, context, first_round=self.next_round
        )
        start = SessionStart(context.study_hash, context.roster_hash, context.session_id)
        for hospital in roster.ids:
            self.greet(hospital)
            self.send(hospital, codec.pack("session_start", start))

    def greet(self, hospital: str) -> None:
        """What a hospital is told first on a fresh link: the study, and what it was asked last."""
        offer = StudyOffer(self.agreement.to_bytes(), make_roster(names(self.n)).canonical)
        self.send(hospital, codec.pack("study_offer", offer))
        for message in (*self.keys, self.asked.get(hospital, b"")):
            if message:
                self.send(hospital, message)

    def receive(self, hospital: str, message: bytes) -> None:
        """Take one message; what does not fit or is refused changes nothing."""
        try:
            kind, _ = codec.unwrap(message)
            match kind, self.phase:
                case "advert", co.Collecting():
                    self.phase = co.add_advert(self.phase, hospital, message)
                    if len(self.phase.adverts) == self.n:
                        self._close_adverts(self.phase)
                case "graph_contribution", co.Revealing():
                    self.phase = co.add_contribution(self.phase, hospital, message)
                    self._draw_if_complete()
                case (("upload_header" | "seals" | "vector_chunk"), co.Uploading()):
                    self._upload(self.phase, hospital, kind, message)
                case "agreement", co.Agreeing():
                    self.phase = co.add_agreement(self.phase, hospital, message)
                    self._open_if_complete()
                case "set_signature", co.Settling():
                    self.phase = co.add_signature(self.phase, hospital, message)
                    if not co.missing_signatures(self.phase):
                        self._open()
                case "shares", co.Opening():
                    self.phase = co.add_shares(self.phase, hospital, message)
                    if self.phase.opened_by == set(self.phase.members):
                        self._finish(self.phase)
        except SecAggError:
            return

    def deadline(self) -> None:
        """Go on with whoever is there, or give the round up."""
        try:
            match self.phase:
                case None:
                    self.open_session()
                case co.Collecting():
                    self._close_adverts(self.phase)
                case co.Session():
                    self._start_round(self.phase)
                case co.Uploading():
                    self.phase, requests = co.propose(self.phase)
                    self._send_all(requests)
                case co.Agreeing():
                    self.phase, requests = co.shrink(self.phase, co.missing_agreements(self.phase))
                    self._send_all(requests)
                case co.Revealing():
                    self.open_session()
                case co.Settling():
                    self._open()
                case co.Opening():
                    self._finish(self.phase)
        except SecAggError:
            if self.session is None or isinstance(self.phase, co.Collecting):
                self.open_session()
            else:
                self._start_round(self.session)

    def crash(self) -> None:
        """Everything in memory is gone; rounds are never used again."""
        self.phase, self.session, self.asked, self.keys = None, None, {}, ()

    def _send_all(self, requests: dict[str, bytes]) -> None:
        self.asked.update(requests)
        for hospital, request in requests.items():
            self.send(hospital, request)

    def _close_adverts(self, collecting: co.Collecting) -> None:
        if self.sparse:
            self.phase, key_list = co.fix_commitments(collecting)
            self._send_all(dict.fromkeys(collecting.adverts, key_list))
            self.keys = (key_list,)
            return
        self.session, key_list = co.close_adverts(collecting)
        self._send_all(dict.fromkeys(self.session.participants.ids, key_list))
        self._start_round(self.session)

    def _draw_if_complete(self) -> None:
        assert isinstance(self.phase, co.Revealing)
        if not co.missing_contributions(self.phase):
            self.session, seed = co.close_contributions(self.phase)
            self.keys = (*self.keys, seed)
            self._send_all(dict.fromkeys(self.session.participants.ids, seed))
            self._start_round(self.session)

    def _start_round(self, session: co.Session) -> None:
        self.phase, self.session = session, session
        if self.next_round > self.rounds:
            return
        number, self.next_round = self.next_round, self.next_round + 1
        self.last_model, self.model = self.model, self._model_of(number)
        previous = self.finished[-1].receipt if self.finished else b""
        self.phase, order = co.start_round(
            session,
            number,
            exchange.task_of(self.agreement, number),
            self.model,
            exchange.order_settings(self.agreement, number),
            previous,
        )
        self.uploads, self.vectors = {}, {}
        self._send_all(dict.fromkeys(session.participants.ids, order))

    def _model_of(self, number: int) -> bytes:
        if exchange.task_of(self.agreement, number) == "life_table":
            return b""
        expected = None
        if self.finished:
            last = self.finished[-1]
            expected = next_model.expected_model(
                self.agreement,
                exchange.task_of(self.agreement, number),
                last.round,
                last.model,
                from_ring(last.total, self.agreement.modulus_bits),
                last.members,
            )
        start = np.zeros(self.agreement.parameters) if expected is None else expected
        return exchange.model_bytes(start)

    def _upload(self, uploading: co.Uploading, hospital: str, kind: str, message: bytes) -> None:
        arriving = self.uploads.setdefault(hospital, Arriving())
        if kind == "upload_header":
            arriving.header = message
        elif kind == "seals":
            arriving.seals = message
        else:
            chunk = codec.unpack("vector_chunk", VectorChunk, message)
            if chunk.round == uploading.frame.round and chunk.offset == len(arriving.vector):
                arriving.vector += chunk.data
        if not (arriving.header and arriving.seals and len(arriving.vector) == self.params.vector_bytes):
            return
        digest = hashlib.sha256(arriving.vector).digest()
        try:
            self.phase = co.add_upload(uploading, hospital, arriving.header, arriving.seals, digest)
        except SecAggError:
            del self.uploads[hospital]
            raise
        self.vectors[hospital] = arriving.vector
        if len(self.phase.uploads) == len(uploading.frame.participants.ids):
            self.phase, requests = co.propose(self.phase)
            self._send_all(requests)

    def _open_if_complete(self) -> None:
        assert isinstance(self.phase, co.Agreeing)
        if not co.missing_agreements(self.phase):
            if self.sparse:
                self.phase, requests = co.request_signatures(self.phase)
                self._send_all(requests)
            else:
                self._open()

    def _open(self) -> None:
        assert isinstance(self.phase, co.Agreeing | co.Settling)
        self.phase, requests = co.request_open(self.phase)
        self._send_all(requests)

    def _finish(self, opening: co.Opening) -> None:
        vectors = {h: np.frombuffer(self.vectors[h], dtype=self.params.ring) for h in opening.members}
        total = co.unmask(opening, vectors)
        number = opening.agreeing.uploading.frame.round
        receipt = co.make_receipt(opening, total)
        self.finished.append(Finished(number, opening.members, total, receipt, self.model))
        assert self.session is not None
        self._send_all(dict.fromkeys(self.session.participants.ids, receipt))
        self._start_round(self.session)
