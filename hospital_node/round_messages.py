"""The messages of a round, one function each: nothing leaves before it is paid for, shown and on disk."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from hospital_node.consent_round import forget_former, respect_consent
from hospital_node.node_words import NodeEvent
from hospital_node.participant import Participant
from hospital_node.sending_edge import SendingEdge
from hospital_node.spare_noise import spare_of
from hospital_node.upload_files import UploadLost
from secagg import hospital as protocol
from secagg.dealing import ENTROPY_BYTES
from secagg.errors import ProtocolError, WireError
from secagg.states import Agreed, Joining, Opened, Settled, Uploaded
from secagg.wire import codec
from secagg.wire.records import Abort, Signed, UploadHeader, VectorChunk


def train_and_upload(node: Participant, message: bytes) -> Iterator[bytes]:
    """One order: checked, charged, computed, shown, spent, on disk; then the masked vector leaves."""
    node.require()
    if node.state is None or isinstance(node.state, Joining) or node.work is None:
        raise ProtocolError("a round order came before the session's key list")
    ordered, told = protocol.accept_order(node.state, message)
    theta = node.work.model(told)
    follows = node.work.check_order(told, theta)
    model_is_kept = node.work.sums.ordered(told, follows)
    release = node.work.reserve(ordered, told, node.ledger, node.clock)
    # Behind the charge: an order that the policy refuses could be sent again for ever, with one line in the ledger each time.
    respect_consent(node, ordered.after.seat.context.session_id.hex(), told.round)
    node.report(NodeEvent("training", f"round {told.round}: {told.task}", told.round))
    tagged = node.work.vector(told, theta)
    SendingEdge(node.me, node.ledger).check_vector(node.work.admitted.agreement, told.round, tagged)
    vector = tagged.values
    node.spare = None
    node.work.record(told, vector, node.admission.reports)
    node.show("upload", told.round, f"masked vector of round {told.round} ({told.task}), paid by {release}")
    uploaded, messages = protocol.upload(ordered, vector, node.entropy.random_bytes(ENTROPY_BYTES))
    node.work.spend(ordered, told, node.ledger)
    replies = (messages.header, messages.seals, *codec.vector_chunks(told.round, messages.vector))
    model_is_kept()
    node.commit(uploaded, message, replies)
    node.spare = spare_of(uploaded.frame, tagged.spare, node.work.admitted.agreement)
    node.report(NodeEvent("uploaded", f"round {told.round}: upload on its way", told.round))
    yield from replies
    forget_former(node)


def check_upload(node: Participant, replies: tuple[bytes, ...]) -> None:
    """Before an upload is sent again: its files hold the vector that was signed, also after a loss of power.

    Raises:
        UploadLost: they do not.
    """
    header = codec.decode(UploadHeader, codec.unpack("upload_header", Signed, replies[0]).body)
    digest = hashlib.sha256()
    try:
        for message in replies[2:]:
            digest.update(codec.unpack_views("vector_chunk", VectorChunk, message).data)
    except WireError:
        raise UploadLost(node.journal.uploads) from None
    if digest.digest() != header.vector_sha256:
        raise UploadLost(node.journal.uploads)


def agree(node: Participant, message: bytes) -> Iterator[bytes]:
    """Agreement to the set of this round, once no rule forbids it and it is remembered; in the complete graph its signature."""
    if not isinstance(node.state, Uploaded | Agreed):
        raise ProtocolError("nothing of this hospital waits for an agreement")
    agreed, reply = protocol.agree(node.state, message)
    remember_set = node.require_work().check_set(agreed, node.ledger)
    node.show("agree", agreed.frame.round, f"signature on who is in the sum of round {agreed.frame.round}")
    remember_set()
    node.commit(agreed, message, (reply,))
    yield reply


def open_shares(node: Participant, message: bytes) -> Iterator[bytes]:
    """The shares that unmask the agreed sum, and before them the noise that a sum over so many does not need.

    Only the shares are stored to be sent again: after a crash the noise stays in the sum.
    """
    if not isinstance(node.state, Agreed | Settled):
        raise ProtocolError("this hospital has agreed to no set that could be opened")
    opened, reply = protocol.open_shares(node.state, message)
    number = opened.frame.round
    held, node.spare = node.spare, None
    told = () if held is None else held.told(opened)
    also = ", and the noise that it does not need" if told else ""
    node.show("open", number, f"shares that unmask the sum of round {number}{also}")
    # That it is told is on disk, in the same transaction, before it leaves: the hospital states it at the end.
    node.commit(opened, message, (reply,), told=(number, number) if told else None)
    yield from told
    yield reply


def take_receipt(node: Participant, message: bytes) -> None:
    """The signed sum of a round, from which the next model must follow."""
    if node.state is None or isinstance(node.state, Joining):
        raise ProtocolError("a receipt came outside a session")
    ready, verified = protocol.accept_receipt(node.state, message)
    if not verified.sum:
        raise ProtocolError("the receipt came without its sum, from which the next model must follow")
    is_found_again = node.require_work().sums.receive(verified)
    if is_found_again and isinstance(node.state, Opened) and not node.keeps_files:
        # The journal holds no secret of the round any more and no vector in a file, and a killed process finds this state by the sum.
        node.state = ready
    else:
        node.commit(ready, message, (), ends_round=verified.body.round == ready.highest_round)
    node.spare = None
    members = ", ".join(sorted(verified.members))
    node.report(NodeEvent("receipt", f"round {verified.body.round}: sum over {members}", verified.body.round))


def take_abort(node: Participant, payload: bytes) -> None:
    """An aborted round is remembered, so that aborts without end are refused."""
    abort = codec.decode(Abort, payload)
    if node.work is not None and node.state is not None and not isinstance(node.state, Joining):
        node.work.note_abort(abort, node.state, node.ledger)
    node.report(NodeEvent("round_aborted", f"round {abort.round} was aborted: {abort.reason}", abort.round))
