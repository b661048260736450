"""A hospital's state to bytes and back, for its journal.

The bytes hold the session's secrets in plain and everything needed to go on, except the identity key: that has its own
file. Equal states give equal bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar, cast

from secagg import identity
from secagg.context import Context
from secagg.drawing import read_listed
from secagg.errors import ParameterError, SecAggError, WireError
from secagg.graph import draw_graph
from secagg.pairs import Participants, RoundFrame, RoundSecrets
from secagg.params import Neighborhood, SecAggParams
from secagg.receipt import ReceiptRef
from secagg.roster import parse_roster
from secagg.sealing import HeldShare
from secagg.secret import SecretBytes
from secagg.states import (
    Advertised,
    Agreed,
    HospitalState,
    InRound,
    Opened,
    Ordered,
    Ready,
    Revealed,
    Seat,
    Settled,
    Uploaded,
)
from secagg.wire import codec, flat
from secagg.wire.flat import Written
from secagg.wire.records import OpenedShare
from secagg.wire.stored import StoredReady, StoredRound, StoredSeat, StoredSecret, StoredState

T = TypeVar("T")

MAX_STATE_BYTES = 4 << 20


def encode_state(state: HospitalState) -> bytes:
    """The bytes of a state."""
    match state:
        case Advertised() | Ready():
            return codec.encode(_stored(state, state))
        case Revealed():
            return codec.encode(_stored(state, state.advertised))
        case _:
            return codec.encode(_stored(state, state.after))


def decode_state(data: bytes, identity_key: SecretBytes) -> HospitalState:
    """The state of these bytes.

    Args:
        data: made by `encode_state`.
        identity_key: the hospital's Ed25519 seed, from its own file.

    Raises:
        WireError: not the bytes of a state.
        ParameterError: the state belongs to another identity.
    """
    stored = codec.decode(StoredState, data, MAX_STATE_BYTES)
    try:
        seat = _seat(stored.seat, identity_key)
    except WireError:
        raise
    except SecAggError as error:
        raise WireError("StoredState.seat", str(error)) from None
    if identity.public_key(identity_key) != seat.roster.member(seat.me).identity_key:
        raise ParameterError(
            f"the stored state is that of {seat.me}; give the identity key that belongs to it"
        )
    receipt = ReceiptRef(stored.receipt_round, stored.receipt_hash)
    if stored.kind in ("Advertised", "Revealed"):
        return _joining(stored, seat, receipt)
    ready = _ready(_only(stored.ready, "ready"), seat, stored.highest_round, receipt, stored.graphs)
    return ready if stored.kind == "Ready" else _in_round(stored.kind, ready, _only(stored.round, "round"))


def _joining(stored: StoredState, seat: Seat, receipt: ReceiptRef) -> Advertised | Revealed:
    contribution = SecretBytes(stored.contribution) if stored.contribution else None
    key = SecretBytes(stored.session_key)
    advertised = Advertised(seat, key, stored.highest_round, receipt, contribution, stored.graphs)
    if stored.kind == "Advertised":
        return advertised
    try:
        return Revealed(advertised, read_listed(stored.key_list, seat.params, seat.roster))
    except WireError:
        raise
    except SecAggError as error:
        raise WireError("StoredState.key_list", str(error)) from None


def _stored(state: HospitalState, between: Advertised | Ready) -> StoredState:
    key = contribution = key_list = b""
    ready: tuple[StoredReady, ...] = ()
    rounds: tuple[StoredRound, ...] = ()
    match state:
        case Advertised():
            key = state.session_key.reveal()
            contribution = state.contribution.reveal() if state.contribution else b""
        case Revealed():
            key, key_list = state.advertised.session_key.reveal(), state.listed.payload
        case Ready():
            ready = (cast(StoredReady, _stored_ready(state)),)
        case _:
            ready, rounds = (cast(StoredReady, _stored_ready(state.after)),), (_store_round(state),)
    return StoredState(
        type(state).__name__,
        cast(StoredSeat, _stored_seat(between.seat)),
        between.highest_round,
        between.last_receipt.round,
        between.last_receipt.hash,
        key,
        ready,
        rounds,
        contribution,
        between.graphs,
        key_list,
    )


def _stored_seat(seat: Seat) -> Written:
    return seat.stored.get(lambda: flat.written(_store_seat(seat)))


def _stored_ready(ready: Ready) -> Written:
    return ready.stored.get(lambda: flat.written(_store_ready(ready)))


def _store_seat(seat: Seat) -> StoredSeat:
    params, context = seat.params, seat.context
    return StoredSeat(
        seat.me,
        params.n,
        params.colluding,
        params.threshold,
        params.modulus_bits,
        params.dim,
        seat.roster.canonical,
        context.version,
        context.study_hash,
        context.session_id,
        params.neighborhood.degree if params.neighborhood else 0,
        params.neighborhood.threshold if params.neighborhood else 0,
    )


def _store_ready(ready: Ready) -> StoredReady:
    took_part = ready.participants
    keys = tuple(StoredSecret(peer, key) for peer, key in took_part.keys.items())
    return StoredReady(took_part.hash, took_part.first_round, keys, _secrets(ready.chains), ready.chain_round)


def _store_round(state: InRound) -> StoredRound:
    number, told = state.frame.round, state.frame.order_hash
    match state:
        case Ordered():
            mine = state.secrets.items()
            return StoredRound(
                number,
                told,
                _secrets({peer: secrets.mask_seed for peer, secrets in mine}),
                _secrets({peer: secrets.seal_out for peer, secrets in mine}),
                _secrets({peer: secrets.seal_in for peer, secrets in mine}),
                b"",
                b"",
                (),
            )
        case Uploaded():
            own = _shares({state.after.seat.me: state.own_share} if state.own_share else {})
            seeds, keys = _secrets(state.mask_seeds), _secrets(state.seal_in)
            return StoredRound(number, told, seeds, (), keys, state.own_header_hash, b"", own)
        case Agreed():
            seeds, shares = _secrets(state.mask_seeds), _shares(state.shares)
            return StoredRound(number, told, seeds, (), (), state.own_header_hash, state.agreed_set, shares)
        case Settled():
            return StoredRound(number, told, (), (), (), b"", state.agreed_set, _shares(state.shares))
        case Opened():
            return StoredRound(number, told, (), (), (), b"", state.agreed_set, ())


def _secrets(by_peer: Mapping[str, SecretBytes]) -> tuple[StoredSecret, ...]:
    return tuple(StoredSecret(peer, secret.reveal()) for peer, secret in by_peer.items())


def _shares(by_dealer: Mapping[str, HeldShare]) -> tuple[OpenedShare, ...]:
    return tuple(
        OpenedShare(dealer, held.share.reveal(), held.opening.reveal()) for dealer, held in by_dealer.items()
    )


def _seat(stored: StoredSeat, identity_key: SecretBytes) -> Seat:
    sparse = Neighborhood(stored.degree, stored.neighbor_threshold) if stored.degree else None
    params = SecAggParams(
        stored.n, stored.colluding, stored.threshold, stored.modulus_bits, stored.dim, sparse
    )
    roster = parse_roster(stored.roster)
    context = Context(stored.version, stored.study_hash, roster.hash, stored.session_id)
    roster.position(stored.me)
    return Seat(identity_key, params, roster, context, stored.me)


def _ready(stored: StoredReady, seat: Seat, highest_round: int, receipt: ReceiptRef, graphs: int) -> Ready:
    keys = {entry.hospital: entry.secret for entry in stored.keys}
    drawn, neighborhood = None, seat.params.neighborhood
    if neighborhood is not None:
        present = frozenset(keys)
        drawn = draw_graph(seat.context, stored.key_list_hash, seat.roster.ids, neighborhood.degree, present)
    participants = Participants(stored.key_list_hash, stored.first_round, keys, drawn)
    chains = _by_peer(stored.chains)
    return Ready(seat, participants, chains, stored.chain_round, highest_round, receipt, graphs)


def _in_round(kind: str, after: Ready, stored: StoredRound) -> InRound:
    frame = RoundFrame(after.seat.context, after.participants, stored.round, stored.order_hash)
    seeds, seal_in = _by_peer(stored.mask_seeds), _by_peer(stored.seal_in)
    shares = {
        entry.dealer: HeldShare(SecretBytes(entry.share), SecretBytes(entry.opening))
        for entry in stored.shares
    }
    match kind:
        case "Ordered":
            seal_out = _by_peer(stored.seal_out)
            if not seeds.keys() == seal_out.keys() == seal_in.keys():
                raise WireError("StoredState.round", "the round's secrets are not complete")
            return Ordered(
                after,
                frame,
                {peer: RoundSecrets(seeds[peer], seal_out[peer], seal_in[peer]) for peer in seeds},
            )
        case "Uploaded":
            own = shares.get(after.seat.me)
            if (own is None) != (after.participants.graph is not None):
                raise WireError("StoredState.round", "the own share is missing, or one too many")
            return Uploaded(after, frame, seeds, seal_in, own, stored.own_header_hash)
        case "Agreed":
            return Agreed(after, frame, seeds, stored.own_header_hash, stored.agreed_set, shares)
        case "Settled":
            return Settled(after, frame, stored.agreed_set, shares)
        case "Opened":
            return Opened(after, frame, stored.agreed_set)
        case _:
            raise WireError("StoredState.kind", "no such state")


def _by_peer(stored: Iterable[StoredSecret]) -> dict[str, SecretBytes]:
    return {entry.hospital: SecretBytes(entry.secret) for entry in stored}


def _only(entries: tuple[T, ...], name: str) -> T:
    if len(entries) != 1:
        raise WireError(f"StoredState.{name}", "it is missing")
    return entries[0]
