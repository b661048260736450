"""The hospital's side of a study: one message in, the replies out, and on disk before they leave.

The same object serves the gRPC link, the in-process simulation and the tests. It decides nothing twice: a request that was answered gets the
same bytes again, and whatever the coordinator says, the agreement is the one that this hospital derived for itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from hospital_node.admission import Admission, Admitted, StudyRefused
from hospital_node.clock import Clock
from hospital_node.consent_gate import forget
from hospital_node.consent_log import ConsentLog
from hospital_node.entropy import Entropy
from hospital_node.flower_link import FlowerTraining
from hospital_node.journal import Journal
from hospital_node.ledger_store import LedgerStore
from hospital_node.round_work import RoundRefused, RoundWork
from hospital_node.sending_edge import SendingEdge
from hospital_node.sums import Sums
from privacy.exchange import ExchangeError
from privacy.ledger import LedgerBroken, highest_round
from privacy.mechanisms import Sampler
from privacy.policy import PolicyRefusal
from privacy.release_tags import UntaggedRelease
from privacy.stage_release import VoidRelease
from secagg import hospital as protocol
from secagg.context import Context
from secagg.dealing import ENTROPY_BYTES
from secagg.errors import BadShare, ProtocolError, SecAggError, WireError
from secagg.pairs import read_key_list
from secagg.params import PROTOCOL_VERSION
from secagg.receipt import NO_RECEIPT, ReceiptRef
from secagg.secret import SecretBytes
from secagg.state_codec import decode_state, encode_state
from secagg.states import Advertised, Agreed, HospitalState, Joining, Ready, Uploaded
from secagg.wire import codec
from secagg.wire.records import (
    Abort,
    AgreedSet,
    AgreeRequest,
    Hello,
    LedgerExport,
    LedgerExportRequest,
    OpenRequest,
    RoundOrder,
    SessionStart,
    Signed,
    StudyAnswer,
    StudyEnd,
    StudyOffer,
)

RESTORED = (
    "the journal was an older copy and forgot what this hospital agreed to; its sessions are dropped and the next session starts anew: "
    "keep the journal on a volume that is never restored"
)


# What the coordinator hears when a number stays because nothing pays for it; the operator is told which.
STAYS = "the hospital does not send what no event of its ledger pays for; its operator knows more"
# Every refusal of a study looks alike on the wire; the hospital's own exit code says why.
REFUSED = 1


@dataclass(frozen=True, slots=True)
class Outgoing:
    """Something that is about to leave the hospital: shown to the operator first, who may say no."""

    step: str
    round: int
    text: str


@dataclass(frozen=True, slots=True)
class NodeEvent:
    """What the node tells its operator; never a patient's value, never a secret."""

    event: str
    text: str
    round: int = 0


@dataclass(frozen=True, slots=True)
class Ended:
    """How the study ended for this hospital, and the exit code that says so."""

    status: str
    reason: str
    exit_code: int


class Declined(Exception):
    """The operator did not let a message leave."""


