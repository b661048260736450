"""What a state of the protocol says about rounds and sessions, whichever of its states it is."""

from __future__ import annotations

from dataclasses import replace

from secagg import hospital as protocol
from secagg.drawing import draw_participants, read_listed
from secagg.pairs import read_key_list
from secagg.receipt import NO_RECEIPT, ReceiptRef
from secagg.states import HospitalState, Joining, Ready
from secagg.wire import codec
from secagg.wire.records import GraphSeed


def history(state: HospitalState | None) -> tuple[int, ReceiptRef]:
    """The highest round ever started and the latest receipt, carried into a new session."""
    match state:
        case None:
            return 0, NO_RECEIPT
        case _ if isinstance(state, Joining):
            return state.highest_round, state.last_receipt
        case _:
            ready = protocol.close_round(state)
            return ready.highest_round, ready.last_receipt


def receipted(state: HospitalState, last: ReceiptRef) -> HospitalState:
    """The state behind the receipt of the latest sum, which is not journaled where the sum's record brings it back."""
    if isinstance(state, Joining):
        return state
    ready = protocol.close_round(state)
    if last.round < ready.highest_round or last.round <= ready.last_receipt.round:
        return state
    return replace(ready, highest_round=last.round, last_receipt=last)


def session_id(state: HospitalState | None) -> bytes:
    """The session that is under way, empty for none."""
    match state:
        case None:
            return b""
        case _ if isinstance(state, Joining):
            return state.seat.context.session_id
        case _:
            return protocol.close_round(state).seat.context.session_id


def journal_round(state: HospitalState) -> int:
    """The highest round that a state has seen, under which the journal files it."""
    if isinstance(state, Joining):
        return state.highest_round
    return protocol.close_round(state).highest_round


def is_known(key_list: bytes, state: Ready) -> bool:
    """The key list of the session that is under way, sent again to a restarted node."""
    seat, payload = state.seat, codec.expect("key_list", key_list)
    if seat.params.neighborhood is None:
        again = read_key_list(payload, seat.params, seat.roster, seat.context)
        return again.hash == state.participants.hash
    # The hash of a sparse graph's session holds the contributions too; those come next.
    listed = read_listed(payload, seat.params, seat.roster)
    keys = {advert.hospital: advert.key for advert in listed.adverts}
    return keys == state.participants.keys and listed.first_round == state.participants.first_round


def is_known_seed(seed: bytes, key_list: bytes, state: Ready) -> bool:
    """The graph of the session that is under way, sent again to a restarted node behind its key list."""
    seat = state.seat
    if not key_list or seat.params.neighborhood is None:
        return False
    listed = read_listed(codec.expect("key_list", key_list), seat.params, seat.roster)
    contributions = codec.unpack("graph_seed", GraphSeed, seed, 100 * seat.params.n + 1000).contributions
    again = draw_participants(listed, contributions, seat.params, seat.roster, seat.context)
    return again.hash == state.participants.hash
