"""Long orders and sums are hashed once, and never taken for one another."""

from __future__ import annotations

import hashlib
import tracemalloc
from collections.abc import Iterator

import pytest

from secagg import coordinator as co
from secagg import hospital as ho
from secagg import identity, long_hash
from secagg import order as orders
from secagg.context import label
from secagg.errors import BadSignature
from secagg.long_hash import LONG_BYTES, fingerprint, sha256_of
from secagg.wire import codec
from secagg.wire.records import Receipt, RoundOrder, Signed, VectorChunk
from tests.unit.secagg.rounds import consortium, key_of

LONG = bytes(range(256)) * (LONG_BYTES // 256)


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Lengths of what SHA-256 was taken of, of what is long."""
    lengths: list[int] = []
    real = hashlib.sha256

    def counting(data: bytes = b"") -> object:
        if len(data) >= LONG_BYTES:
            lengths.append(len(data))
        return real(data)

    monkeypatch.setattr("secagg.long_hash.hashlib.sha256", counting)
    monkeypatch.setattr(long_hash, "_last", long_hash._Hashed(b"", 0, 0, b""))
    return lengths


def test_same_part_of_the_same_bytes_is_hashed_once(hashed: list[int]) -> None:
    whole = LONG + LONG
    first, second = memoryview(whole)[: len(LONG)], memoryview(whole)[len(LONG) :]
    assert sha256_of(first) == sha256_of(memoryview(whole)[: len(LONG)]) == hashlib.sha256(LONG).digest()
    assert len(hashed) == 1 + 1
    assert sha256_of(second) == sha256_of(second[:])
    assert len(hashed) == 1 + 2
    assert sha256_of(memoryview(whole)[1 : len(LONG) + 1]) != sha256_of(first)


def test_what_can_change_is_not_remembered() -> None:
    buffer = bytearray(LONG)
    before = sha256_of(memoryview(buffer))
    buffer[7] ^= 1
    assert sha256_of(memoryview(buffer)) == hashlib.sha256(buffer).digest() != before


def order_of(model: bytes, signature: bytes = bytes(64)) -> bytes:
    body = codec.encode(RoundOrder(1, "train", model, b"settings", 0, b""))
    return codec.pack("round_order", Signed(body, signature))


def receipt_of(total: bytes, body: bytes = b"body") -> bytes:
    return codec.pack("receipt", Receipt(Signed(body, bytes(64)), total))


def test_fingerprint_is_another_for_every_change() -> None:
    other = LONG[:-1] + b"x"
    messages = [
        order_of(LONG),
        order_of(other),
        order_of(LONG, b"\x01" + bytes(63)),
        receipt_of(LONG),
        receipt_of(other),
        receipt_of(LONG, b"another"),
        codec.pack("vector_chunk", VectorChunk(1, 0, LONG)),
        codec.pack("vector_chunk", VectorChunk(1, 0, other)),
        order_of(LONG) + b"left over",
        LONG,
        b"short",
    ]
    assert len({fingerprint(message) for message in messages}) == len(messages)
    assert fingerprint(b"short") == hashlib.sha256(b"short").digest()


def test_short_message_made_of_a_long_ones_hash_is_another() -> None:
    message = order_of(LONG)
    body = codec.unpack("round_order", Signed, message).body
    head, tail = message.split(body)
    fake = head + hashlib.sha256(body).digest() + tail
    assert fingerprint(fake) != fingerprint(message)


def test_order_is_hashed_once_by_all_who_ask(hashed: list[int]) -> None:
    c = consortium(dim=LONG_BYTES // 4)
    _, message = co.start_round(c.session, 1, "train", LONG, b"s")
    assert fingerprint(message) == fingerprint(message)
    state = c.hospitals["h000"]
    assert isinstance(state, ho.Ready)
    _, told = ho.accept_order(state, message)
    assert told.model == LONG
    # One pass by the recognition, none by the order's hash. The coordinator hashes pieces, the model is one of them.
    assert len(hashed) == 1


def test_order_is_decoded_after_its_signature_alone() -> None:
    c = consortium()
    state = c.hospitals["h000"]
    assert isinstance(state, ho.Ready)
    body = b"\xff no order"
    told = orders.order_hash(c.context, c.session.participants, hashlib.sha256(body).digest())
    tag = label(c.context, "order", key_list=c.session.participants.hash)
    for signer, signed in (
        ("h001", told),
        ("coordinator", body),
        ("coordinator", hashlib.sha256(body).digest()),
    ):
        message = codec.pack("round_order", Signed(body, identity.sign(key_of(signer), tag, signed)))
        with pytest.raises(BadSignature):
            ho.accept_order(state, message)


def test_forged_long_order_costs_no_memory() -> None:
    c = consortium()
    state = c.hospitals["h000"]
    assert isinstance(state, ho.Ready)
    message = order_of(LONG * 8)
    tracemalloc.start()
    try:
        fingerprint(message)
        with pytest.raises(BadSignature):
            ho.accept_order(state, message)
        assert tracemalloc.get_traced_memory()[1] < LONG_BYTES // 4
    finally:
        tracemalloc.stop()


def test_model_of_an_order_is_a_view_of_its_message() -> None:
    c = consortium()
    _, message = co.start_round(c.session, 1, "train", LONG, b"settings")
    told, _ = orders.read_order(message, c.roster, c.context, c.session.participants)
    assert isinstance(told.model, memoryview)
    assert told.model.obj is message
    assert type(told.settings) is bytes
    assert type(told.previous_receipt) is bytes


def test_a_part_counts_in_bytes_whatever_its_items(hashed: list[int]) -> None:
    """As many numbers of four bytes as there were bytes before are another part."""
    whole = LONG * 4
    sha256_of(memoryview(whole)[: len(LONG)])
    assert sha256_of(memoryview(whole).cast("I")) == hashlib.sha256(whole).digest()
