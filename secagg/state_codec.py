"""A hospital's state to bytes and back, for its journal.

The bytes hold the session's secrets in plain and everything needed to go on, except the identity key: that has its own
file. Equal states give equal bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

from secagg import identity
from secagg.context import Context
from secagg.errors import ParameterError, SecAggError, WireError
from secagg.pairs import Participants, RoundFrame, RoundSecrets
from secagg.params import SecAggParams
from secagg.receipt import ReceiptRef
from secagg.roster import parse_roster
from secagg.sealing import HeldShare
from secagg.secret import SecretBytes
from secagg.states import Advertised, Agreed, HospitalState, InRound, Opened, Ordered, Ready, Seat, Uploaded
from secagg.wire import codec
from secagg.wire.records import OpenedShare
from secagg.wire.stored import StoredReady, StoredRound, StoredSeat, StoredSecret, StoredState

T = TypeVar("T")

MAX_STATE_BYTES = 4 << 20


def encode_state(state: HospitalState) -> bytes:
    """The bytes of a state."""
    match state:
        case Advertised():
            return codec.encode(_stored(state, state.seat, state.highest_round, state.last_receipt))
        case Ready():
            return codec.encode(_stored(state, state.seat, state.highest_round, state.last_receipt))
        case _:
            after = state.after
            return codec.encode(_stored(state, after.seat, after.highest_round, after.last_receipt))


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
    if stored.kind == "Advertised":
        return Advertised(seat, SecretBytes(stored.session_key), stored.highest_round, receipt)
    ready = _ready(_only(stored.ready, "ready"), seat, stored.highest_round, receipt)
    return ready if stored.kind == "Ready" else _in_round(stored.kind, ready, _only(stored.round, "round"))


def _stored(state: HospitalState, seat: Seat, highest_round: int, receipt: ReceiptRef) -> StoredState:
    key = b""
    ready: tuple[StoredReady, ...] = ()
    rounds: tuple[StoredRound, ...] = ()
    match state:
        case Advertised():
            key = state.session_key.reveal()
        case Ready():
            ready = (_store_ready(state),)
        case _:
            ready, rounds = (_store_ready(state.after),), (_store_round(state),)
    params, context = seat.params, seat.context
    stored_seat = StoredSeat(
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
    )
    kind = type(state).__name__
    return StoredState(kind, stored_seat, highest_round, receipt.round, receipt.hash, key, ready, rounds)


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
            own = _shares({state.after.seat.me: state.own_share})
            seeds, keys = _secrets(state.mask_seeds), _secrets(state.seal_in)
            return StoredRound(number, told, seeds, (), keys, state.own_header_hash, b"", own)
        case Agreed():
            seeds, shares = _secrets(state.mask_seeds), _shares(state.shares)
            return StoredRound(number, told, seeds, (), (), state.own_header_hash, state.agreed_set, shares)
        case Opened():
            return StoredRound(number, told, (), (), (), b"", state.agreed_set, ())


def _secrets(by_peer: Mapping[str, SecretBytes]) -> tuple[StoredSecret, ...]:
    return tuple(StoredSecret(peer, secret.reveal()) for peer, secret in by_peer.items())


def _shares(by_dealer: Mapping[str, HeldShare]) -> tuple[OpenedShare, ...]:
    return tuple(
        OpenedShare(dealer, held.share.reveal(), held.opening.reveal()) for dealer, held in by_dealer.items()
    )


def _seat(stored: StoredSeat, identity_key: SecretBytes) -> Seat:
    params = SecAggParams(stored.n, stored.colluding, stored.threshold, stored.modulus_bits, stored.dim)
    roster = parse_roster(stored.roster)
    context = Context(stored.version, stored.study_hash, roster.hash, stored.session_id)
    roster.position(stored.me)
    return Seat(identity_key, params, roster, context, stored.me)


def _ready(stored: StoredReady, seat: Seat, highest_round: int, receipt: ReceiptRef) -> Ready:
    keys = {entry.hospital: entry.secret for entry in stored.keys}
    participants = Participants(stored.key_list_hash, stored.first_round, keys)
    return Ready(seat, participants, _by_peer(stored.chains), stored.chain_round, highest_round, receipt)


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
            if after.seat.me not in shares:
                raise WireError("StoredState.round", "the own share is missing")
            return Uploaded(after, frame, seeds, seal_in, shares[after.seat.me], stored.own_header_hash)
        case "Agreed":
            return Agreed(after, frame, seeds, stored.own_header_hash, stored.agreed_set, shares)
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
