"""The messages around the rounds: the offer of a study, a session's keys, the ledger at the end."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from hospital_node.admission import Admitted, StudyRefused
from hospital_node.consent_round import forget_former
from hospital_node.graph_messages import reveal
from hospital_node.node_states import history, is_known, receipted, session_id
from hospital_node.node_words import REFUSED, RESTORED, Ended, NodeEvent, terms
from hospital_node.participant import Participant
from privacy.ledgers.charges import highest_round
from privacy.ledgers.told_noise import Runs, merged
from secagg import hospital as protocol
from secagg.context import Context
from secagg.dealing import ENTROPY_BYTES
from secagg.errors import ProtocolError
from secagg.joining import few_graphs
from secagg.params import PROTOCOL_VERSION
from secagg.state_codec import decode_state
from secagg.states import Advertised, Joining
from secagg.wire import codec
from secagg.wire.records import (
    LedgerExport,
    LedgerExportRequest,
    SessionStart,
    StudyAnswer,
    StudyEnd,
    StudyOffer,
)


def take_offer(node: Participant, payload: bytes) -> Iterator[bytes]:
    """Admits the study or refuses it, with one answer on the wire for every refusal."""
    offer = codec.decode(StudyOffer, payload)
    if node.admitted is not None and _sha256(offer.agreement).hex() != node.admitted.agreement.hash:
        raise ProtocolError(
            "this hospital accepted another agreement before, and takes part in one at a time"
        )
    try:
        agreement = node.admission.agreement_of(offer)
        study_hash = bytes.fromhex(agreement.hash)
        if node.admitted is None or node.admitted.agreement.hash != agreement.hash:
            node.admitted = node.admission.admit(
                agreement, node.ledger, node.clock, node.sampler, node.entropy
            )
            node.work = node.work_of(node.admitted)
            stored = node.journal.state(study_hash)
            if stored is not None:
                node.state = receipted(decode_state(stored, node.identity), node.work.sums.receipt)
            if node.journal.restored:
                node.report(NodeEvent("journal_restored", RESTORED))
    except StudyRefused as refusal:
        node.report(NodeEvent("study_refused", refusal.reason))
        node.ended = Ended("refused", refusal.reason, refusal.exit_code)
        study_hash = _sha256(offer.agreement)
        yield codec.pack("study_answer", StudyAnswer(study_hash, False, refusal.told[:500], REFUSED))
        return
    node.report(
        NodeEvent("study_accepted", f"takes part in study {agreement.study.id}: {terms(node.admitted)}")
    )
    yield codec.pack("study_answer", StudyAnswer(study_hash, True, "", 0))
    forget_former(node)


def open_session(node: Participant, payload: bytes, message: bytes) -> Iterator[bytes]:
    """A fresh session of the accepted study: this hospital's advert, above every round it ever started."""
    admitted = node.require()
    start = codec.decode(SessionStart, payload)
    agreement, roster = admitted.agreement, node.admission.roster
    if start.study_hash.hex() != agreement.hash or start.roster_hash != roster.hash:
        raise ProtocolError("the session is for another study or roster than the accepted one")
    if start.session_id == session_id(node.state):
        raise ProtocolError("this session was opened before; a new one has a new id")
    context = Context(PROTOCOL_VERSION, start.study_hash, roster.hash, start.session_id)
    _, last = history(node.state)
    forgotten = forgotten_rounds(node, admitted)
    highest = history(node.state)[0] if forgotten is None else forgotten[1]
    graphs = node.journal.graphs(agreement.study.id)
    if agreement.neighborhood is not None:
        few_graphs(graphs)
    state, advert = protocol.advertise(
        node.identity,
        agreement.secagg,
        roster,
        context,
        node.me,
        node.entropy.random_bytes(ENTROPY_BYTES),
        highest_round=highest,
        last_receipt=last,
        graphs=graphs,
    )
    node.commit(state, message, (advert,), told=forgotten)
    yield advert


def take_keys(node: Participant, message: bytes) -> Iterator[bytes]:
    """The session's key list; sent again to a restarted node it changes nothing. In a sparse graph a contribution answers it."""
    if node.state is None:
        raise ProtocolError("a key list came that no advert of this hospital asked for")
    if not isinstance(node.state, Advertised):
        if not isinstance(node.state, Joining) and is_known(message, protocol.close_round(node.state)):
            return
        raise ProtocolError("a key list came that no advert of this hospital asked for")
    if node.state.seat.params.neighborhood is not None:
        yield from reveal(node, node.state, message)
        return
    ready = protocol.accept_key_list(node.state, message)
    node.commit(ready, message, ())
    node.report(NodeEvent("session", f"keys agreed with {len(ready.participants.keys) - 1} hospitals"))


def export_ledger(node: Participant, asked: LedgerExportRequest) -> Iterator[bytes]:
    """The signed ledger, asked for at the end of a study: this hospital closes the study with it."""
    admitted = node.require()
    agreement = admitted.agreement
    if asked.study_hash.hex() != agreement.hash:
        raise ProtocolError("the ledger is asked for another study than the accepted one")
    node.show("ledger", 0, "signed ledger of every release of this hospital; it ends the study")
    node.ledger.close_study(study_hash=agreement.hash, study_id=agreement.study.id)
    yield codec.pack(
        "ledger_export", LedgerExport(node.ledger.export(agreement.hash, told_rounds(node, admitted)))
    )


def forgotten_rounds(node: Participant, admitted: Admitted) -> tuple[int, int] | None:
    """First and last of the rounds that this hospital started and its journal does not know: anchor and ledger remember them.

    A round that was charged and never uploaded is one too. None where there is none.
    """
    study_hash = admitted.agreement.hash
    known = history(node.state)[0]
    highest = highest_round(node.ledger.entries(), study_hash)
    if node.state is None:
        highest = max(highest, node.journal.floor(bytes.fromhex(study_hash)))
    return (known + 1, highest) if highest > known else None


def told_rounds(node: Participant, admitted: Admitted) -> Runs | None:
    """What this hospital states of its spare noise: the rounds in which it told it, or may have; None in studies without.

    Of rounds that the journal lost nobody knows; they count as told, so that a coordinator that took noise out is not made a liar.
    """
    if not admitted.agreement.study.spare_layers:
        return None
    told = node.journal.told(bytes.fromhex(admitted.agreement.hash))
    forgotten = forgotten_rounds(node, admitted)
    return told if forgotten is None else merged((*told, forgotten))


def end_study(node: Participant, payload: bytes) -> None:
    """How the study ended, and the exit code for it."""
    end = codec.decode(StudyEnd, payload)
    # "done" is believed of a study whose last sum this hospital has seen.
    seen = node.work is not None and node.work.is_over
    code = 0 if end.status == "done" and seen else 3
    node.ended = node.ended or Ended(end.status, end.reason, code)
    if node.admitted is not None:
        node.journal.drop_uploads(bytes.fromhex(node.admitted.agreement.hash))
    node.report(
        NodeEvent("study_end", f"the study is over: {end.status}{': ' + end.reason if end.reason else ''}")
    )


def _sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()