@dataclass(slots=True)
class Node:
    """One hospital in one study at a time."""

    admission: Admission
    identity: SecretBytes
    journal: Journal
    ledger: LedgerStore
    entropy: Entropy
    sampler: Sampler
    clock: Clock
    report: Callable[[NodeEvent], None]
    approve: Callable[[Outgoing], bool]
    admitted: Admitted | None = None
    state: HospitalState | None = None
    ended: Ended | None = None
    _work: RoundWork | None = field(default=None, repr=False)

    @property
    def me(self) -> str:
        return self.admission.me

    def on_connect(self) -> Iterator[bytes]:
        """The first message on a fresh link: who speaks and where its state stands."""
        study_hash = b"" if self.admitted is None else bytes.fromhex(self.admitted.agreement.hash)
        yield self._let_out(codec.pack("hello", Hello(PROTOCOL_VERSION, self.me, study_hash, b"", 0)))

    def on_message(self, message: bytes) -> Iterator[bytes]:
        """The replies to one message of the coordinator, each past the edge.

        Whatever is wrong with the message becomes an abort with the reason; the node itself goes on.
        """
        try:
            for reply in self._replies(message):
                yield self._let_out(reply)
        except UntaggedRelease as error:
            round_number = _asked_round(message)
            self.report(NodeEvent("refused", f"refused to send: {error}", round_number))
            yield self._let_out(codec.pack("abort", Abort(round_number, STAYS, "")))

    def _let_out(self, message: bytes) -> bytes:
        """The only way out of this hospital."""
        agreement = None if self.admitted is None else self.admitted.agreement
        return SendingEdge(self.me, self.ledger).let_out(agreement, message)

    def _replies(self, message: bytes) -> Iterator[bytes]:
        try:
            kind, payload = codec.unwrap(message)
            stored = self._answered_before(message)
            if stored is not None:
                yield from stored
                return
            match kind:
                case "study_offer":
                    yield from self._offer(payload)
                case "session_start":
                    yield from self._session(payload, message)
                case "key_list":
                    self._keys(message)
                case "round_order":
                    yield from self._order(message)
                case "agree_request":
                    yield from self._agree(message)
                case "open_request":
                    yield from self._open(message)
                case "receipt":
                    self._receipt(message)
                case "abort":
                    self._abort(payload)
                case "ledger_export_request":
                    yield from self._export(codec.decode(LedgerExportRequest, payload))
                case "study_end":
                    self._end(payload)
                case _:
                    raise WireError(kind, "a hospital does not take this kind of message")
        except (SecAggError, ExchangeError, RoundRefused, PolicyRefusal, LedgerBroken, Declined) as error:
            round_number = _asked_round(message)
            self.report(NodeEvent("refused", f"refused {_kind_of(message)}: {error}", round_number))
            yield codec.pack("abort", Abort(round_number, _wire_reason(error)[:500], _blamed(error)))

    def _answered_before(self, message: bytes) -> tuple[bytes, ...] | None:
        if self.admitted is None:
            return None
        return self.journal.replies(bytes.fromhex(self.admitted.agreement.hash), message)

    def _commit(self, state: HospitalState, request: bytes, replies: tuple[bytes, ...]) -> None:
        assert self.admitted is not None
        self.journal.commit(
            bytes.fromhex(self.admitted.agreement.hash),
            _journal_round(state),
            encode_state(state),
            request,
            replies,
        )
        self.state = state

    def _require(self) -> Admitted:
        if self.admitted is None:
            raise ProtocolError("this hospital has not accepted a study yet")
        return self.admitted

    def _require_work(self) -> RoundWork:
        if self._work is None:
            raise ProtocolError("this hospital has not accepted a study yet")
        return self._work

    def _offer(self, payload: bytes) -> Iterator[bytes]:
        offer = codec.decode(StudyOffer, payload)
        if self.admitted is not None and _sha256(offer.agreement).hex() != self.admitted.agreement.hash:
            raise ProtocolError(
                "this hospital accepted another agreement before, and takes part in one at a time"
            )
        try:
            agreement = self.admission.agreement_of(offer)
            study_hash = bytes.fromhex(agreement.hash)
            if self.admitted is None or self.admitted.agreement.hash != agreement.hash:
                self.admitted = self.admission.admit(
                    agreement, self.ledger, self.clock, self.sampler, self.entropy
                )
                self._work = self._work_of(self.admitted)
                stored = self.journal.state(study_hash)
                self.state = None if stored is None else decode_state(stored, self.identity)
                if self.journal.restored:
                    self.report(NodeEvent("journal_restored", RESTORED))
        except StudyRefused as refusal:
            self.report(NodeEvent("study_refused", refusal.reason))
            self.ended = Ended("refused", refusal.reason, refusal.exit_code)
            study_hash = _sha256(offer.agreement)
            yield codec.pack("study_answer", StudyAnswer(study_hash, False, refusal.told[:500], REFUSED))
            return
        self.report(
            NodeEvent("study_accepted", f"takes part in study {agreement.study.id}: {_terms(self.admitted)}")
        )
        yield codec.pack("study_answer", StudyAnswer(study_hash, True, "", 0))

    def _session(self, payload: bytes, message: bytes) -> Iterator[bytes]:
        admitted = self._require()
        start = codec.decode(SessionStart, payload)
        agreement, roster = admitted.agreement, self.admission.roster
        if start.study_hash.hex() != agreement.hash or start.roster_hash != roster.hash:
            raise ProtocolError("the session is for another study or roster than the accepted one")
        if start.session_id == _session_id(self.state):
            raise ProtocolError("this session was opened before; a new one has a new id")
        context = Context(PROTOCOL_VERSION, start.study_hash, roster.hash, start.session_id)
        highest, last = _history(self.state)
        if self.state is None:
            highest = self.journal.floor(start.study_hash)
        # The ledger remembers rounds that a lost journal does not.
        highest = max(highest, highest_round(self.ledger.entries(), agreement.hash))
        state, advert = protocol.advertise(
            self.identity,
            agreement.secagg,
            roster,
            context,
            self.me,
            self.entropy.random_bytes(ENTROPY_BYTES),
            highest_round=highest,
            last_receipt=last,
        )
        self._commit(state, message, (advert,))
        yield advert

    def _keys(self, message: bytes) -> None:
        if self.state is None:
            raise ProtocolError("a key list came that no advert of this hospital asked for")
        if not isinstance(self.state, Advertised):
            if not isinstance(self.state, Joining) and _is_known(message, protocol.close_round(self.state)):
                return
            raise ProtocolError("a key list came that no advert of this hospital asked for")
        ready = protocol.accept_key_list(self.state, message)
        self._commit(ready, message, ())
        self.report(NodeEvent("session", f"keys agreed with {len(ready.participants.keys) - 1} hospitals"))

    def _order(self, message: bytes) -> Iterator[bytes]:
        self._require()
        if self.state is None or isinstance(self.state, Joining) or self._work is None:
            raise ProtocolError("a round order came before the session's key list")
        ordered, told = protocol.accept_order(self.state, message)
        self._work.check_order(told)
        model_is_kept = self._work.sums.ordered(told)
        self._respect_consent(ordered.after.seat.context.session_id.hex(), told.round)
        release = self._work.reserve(ordered, told, self.ledger, self.clock)
        self.report(NodeEvent("training", f"round {told.round}: {told.task}", told.round))
        tagged = self._work.vector(told)
        SendingEdge(self.me, self.ledger).check_vector(self._work.admitted.agreement, told.round, tagged)
        vector = tagged.values
        self._work.record(told, vector, self.admission.reports)
        self._show(
            "upload", told.round, f"masked vector of round {told.round} ({told.task}), paid by {release}"
        )
        uploaded, messages = protocol.upload(ordered, vector, self.entropy.random_bytes(ENTROPY_BYTES))
        self._work.spend(ordered, told, self.ledger)
        replies = (messages.header, messages.seals, *codec.vector_chunks(told.round, messages.vector))
        model_is_kept()
        self._commit(uploaded, message, replies)
        self.report(NodeEvent("uploaded", f"round {told.round}: upload on its way", told.round))
        yield from replies

    def _work_of(self, admitted: Admitted) -> RoundWork:
        position = self.admission.roster.position(self.me)
        training = FlowerTraining(admitted.local, position + 1)
        sums = Sums(self.admission.reports / "sums" / admitted.agreement.hash, admitted.agreement)
        return RoundWork(admitted, self.me, training, self.admission.policy, sums)

    def _respect_consent(self, session: str, round_number: int) -> None:
        """Leaves out who no longer permits the study, before anything of this round is computed."""
        admitted = self._require()
        gate = self.admission.gate(admitted.agreement.study, self.clock)
        if gate is None:
            return
        agreement, local = admitted.agreement, admitted.local
        permitted, problem = gate.permitted(local.pseudonyms)
        if problem:
            self.report(NodeEvent("consent", f"nobody takes part: {problem}", round_number))
        log = ConsentLog(self.admission.reports / "consent", agreement.hash, agreement.study.id)
        # Who left while this node was down is not in its table any more, but took part before.
        before = log.taking_part() or local.pseudonyms
        still, _ = gate.permitted(before)
        left = () if problem else tuple(p for p, stays in zip(before, still, strict=True) if not stays)
        if not permitted.all():
            local = local.select(permitted)
            self.admitted = replace(admitted, local=local)
            self._work = self._work_of(self.admitted)
        if left or not permitted.all():
            forget(self.admission.reports, agreement.study.id)
            self.report(
                NodeEvent("consent", f"from round {round_number} on without who withdrew", round_number)
            )
        line = log.record(round_number, local.pseudonyms, left, problem, self.ledger.entries(), self.entropy)
        self.ledger.note(study_hash=agreement.hash, study_id=agreement.study.id, session=session, text=line)

    def _agree(self, message: bytes) -> Iterator[bytes]:
        if not isinstance(self.state, Uploaded | Agreed):
            raise ProtocolError("nothing of this hospital waits for an agreement")
        agreed, reply = protocol.agree(self.state, message)
        remember_set = self._require_work().check_set(agreed, self.ledger)
        self._show(
            "agree", agreed.frame.round, f"signature on who is in the sum of round {agreed.frame.round}"
        )
        remember_set()
        self._commit(agreed, message, (reply,))
        yield reply

    def _open(self, message: bytes) -> Iterator[bytes]:
        if not isinstance(self.state, Agreed):
            raise ProtocolError("this hospital has agreed to no set that could be opened")
        opened, reply = protocol.open_shares(self.state, message)
        self._show("open", opened.frame.round, f"shares that unmask the sum of round {opened.frame.round}")
        self._commit(opened, message, (reply,))
        yield reply

    def _receipt(self, message: bytes) -> None:
        if self.state is None or isinstance(self.state, Joining):
            raise ProtocolError("a receipt came outside a session")
        ready, verified = protocol.accept_receipt(self.state, message)
        if not verified.sum:
            raise ProtocolError("the receipt came without its sum, from which the next model must follow")
        self._require_work().sums.receive(verified)
        self._commit(ready, message, ())
        members = ", ".join(sorted(verified.members))
        self.report(
            NodeEvent("receipt", f"round {verified.body.round}: sum over {members}", verified.body.round)
        )

    def _abort(self, payload: bytes) -> None:
        abort = codec.decode(Abort, payload)
        if self._work is not None and self.state is not None and not isinstance(self.state, Joining):
            self._work.note_abort(abort, self.state, self.ledger)
        self.report(
            NodeEvent("round_aborted", f"round {abort.round} was aborted: {abort.reason}", abort.round)
        )

    def _export(self, asked: LedgerExportRequest) -> Iterator[bytes]:
        """The signed ledger, asked for at the end of a study: this hospital closes the study with it."""
        agreement = self._require().agreement
        if asked.study_hash.hex() != agreement.hash:
            raise ProtocolError("the ledger is asked for another study than the accepted one")
        self._show("ledger", 0, "signed ledger of every release of this hospital; it ends the study")
        self.ledger.close_study(study_hash=agreement.hash, study_id=agreement.study.id)
        yield codec.pack("ledger_export", LedgerExport(self.ledger.export(agreement.hash)))

    def _end(self, payload: bytes) -> None:
        end = codec.decode(StudyEnd, payload)
        # "done" is believed of a study whose last sum this hospital has seen.
        seen = self._work is not None and self._work.is_over
        code = 0 if end.status == "done" and seen else 3
        self.ended = self.ended or Ended(end.status, end.reason, code)
        self.report(
            NodeEvent(
                "study_end", f"the study is over: {end.status}{': ' + end.reason if end.reason else ''}"
            )
        )

    def _show(self, step: str, round_number: int, text: str) -> None:
        if not self.approve(Outgoing(step, round_number, text)):
            raise Declined(f"the operator of {self.me} did not let the {step} of round {round_number} leave")


