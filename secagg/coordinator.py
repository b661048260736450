"""The coordinator's state machine: one function per arrow, bytes in and bytes out.

An arrow that raises leaves the state as it was: the shell goes on without the message and, where `culprit` names a
hospital, may leave it out.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace

from secagg import agreed_set, order, pairs, receipt, rules
from secagg.context import Context
from secagg.errors import (
    KeyListError,
    OrderMismatch,
    ParameterError,
    TooFewSurvivors,
    VectorMismatch,
    WrongStep,
)
from secagg.opening import add_shares, can_open, make_receipt, missing_hospitals
from secagg.params import SecAggParams
from secagg.receipt import NO_RECEIPT
from secagg.roster import Roster
from secagg.secret import SecretBytes
from secagg.tables import Agreeing, BadOpening, Collecting, Desk, Opening, Session, Upload, Uploading
from secagg.unmask import empty_sum, unmask, unmask_blocks
from secagg.wire import codec
from secagg.wire.records import (
    AgreedSet,
    Agreement,
    AgreeRequest,
    Deposit,
    KeyList,
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
    "Session",
    "Upload",
    "Uploading",
    "add_advert",
    "add_agreement",
    "add_shares",
    "add_upload",
    "can_open",
    "close_adverts",
    "collect_adverts",
    "empty_sum",
    "make_receipt",
    "missing_agreements",
    "missing_hospitals",
    "propose",
    "request_open",
    "shrink",
    "start_round",
    "unmask",
    "unmask_blocks",
]


def collect_adverts(
    identity_key: SecretBytes, params: SecAggParams, roster: Roster, context: Context, *, first_round: int = 1
) -> Collecting:
    """Open a session.

    Args:
        identity_key: the coordinator's Ed25519 seed.
        params: from the study agreement.
        roster: as signed by every hospital.
        context: study, roster and a fresh session id.
        first_round: the next round number of the study.
    """
    if params.n != len(roster.hospitals) or context.roster_hash != roster.hash:
        raise ParameterError("params, roster and context must describe the same hospitals")
    return Collecting(Desk(identity_key, params, roster, context), first_round, {})


def add_advert(state: Collecting, hospital: str, data: bytes) -> Collecting:
    """Take a hospital's signed key; the same one again changes nothing.

    Raises:
        WireError, KeyListError, BadSignature: the advert cannot go into a key list.
        WrongStep: a second, different advert in one session.
    """
    signed = codec.unpack("advert", Signed, data, 10_000)
    advert = pairs.read_advert(signed, state.desk.roster, state.desk.context)
    if advert.hospital != hospital:
        raise KeyListError("it sent the advert of another hospital", hospital)
    if hospital in state.adverts:
        if state.adverts[hospital] != signed:
            raise WrongStep("a second key in one session; open a new session for it", hospital)
        return state
    return replace(state, adverts={**state.adverts, hospital: signed})


def close_adverts(state: Collecting) -> tuple[Session, bytes]:
    """The session of all who advertised, and the key list for each of them.

    Raises:
        TooFewSurvivors: fewer than the threshold.
        KeyListError: two hospitals advertise one key.
    """
    desk = state.desk
    adverts = tuple(state.adverts[hospital] for hospital in desk.roster.ids if hospital in state.adverts)
    payload = codec.encode(KeyList(state.first_round, adverts))
    participants = pairs.read_key_list(payload, desk.params, desk.roster, desk.context)
    return Session(desk, participants), codec.wrap("key_list", payload)


def start_round(
    session: Session,
    round_number: int,
    task: str,
    model: bytes,
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
        previous = receipt.audit_receipt(
            previous_receipt, desk.context.study_hash, desk.roster, desk.params
        ).ref
    told = RoundOrder(round_number, task, model, settings, previous.round, previous.hash)
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
    peers = [peer for peer in frame.participants.ids if peer != hospital]
    if sealed.round != frame.round or [seal.receiver for seal in sealed.seals] != peers:
        raise WrongStep("its sealed shares are not one for each peer of this round", hospital)
    new = Upload(signed, parsed, digest, {seal.receiver: seal for seal in sealed.seals})
    if hospital in state.uploads:
        if state.uploads[hospital].header_hash != digest:
            raise WrongStep("a second, different upload in one round", hospital)
        return state
    return replace(state, uploads={**state.uploads, hospital: new})


def propose(state: Uploading) -> tuple[Agreeing, dict[str, bytes]]:
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
    agreed_set.verify_set_signature(desk.roster, frame, state.proposed_bytes, hospital, answer.signature)
    dropped = [peer for peer in frame.participants.ids if peer not in members]
    if [seed.hospital for seed in answer.seeds] != dropped:
        raise WrongStep("it did not reveal exactly the mask seeds of those outside the set", hospital)
    return replace(
        state,
        signatures={**state.signatures, hospital: answer.signature},
        mask_seeds={
            **state.mask_seeds,
            hospital: {seed.hospital: SecretBytes(seed.seed) for seed in answer.seeds},
        },
    )


def missing_agreements(state: Agreeing) -> frozenset[str]:
    """Members that have not agreed to the current set."""
    return frozenset(member.hospital for member in state.proposed.members) - state.signatures.keys()


def shrink(state: Agreeing, without: frozenset[str]) -> tuple[Agreeing, dict[str, bytes]]:
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


def request_open(state: Agreeing) -> tuple[Opening, dict[str, bytes]]:
    """Ask every member for its shares, with a threshold of signatures.

    Raises:
        WrongStep: a member has not agreed to this very set; opening now could strand its mask.
    """
    missing = missing_agreements(state)
    if missing:
        raise WrongStep(f"{', '.join(sorted(missing))} did not agree yet; wait or shrink the set")
    params, frame = state.uploading.session.desk.params, state.uploading.frame
    members = tuple(member.hospital for member in state.proposed.members)
    enough = tuple(MemberSignature(who, state.signatures[who]) for who in members[: params.threshold])
    message = codec.pack("open_request", OpenRequest(frame.round, enough))
    opening = Opening(state, frozenset(), {dealer: {} for dealer in members}, ())
    return opening, dict.fromkeys(members, message)


def _propose(
    state: Uploading,
    members: tuple[str, ...],
    step: str,
    superseded: frozenset[bytes],
) -> tuple[Agreeing, dict[str, bytes]]:
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
    requests = {
        who: codec.pack(
            "agree_request",
            AgreeRequest(data, tuple(_deposit(state.uploads[dealer], who) for dealer in members)),
        )
        for who in members
    }
    return Agreeing(state, proposed, data, {}, {}, superseded), requests


def _deposit(upload: Upload, receiver: str) -> Deposit:
    seal = upload.seals.get(receiver)
    return Deposit(upload.signed, seal.nonce if seal else b"", seal.ciphertext if seal else b"")
