"""The receipt of a round: the coordinator's signed, chained account of what was summed, over whom."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import cast

from secagg import identity
from secagg.agreed_set import check_signatures, member_headers, read_set
from secagg.context import Context, label
from secagg.errors import ReceiptMismatch
from secagg.long_hash import sha256_of
from secagg.pairs import Participants, RoundFrame
from secagg.params import PROTOCOL_VERSION, SecAggParams
from secagg.roster import Roster
from secagg.secret import SecretBytes
from secagg.wire import codec
from secagg.wire.records import Receipt, ReceiptBody, Signed


@dataclass(frozen=True, slots=True)
class ReceiptRef:
    """The latest receipt that a party knows; round 0 and no hash before the first."""

    round: int = 0
    hash: bytes = b""


NO_RECEIPT = ReceiptRef()


@dataclass(frozen=True, slots=True)
class VerifiedReceipt:
    """A receipt whose signature holds.

    Attributes:
        body: as signed by the coordinator.
        members: id to header hash of those who are in the sum.
        ref: what the next order must name.
        sum: little-endian ring elements, or empty if left out; may be a view of the message.
    """

    body: ReceiptBody
    members: dict[str, bytes]
    ref: ReceiptRef
    sum: bytes


def sign_receipt(
    private: SecretBytes, context: Context, body: ReceiptBody, total: bytes | memoryview
) -> bytes:
    """The message of a receipt that carries the sum."""
    data = codec.encode(body)
    signed = Signed(data, identity.sign(private, label(context, "receipt"), data))
    return codec.pack("receipt", Receipt(signed, cast(bytes, total)))


def read_receipt(
    data: bytes,
    roster: Roster,
    context: Context,
    params: SecAggParams,
    max_bytes: int = codec.DEFAULT_MAX_BYTES,
) -> VerifiedReceipt:
    """Verify a receipt with nothing but public values; a hospital, and an auditor years later.

    The context carries the session of the receipt; the members' signatures are checked against the threshold.

    Raises:
        WireError: not a receipt.
        BadSignature: by the coordinator or by a member.
        TooFewSurvivors: fewer than the threshold signed.
        ReceiptMismatch: the sum is not the one whose hash is signed or has another length, or the parts name different rounds.
    """
    return _verified(codec.unpack_views("receipt", Receipt, data, max_bytes), roster, context, params)


def _verified(
    receipt: Receipt,
    roster: Roster,
    context: Context,
    params: SecAggParams,
    body: ReceiptBody | None = None,
) -> VerifiedReceipt:
    """Of a receipt whose fields may be views of a message; its sum stays one. The body, where it was read to find the context."""
    coordinator = roster.coordinator
    signed_body = bytes(receipt.signed.body)
    identity.verify(
        coordinator.identity_key,
        label(context, "receipt"),
        signed_body,
        bytes(receipt.signed.signature),
        what="receipt",
        who=coordinator.id,
    )
    body = body or _body(signed_body, params)
    if body.session_id != context.session_id:
        raise ReceiptMismatch("the receipt names another session", coordinator.id)
    agreed = read_set(body.agreed_set, params)
    if (agreed.round, agreed.order_hash) != (body.round, body.order_hash):
        raise ReceiptMismatch("the signed set belongs to another round", coordinator.id)
    if receipt.sum and len(receipt.sum) != params.dim * params.modulus_bits // 8:
        raise ReceiptMismatch("the sum has another length than the study's vectors", coordinator.id)
    if receipt.sum and sha256_of(receipt.sum) != body.sum_sha256:
        raise ReceiptMismatch("the sum is not the one that the receipt signs", coordinator.id)
    if len(body.previous_receipt) != (32 if body.previous_round else 0) or body.previous_round >= max(
        body.round, 1
    ):
        raise ReceiptMismatch("the previous receipt is not that of an earlier round", coordinator.id)
    frame = RoundFrame(context, Participants(body.key_list_hash, 0, {}), body.round, body.order_hash)
    check_signatures(body.signatures, body.agreed_set, frame, params, roster)
    return VerifiedReceipt(
        body, member_headers(agreed), ReceiptRef(body.round, receipt_hash(context, signed_body)), receipt.sum
    )


def audit_receipt(data: bytes, study_hash: bytes, roster: Roster, params: SecAggParams) -> VerifiedReceipt:
    """`read_receipt` for who did not live through the session: the receipt names its session itself.

    Raises:
        As `read_receipt`.
    """
    receipt = codec.unpack_views("receipt", Receipt, data)
    body = _body(receipt.signed.body, params)
    context = Context(PROTOCOL_VERSION, study_hash, roster.hash, body.session_id)
    return _verified(receipt, roster, context, params, body)


def audit_ref(data: bytes, study_hash: bytes, roster: Roster, params: SecAggParams) -> ReceiptRef:
    """What the next order names of a receipt, for the coordinator that made it: everything is verified but the sum, which was when it was made.

    Raises:
        As `read_receipt`.
    """
    signed = codec.unpack_views("receipt", Receipt, data).signed
    body = _body(signed.body, params)
    context = Context(PROTOCOL_VERSION, study_hash, roster.hash, body.session_id)
    return _verified(Receipt(signed, b""), roster, context, params, body).ref


def _body(data: bytes, params: SecAggParams) -> ReceiptBody:
    return codec.decode(ReceiptBody, data, 1000 * params.n + 1000)


def receipt_hash(context: Context, body: bytes) -> bytes:
    """SHA-256 of the receipt's signed bytes; the next order names it."""
    return hashlib.sha256(label(context, "receipt-hash") + body).digest()


def without_sum(data: bytes) -> bytes:
    """The same receipt without the sum, for the evidence folder; the signature stays good."""
    receipt = codec.unpack_views("receipt", Receipt, data)
    return codec.pack("receipt", Receipt(receipt.signed, b""))