def _history(state: HospitalState | None) -> tuple[int, ReceiptRef]:
    """The highest round ever started and the latest receipt, carried into a new session."""
    match state:
        case None:
            return 0, NO_RECEIPT
        case _ if isinstance(state, Joining):
            return state.highest_round, state.last_receipt
        case _:
            ready = protocol.close_round(state)
            return ready.highest_round, ready.last_receipt


def _session_id(state: HospitalState | None) -> bytes:
    """The session that is under way, empty for none."""
    match state:
        case None:
            return b""
        case _ if isinstance(state, Joining):
            return state.seat.context.session_id
        case _:
            return protocol.close_round(state).seat.context.session_id


def _journal_round(state: HospitalState) -> int:
    if isinstance(state, Joining):
        return state.highest_round
    return protocol.close_round(state).highest_round


def _wire_reason(error: Exception) -> str:
    """What the coordinator hears; of a policy's refusal the rule alone, not what the hospital spent elsewhere."""
    if isinstance(error, PolicyRefusal):
        return f"the hospital's policy refuses the round by {error.rule}"
    return str(error)


def _asked_round(message: bytes) -> int:
    """The round that a refused request names, unverified: it only labels the refusal."""
    try:
        kind, payload = codec.unwrap(message)
        match kind:
            case "round_order":
                return codec.decode(RoundOrder, codec.decode(Signed, payload).body).round
            case "agree_request":
                return codec.decode(AgreedSet, codec.decode(AgreeRequest, payload).agreed_set).round
            case "open_request":
                return codec.decode(OpenRequest, payload).round
    except WireError:
        return 0
    return 0


