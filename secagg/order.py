"""The round order: everything that hospitals act on in a round, signed by the coordinator."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from secagg import identity
from secagg.context import Context, label
from secagg.errors import WireError
from secagg.long_hash import sha256_of
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
    return _signed(private, context, participants, order)


def sign_order(
    private: SecretBytes, context: Context, participants: Participants, order: RoundOrder
) -> bytes:
    """The message of a round order, whatever it says."""
    return _signed(private, context, participants, order)[0]


def _signed(
    private: SecretBytes, context: Context, participants: Participants, order: RoundOrder
) -> tuple[bytes, bytes]:
    """The message and the hash that its signature is on; the order's bytes, with a model in them, are copied once."""
    parts = codec.encode_parts(order)
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    told = order_hash(context, participants, digest.digest())
    signature = identity.sign(private, label(context, "order", key_list=participants.hash), told)
    return codec.pack_signed("round_order", parts, signature), told


def read_order(
    data: bytes,
    roster: Roster,
    context: Context,
    participants: Participants,
    max_bytes: int = codec.DEFAULT_MAX_BYTES,
) -> tuple[RoundOrder, bytes]:
    """The verified order and its hash. Nothing of it is decoded before its signature was checked; its model is a view of `data`.

    Raises:
        WireError: not a round order.
        BadSignature: not signed by the coordinator for this study, session and key list.
    """
    signed = codec.unpack_views("round_order", Signed, data, max_bytes)
    told = order_hash(context, participants, sha256_of(signed.body))
    coordinator = roster.coordinator
    identity.verify(
        coordinator.identity_key,
        label(context, "order", key_list=participants.hash),
        told,
        bytes(signed.signature),
        what="round order",
        who=coordinator.id,
    )
    views = codec.decode_views(RoundOrder, signed.body, max_bytes)
    settings, previous = bytes(views.settings), bytes(views.previous_receipt)
    order = replace(views, settings=settings, previous_receipt=previous)
    _check_previous(order)
    return order, told


def _check_previous(order: RoundOrder) -> None:
    if len(order.previous_receipt) != (32 if order.previous_round else 0) or order.previous_round >= max(
        order.round, 1
    ):
        raise WireError("RoundOrder", "the previous receipt is not that of an earlier round")


def order_hash(context: Context, participants: Participants, body_sha256: bytes) -> bytes:
    """Of the order's bytes, by their SHA-256, in its context: what the coordinator signs, and in every label of the round."""
    tag = label(context, "order-hash", key_list=participants.hash)
    return hashlib.sha256(tag + body_sha256).digest()
