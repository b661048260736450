"""The hospital's state machine: one function per arrow, bytes in and bytes out.

The shell stores the new state and the outgoing bytes in one transaction, then sends. After a crash it sends the stored
bytes again or nothing; it never calls an arrow twice on one state with different entropy.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

from secagg import agreed_set, dealing, identity, order, receipt, rules, sealing
from secagg.errors import ReceiptMismatch, StaleRound
from secagg.joining import accept_graph_seed, accept_key_list, advertise, reveal_contribution
from secagg.masks import DEFAULT_SPEED, Ring, Speed
from secagg.pairs import RoundFrame, ratchet, round_secrets
from secagg.receipt import ReceiptRef, VerifiedReceipt
from secagg.sealing import HeldShare
from secagg.secret import SecretBytes
from secagg.states import (
    Advertised,
    Agreed,
    HospitalState,
    InRound,
    Joining,
    Opened,
    Ordered,
    Ready,
    Revealed,
    Seat,
    Settled,
    Uploaded,
)
from secagg.wire import codec
from secagg.wire.records import (
    AgreedSet,
    Agreement,
    AgreeRequest,
    MaskSeed,
    OpenedShare,
    OpenRequest,
    RoundOrder,
    Seal,
    Seals,
    SetSignature,
    Shares,
    Signed,
    SignRequest,
    UploadHeader,
)

__all__ = [
    "Advertised",
    "Agreed",
    "HospitalState",
    "InRound",
    "Joining",
    "Opened",
    "Ordered",
    "Ready",
    "Revealed",
    "Seat",
    "Settled",
    "UploadMessages",
    "Uploaded",
    "accept_graph_seed",
    "accept_key_list",
    "accept_order",
    "accept_receipt",
    "advertise",
    "agree",
    "close_round",
    "open_shares",
    "reveal_contribution",
    "settle",
    "upload",
]

# A ratchet costs one HKDF per peer and skipped round: a coordinator cannot make a hospital spin.
MAX_ROUNDS_AHEAD = 1000


@dataclass(frozen=True, slots=True)
class UploadMessages:
    """What a hospital sends in the upload step; the vector travels in chunks (`codec.vector_chunks`)."""

    header: bytes
    seals: bytes
    vector: memoryview


def accept_order(
    state: Ready | InRound, data: bytes, max_bytes: int = codec.DEFAULT_MAX_BYTES
) -> tuple[Ordered, RoundOrder]:
    """Start a round; whatever was left of an earlier one is closed and its secrets are dropped.

    Raises:
        WireError, BadSignature: not an order of the coordinator for this session.
        StaleRound: a round that was started before, or too far ahead.
        ReceiptMismatch: the order continues another history than the one this hospital has receipts of.
    """
    ready = close_round(state)
    seat = ready.seat
    told, order_hash = order.read_order(data, seat.roster, seat.context, ready.participants, max_bytes)
    lowest = max(ready.highest_round + 1, ready.chain_round)
    if not lowest <= told.round <= lowest + MAX_ROUNDS_AHEAD:
        raise StaleRound(told.round, f"the next round is {lowest} or up to {MAX_ROUNDS_AHEAD} later")
    _check_history(told.previous_round, told.previous_receipt, ready.last_receipt)
    ready = _ratchet_to(ready, told.round)
    frame = RoundFrame(seat.context, ready.participants, told.round, order_hash)
    secrets = round_secrets(ready.chains, frame, seat.me)
    after = _ratchet_to(replace(ready, highest_round=told.round), told.round + 1)
    return Ordered(after, frame, secrets), told


def upload(
    state: Ordered, vector: Ring, entropy: bytes, speed: Speed = DEFAULT_SPEED
) -> tuple[Uploaded, UploadMessages]:
    """Mask the vector and deal the shares of the self-mask.

    Args:
        state: the accepted order.
        vector: (dim,), ring elements; the check coordinate is appended here.
        entropy: 32 fresh random bytes; the self-mask seed, its shares, openings and nonces come from them.
        speed: how masks are expanded.

    Raises:
        ParameterError: the vector has another shape or element type than the study's.
    """
    seat, frame = state.after.seat, state.frame
    drawn = SecretBytes(dealing.exactly(entropy))
    seed, held = dealing.deal(frame, seat, drawn)
    masked = dealing.masked_vector(state, vector, seed, speed)
    seals = codec.encode(Seals(frame.round, dealing.seal_all(state, held, drawn)))
    header = UploadHeader(
        seat.me,
        frame.round,
        frame.order_hash,
        hashlib.sha256(masked).digest(),
        hashlib.sha256(seals).digest(),
        sealing.commit_to_seed(frame, seat.me, seed),
        tuple(sealing.commit_to_share(frame, seat.me, holder, share) for holder, share in held.items()),
    )
    body = codec.encode(header)
    signed = Signed(body, identity.sign(seat.identity, agreed_set.header_label(frame, header), body))
    after_upload = Uploaded(
        state.after,
        frame,
        {peer: secrets.mask_seed for peer, secrets in state.secrets.items()},
        {peer: secrets.seal_in for peer, secrets in state.secrets.items()},
        held.get(seat.me),
        agreed_set.header_hash(frame, body),
    )
    return after_upload, UploadMessages(
        codec.pack("upload_header", signed), codec.wrap("seals", seals), masked
    )


def agree(state: Uploaded | Agreed, data: bytes) -> tuple[Agreed, bytes]:
    """Agree to a proposed set and reveal the mask seeds of those peers who are not in it.

    In the complete graph to agree is to sign; in the sparse graph `settle` signs, once.

    Raises:
        ProtocolError: one of the rules of `secagg.rules` is broken; the state stays as it is.
        BadShare: a dealer's share does not open; the coordinator should propose a set without the named dealer.
    """
    seat, frame = state.after.seat, state.frame
    n = seat.params.n
    request = codec.unpack("agree_request", AgreeRequest, data, n * (40 * n + 2500) + 200)
    proposed = agreed_set.read_set(request.agreed_set, seat.params)
    members = agreed_set.member_headers(proposed)
    rules.round_is(frame, proposed.round)
    rules.members_take_part(members, frame.participants)
    rules.set_is_large_enough(members, seat.params)
    rules.i_am_in(members, seat.me)
    rules.neighborhood_is_large_enough(members, seat.me, frame.participants, seat.params)
    rules.own_header_is_unchanged(members, seat.me, state.own_header_hash)
    headers = _read_headers(request, members, state)
    rules.orders_are_equal(headers, frame.order_hash)
    rules.order_is(frame, proposed.order_hash)
    if isinstance(state, Agreed):
        rules.set_only_shrinks(members, agreed_set.member_headers(_last_agreed(state)))
        shares = {dealer: state.shares[dealer] for dealer in headers}
    else:
        shares = _open_seals(state, request, headers)
    seeds = tuple(
        MaskSeed(peer, state.mask_seeds[peer].reveal())
        for peer in frame.participants.holders(seat.me)
        if peer not in members
    )
    signature = b""
    if seat.params.neighborhood is None:
        signature = agreed_set.sign_set(seat.identity, frame, request.agreed_set)
    answer = Agreement(frame.round, agreed_set.set_hash(frame, request.agreed_set), signature, seeds)
    agreed = Agreed(state.after, frame, state.mask_seeds, state.own_header_hash, request.agreed_set, shares)
    return agreed, codec.pack("agreement", answer)


def settle(state: Agreed, data: bytes) -> tuple[Settled, bytes]:
    """Sparse graph: sign the set last agreed to as the final one; there is no second one in this round.

    Raises:
        StaleRound, WrongStep: of another round, or not the set that was agreed to last.
    """
    seat, frame = state.after.seat, state.frame
    request = codec.unpack("sign_request", SignRequest, data, 1000)
    rules.one_final_set(seat.params)
    rules.round_is(frame, request.round)
    digest = agreed_set.set_hash(frame, state.agreed_set)
    rules.final_set_is(digest, request.set_hash)
    signature = agreed_set.sign_set(seat.identity, frame, state.agreed_set)
    settled = Settled(state.after, frame, state.agreed_set, state.shares)
    return settled, codec.pack("set_signature", SetSignature(frame.round, digest, signature))


def open_shares(state: Agreed | Settled, data: bytes) -> tuple[Opened, bytes]:
    """Give the self-mask shares of the members, against all their signatures on the set last agreed to.

    In the sparse graph, where members may fall silent between agreeing and signing, against a threshold of them.

    Raises:
        StaleRound, WrongStep, TooFewSurvivors, BadSignature: the request does not prove the agreement.
    """
    seat, frame = state.after.seat, state.frame
    request = codec.unpack("open_request", OpenRequest, data, 200 * seat.params.n + 200)
    if isinstance(state, Agreed):
        rules.final_set_is_signed(seat.params)
    rules.round_is(frame, request.round)
    agreed_set.check_signatures(request.signatures, state.agreed_set, frame, seat.params, seat.roster)
    members = agreed_set.member_headers(_last_agreed(state))
    if isinstance(state, Agreed):
        rules.everybody_signed({entry.hospital for entry in request.signatures}, members)
    rules.one_share_kind(state.shares, frame.participants.keys.keys() - members.keys())
    shares = tuple(
        OpenedShare(dealer, held.share.reveal(), held.opening.reveal())
        for dealer, held in state.shares.items()
    )
    return Opened(state.after, frame, state.agreed_set), codec.pack("shares", Shares(frame.round, shares))


def accept_receipt(
    state: Ready | InRound, data: bytes, max_bytes: int = codec.DEFAULT_MAX_BYTES
) -> tuple[Ready, VerifiedReceipt]:
    """Close the round against the coordinator's receipt, also that of a round this hospital missed.

    Raises:
        WireError, BadSignature, TooFewSurvivors: not a receipt of this session.
        StaleRound: of a round before the one under way, or receipted already.
        ReceiptMismatch: it contradicts the order or the set of this round, or the receipts before.
    """
    ready = close_round(state)
    seat = ready.seat
    verified = receipt.read_receipt(data, seat.roster, seat.context, seat.params, max_bytes)
    body = verified.body
    if body.round < ready.highest_round or body.round <= ready.last_receipt.round:
        raise StaleRound(
            body.round, f"rounds before {max(ready.highest_round, ready.last_receipt.round + 1)} are over"
        )
    if body.key_list_hash != ready.participants.hash:
        raise ReceiptMismatch("the receipt belongs to another key list", seat.roster.coordinator.id)
    _check_history(body.previous_round, body.previous_receipt, ready.last_receipt)
    if not isinstance(state, Ready) and body.round == state.frame.round:
        _check_receipt_against(state, verified)
    return replace(ready, highest_round=body.round, last_receipt=verified.ref), verified


def close_round(state: Ready | InRound) -> Ready:
    """The state between rounds; every secret of the round is dropped, and the round cannot be started again."""
    return state if isinstance(state, Ready) else state.after


def _ratchet_to(ready: Ready, round_number: int) -> Ready:
    if round_number <= ready.chain_round:
        return ready
    chains = ready.chains
    for passed in range(ready.chain_round, round_number):
        frame = RoundFrame(ready.seat.context, ready.participants, passed, b"")
        chains = ratchet(chains, frame, ready.seat.me)
    return replace(ready, chains=chains, chain_round=round_number)


def _check_history(previous_round: int, previous_hash: bytes, known: ReceiptRef) -> None:
    """A later receipt than the known one was missed; an older or another one is a second history."""
    if previous_round < known.round or (previous_round == known.round and previous_hash != known.hash):
        raise ReceiptMismatch(f"it continues another history than the receipt of round {known.round}")


def _last_agreed(state: Agreed | Settled) -> AgreedSet:
    return agreed_set.read_set(state.agreed_set, state.after.seat.params)


def _read_headers(
    request: AgreeRequest, members: dict[str, bytes], state: Uploaded | Agreed
) -> dict[str, UploadHeader]:
    """The header of each member whose share this hospital holds: signed by it and the one that the set names."""
    seat, frame = state.after.seat, state.frame
    dealers = [dealer for dealer in frame.participants.holders(seat.me) if dealer in members]
    rules.one_deposit_each(dealers, request.deposits)
    headers = {}
    for hospital, deposit in zip(dealers, request.deposits, strict=True):
        headers[hospital], found = rules.read_header(
            deposit.header, hospital, frame, seat.params, seat.roster
        )
        rules.header_is(hospital, members[hospital], found)
    return headers


def _open_seals(
    state: Uploaded, request: AgreeRequest, headers: dict[str, UploadHeader]
) -> dict[str, HeldShare]:
    """The share of every member, each checked against its dealer's commitment."""
    me, frame = state.after.seat.me, state.frame
    shares = {}
    for (dealer, header), deposit in zip(headers.items(), request.deposits, strict=True):
        if dealer == me and state.own_share is not None:
            shares[me] = state.own_share
            continue
        mine = frame.participants.holders(dealer).index(me)
        sealing.seal_is_complete(dealer, me, deposit)
        seal = Seal(me, deposit.nonce, deposit.ciphertext)
        held = sealing.open_seal(frame, state.seal_in[dealer], seal, dealer)
        sealing.check_share(frame, dealer, me, held, header.share_commitments[mine], culprit=dealer)
        shares[dealer] = held
    return shares


def _check_receipt_against(state: InRound, verified: VerifiedReceipt) -> None:
    """What the receipt says of this round is what this hospital was told and agreed to."""
    if verified.body.order_hash != state.frame.order_hash:
        raise ReceiptMismatch("the receipt names another order than the one this hospital was given")
    if isinstance(state, Settled | Opened) and verified.body.agreed_set != state.agreed_set:
        raise ReceiptMismatch("the receipt names another set than the one this hospital signed last")
    if isinstance(state, Agreed):
        signed = agreed_set.member_headers(_last_agreed(state))
        if not verified.members.items() <= signed.items():
            raise ReceiptMismatch("the receipt's set is not part of the one this hospital agreed to")