def _is_known(key_list: bytes, state: Ready) -> bool:
    """The key list of the session that is under way, sent again to a restarted node."""
    seat = state.seat
    again = read_key_list(codec.expect("key_list", key_list), seat.params, seat.roster, seat.context)
    return again.hash == state.participants.hash


def _blamed(error: Exception) -> str:
    """Whom an abort names: of a share that does not open its dealer, so that the coordinator can propose a set without it."""
    match error:
        case BadShare():
            return error.dealer
        case ProtocolError():
            return error.culprit or ""
        case _:
            return ""


def _kind_of(message: bytes) -> str:
    try:
        return codec.unwrap(message)[0].replace("_", " ")
    except WireError:
        return "a message"


def _terms(admitted: Admitted) -> str:
    if admitted.agreement.plan is None:
        return "mode none, no noise and no formal guarantee"
    plan, after = admitted.agreement.plan, admitted.permit.after
    if isinstance(plan.stage, VoidRelease):
        return f"no formal guarantee. {after.reason}"
    together = f"then {after.number():.3g}" if after.epsilon is not None else f"have none: {after.reason}"
    return (
        f"epsilon {plan.epsilon:g} at delta {plan.delta:g} per patient (add/remove) for everything it releases; "
        f"all studies together, unless one was chosen by another's results, {together}"
    )


def _sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()
