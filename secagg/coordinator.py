"""The coordinator's state machine: one function per arrow, bytes in and bytes out.

An arrow that raises leaves the state as it was: the shell goes on without the message and, where `culprit` names a
hospital, may leave it out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import cast

from secagg import agreed_set, order, pairs, receipt, rules, settling
from secagg.collecting import (
    add_advert,
    add_contribution,
    close_adverts,
    close_contributions,
    collect_adverts,
    fix_commitments,
    missing_contributions,
)
from secagg.errors import OrderMismatch, ParameterError, TooFewSurvivors, VectorMismatch, WrongStep
from secagg.opening import add_shares, can_open, make_receipt, missing_hospitals
from secagg.receipt import NO_RECEIPT
from secagg.secret import SecretBytes
from secagg.settling import (
    AgreeRequests,
    add_signature,
    missing_agreements,
    missing_signatures,
    request_signatures,
)
from secagg.tables import (
    Agreeing,
    BadOpening,
    Collecting,
    Desk,
    Opening,
    Revealing,
    Session,
    Settling,
    Upload,
    Uploading,
)
from secagg.unmask import empty_sum, unmask, unmask_blocks
from secagg.wire import codec
from secagg.wire.records import (
    AgreedSet,
    Agreement,
    MemberSignature,
    OpenRequest,
    RoundOrder,
    Seals,
    SetMember,
    Signed,
)

__all__ = [
    "Agreeing",
    "BadOpening",
    "Collecting",
    "Desk",
    "Opening",
    "Revealing",
    "Session",
    "Settling",
    "Upload",
    "Uploading",
    "add_advert",
    "add_agreement",
    "add_contribution",
    "add_shares",
    "add_signature",
    "add_upload",
    "can_open",
    "close_adverts",
    "close_contributions",
    "collect_adverts",
    "empty_sum",
    "fix_commitments",
    "make_receipt",
    "missing_agreements",
    "missing_contributions",
    "missing_hospitals",
    "missing_signatures",
    "propose",
    "request_open",
    "request_signatures",
    "shrink",
    "start_round",
    "unmask",
    "unmask_blocks",
]


def start_round(
    session: Session,
    round_number: int,
    task: str,
    model: bytes | memoryview,
    settings: bytes,
    previous_receipt: bytes = b"",
) -> tuple[Uploading, bytes]:
    """Sign a round order.

    Args:
        session: the live session.
        round_number: above every round of the study that was started before.
        task: what to do.
        model: opaque bytes.
        settings: everything else that the hospitals act on, opaque bytes.
        previous_receipt: the message of the study's latest receipt, or empty before the first.
    """
    desk, previous = session.desk, NO_RECEIPT
    if previous_receipt:
        previous = receipt.audit_ref(previous_receipt, desk.context.study_hash, desk.roster, desk.params)
    told = RoundOrder(round_number, task, cast(bytes, model), settings, previous.round, previous.hash)
    message, digest = order.make_order(desk.identity, desk.context, session.participants, told)
    frame = pairs.RoundFrame(desk.context, session.participants, round_number, digest)
    return Uploading(session, frame, replace(told, model=b""), {}), message


def add_upload(
    state: Uploading, hospital: str, header: bytes, seals: bytes, vector_sha256: bytes
) -> Uploading:
    """Take a hospital's upload, once its vector is complete; the same one again changes nothing.

    Args:
        state: the round.
        hospital: whose link it came over.
        header: message of the signed header.
        seals: message of the sealed shares.
        vector_sha256: hash of the vector as received, of `params.vector_bytes` bytes.

    Raises:
        WireError, BadSignature, WrongStep: not an upload of this hospital in this round.
        OrderMismatch: the hospital was told another order.
        VectorMismatch: the vector is not the one that the header signs.
    """
    desk, frame = state.session.desk, state.frame
    if hospital not in frame.participants.keys:
        raise WrongStep("it is not in the key list of this session", hospital)
    signed = codec.unpack("upload_header", Signed, header, 40 * desk.params.n + 2000)
    parsed, digest = rules.read_header(signed, hospital, frame, desk.params, desk.roster)
    if parsed.order_hash != frame.order_hash:
        raise OrderMismatch([hospital])
    if vector_sha256 != parsed.vector_sha256:
        raise VectorMismatch("the vector is not the one that its header signs", hospital)
    payload = codec.expect("seals", seals, 300 * desk.params.n + 2000)
    if hashlib.sha256(payload).digest() != parsed.seals_sha256:
        raise VectorMismatch("the sealed shares are not the ones that its header signs", hospital)
    sealed = codec.decode(Seals, payload)
    peers = frame.participants.peers(hospital)
    if sealed.round != frame.round or tuple(seal.receiver for seal in sealed.seals) != peers:
        raise WrongStep("its sealed shares are not one for each peer of this round", hospital)
    new = Upload(signed, parsed, digest, {seal.receiver: seal for seal in sealed.seals})
    if hospital in state.uploads:
        if state.uploads[hospital].header_hash != digest:
            raise WrongStep("a second, different upload in one round", hospital)
        return state
    return replace(state, uploads={**state.uploads, hospital: new})


def propose(state: Uploading) -> tuple[Agreeing, Mapping[str, bytes]]:
    """Propose the set of all who uploaded, and the request to each of them.

    Raises:
        TooFewSurvivors: fewer than the threshold uploaded; the round must be aborted.
    """
    members = tuple(hospital for hospital in state.frame.participants.ids if hospital in state.uploads)
    return _propose(state, members, "upload", frozenset())


def add_agreement(state: Agreeing, hospital: str, data: bytes) -> Agreeing:
    """Take a member's signature on the set and its mask seeds; an answer to an earlier set changes nothing.

    Raises:
        WireError, WrongStep, BadSignature: not this member's agreement.
    """
    uploading = state.uploading
    desk, frame = uploading.session.desk, uploading.frame
    answer = codec.unpack("agreement", Agreement, data, 200 * desk.params.n + 1000)
    rules.round_is(frame, answer.round)
    if answer.set_hash in state.superseded:
        return state
    members = agreed_set.member_headers(state.proposed)
    if hospital not in members or answer.set_hash != agreed_set.set_hash(frame, state.proposed_bytes):
        raise WrongStep("it agreed to a set that was not proposed to it", hospital)
    if desk.params.neighborhood is None:
        agreed_set.verify_set_signature(desk.roster, frame, state.proposed_bytes, hospital, answer.signature)
    elif answer.signature:
        raise WrongStep("it signed a set that is not the final one", hospital)
    dropped = [peer for peer in frame.participants.peers(hospital) if peer not in members]
    if [seed.hospital for seed in answer.seeds] != dropped:
        raise WrongStep("it did not reveal exactly the mask seeds of its peers outside the set", hospital)
    return replace(
        state,
        signatures={**state.signatures, hospital: answer.signature},
        mask_seeds={
            **state.mask_seeds,
            hospital: {seed.hospital: SecretBytes(seed.seed) for seed in answer.seeds},
        },
    )


def shrink(state: Agreeing, without: frozenset[str]) -> tuple[Agreeing, Mapping[str, bytes]]:
    """Propose a smaller set. An `Opening` does not fit here: after the first open request a set never shrinks.

    Raises:
        TooFewSurvivors: fewer than the threshold would be left; the round must be aborted.
        ParameterError: nobody, or somebody who is not in the set, is left out.
    """
    members = tuple(member.hospital for member in state.proposed.members)
    if not without or not without <= set(members):
        raise ParameterError("leave out at least one hospital, all of them in the set")
    left = tuple(hospital for hospital in members if hospital not in without)
    superseded = state.superseded | {agreed_set.set_hash(state.uploading.frame, state.proposed_bytes)}
    return _propose(state.uploading, left, "agree", superseded)


def request_open(state: Agreeing | Settling) -> tuple[Opening, dict[str, bytes]]:
    """Ask every member for its shares, with the signatures of all; in the sparse graph with a threshold of them.

    Raises:
        WrongStep: a member has not agreed to this very set, so that opening now could strand its mask; or, in the
            sparse graph, the final set is not signed yet.
        TooFewSurvivors: fewer than the threshold signed the final set.
    """
    agreeing = state.agreeing if isinstance(state, Settling) else state
    params, frame = agreeing.uploading.session.desk.params, agreeing.uploading.frame
    if isinstance(state, Agreeing):
        rules.final_set_is_signed(params)
        settling.everybody_agreed(state)
    members = tuple(member.hospital for member in agreeing.proposed.members)
    signers = [who for who in members if who in agreeing.signatures]
    if len(signers) < params.threshold:
        raise TooFewSurvivors(params.threshold, len(signers), "sign")
    shown = signers if params.neighborhood is None else signers[: params.threshold]
    enough = tuple(MemberSignature(who, agreeing.signatures[who]) for who in shown)
    message = codec.pack("open_request", OpenRequest(frame.round, enough))
    opening = Opening(agreeing, frozenset(), {dealer: {} for dealer in members}, ())
    return opening, dict.fromkeys(members, message)


def _propose(
    state: Uploading,
    members: tuple[str, ...],
    step: str,
    superseded: frozenset[bytes],
) -> tuple[Agreeing, Mapping[str, bytes]]:
    threshold = state.session.desk.params.threshold
    if len(members) < threshold:
        raise TooFewSurvivors(threshold, len(members), step)
    frame = state.frame
    proposed = AgreedSet(
        frame.round,
        frame.order_hash,
        tuple(SetMember(who, state.uploads[who].header_hash) for who in members),
    )
    data = codec.encode(proposed)
    return Agreeing(state, proposed, data, {}, {}, superseded), AgreeRequests(state, members, data)
