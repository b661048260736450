"""The round order: everything that hospitals act on in a round, signed by the coordinator."""

from __future__ import annotations

import hashlib

from secagg import identity
from secagg.context import Context, label
from secagg.errors import WireError
from secagg.pairs import Participants
from secagg.roster import Roster
from secagg.secret import SecretBytes
from secagg.wire import codec
from secagg.wire.records import RoundOrder, Signed


def make_order(
    private: SecretBytes, context: Context, participants: Participants, order: RoundOrder
) -> tuple[bytes, bytes]:
    """The message of a round order, and the order's hash.

    Raises:
        WireError: no hospital would read it.
    """
    _check_previous(order)
    body = codec.encode(order)
    return _signed(private, context, participants, body), order_hash(context, participants, body)


def sign_order(
    private: SecretBytes, context: Context, participants: Participants, order: RoundOrder
) -> bytes:
    """The message of a round order, whatever it says."""
    return _signed(private, context, participants, codec.encode(order))


def _signed(private: SecretBytes, context: Context, participants: Participants, body: bytes) -> bytes:
    tag = label(context, "order", key_list=participants.hash)
    return codec.pack("round_order", Signed(body, identity.sign(private, tag, body)))


def read_order(
    data: bytes,
    roster: Roster,
    context: Context,
    participants: Participants,
    max_bytes: int = codec.DEFAULT_MAX_BYTES,
) -> tuple[RoundOrder, bytes]:
    """The verified order and its hash.

    Raises:
        WireError: not a round order.
        BadSignature: not signed by the coordinator for this study, session and key list.
    """
    signed = codec.unpack("round_order", Signed, data, max_bytes)
    tag = label(context, "order", key_list=participants.hash)
    coordinator = roster.coordinator
    identity.verify(
        coordinator.identity_key, tag, signed.body, signed.signature, what="round order", who=coordinator.id
    )
    order = codec.decode(RoundOrder, signed.body, max_bytes)
    _check_previous(order)
    return order, order_hash(context, participants, signed.body)


def _check_previous(order: RoundOrder) -> None:
    if len(order.previous_receipt) != (32 if order.previous_round else 0) or order.previous_round >= max(
        order.round, 1
    ):
        raise WireError("RoundOrder", "the previous receipt is not that of an earlier round")


def order_hash(context: Context, participants: Participants, body: bytes) -> bytes:
    """SHA-256 of the order's bytes in its context; in every label of the round."""
    digest = hashlib.sha256(label(context, "order-hash", key_list=participants.hash))
    digest.update(body)
    return digest.digest()
