"""One message has one form; everything else is refused, without a crash."""

from __future__ import annotations

import pytest

from secagg.errors import WireError
from secagg.wire import codec, records, wardround_pb2
from secagg.wire.records import AgreedSet, KeyList, SetMember, Signed, VectorChunk
from tests.library_wire import hints

SIGNED = Signed(b"body", bytes(64))
SET = AgreedSet(1, bytes(32), (SetMember("a", bytes(32)), SetMember("b", bytes(32))))


def test_round_trip_and_kind() -> None:
    data = codec.pack("advert", SIGNED)
    assert codec.unwrap(data) == ("advert", codec.encode(SIGNED))
    assert codec.unpack("advert", Signed, data) == SIGNED
    with pytest.raises(WireError, match="advert came instead"):
        codec.unpack("key_list", KeyList, data)


def test_every_kind_has_a_record_and_a_message() -> None:
    kinds = {field.name for field in wardround_pb2.Message.DESCRIPTOR.oneofs_by_name["kind"].fields}
    assert kinds == codec.KINDS.keys()
    for record in codec.KINDS.values():
        described = getattr(wardround_pb2, record.__name__).DESCRIPTOR
        assert [f.name for f in described.fields] == [name for name, _ in hints(record)]


def test_leftover_and_unknown_fields_are_refused() -> None:
    data = codec.encode(SIGNED)
    for extra in (b"\x00", b"\x7a\x01x", b"\x12\x00"):
        with pytest.raises(WireError):
            codec.decode(Signed, data + extra)


def test_second_spellings_are_refused() -> None:
    body, signature = data_parts()
    for data in (signature + body, body + body + signature, body + signature + b"\x0a\x00"):
        with pytest.raises(WireError):
            codec.decode(Signed, data)


def data_parts() -> tuple[bytes, bytes]:
    data = codec.encode(SIGNED)
    return data[:6], data[6:]


def test_explicit_default_is_refused() -> None:
    with pytest.raises(WireError):
        codec.decode(records.Abort, codec.encode(records.Abort(0, "why", "")) + b"\x08\x00")


@pytest.mark.parametrize(
    "bad",
    [
        Signed(b"", bytes(63)),
        AgreedSet(1, bytes(31), SET.members),
        AgreedSet(1 << 63, bytes(32), SET.members),
        AgreedSet(-1, bytes(32), SET.members),
        AgreedSet(1, bytes(32), SET.members[::-1]),
        AgreedSet(1, bytes(32), (SET.members[0], SET.members[0])),
        AgreedSet(1, bytes(32), (SetMember("No", bytes(32)),)),
        AgreedSet(1, bytes(32), (SetMember("", bytes(32)),)),
        records.Abort(1, "line\nbreak", ""),
        records.Abort(1, "x" * 2001, ""),
        records.Abort(1, "x", "../up"),
        VectorChunk(1, 0, b""),
        VectorChunk(1, 0, bytes(records.MAX_CHUNK_BYTES + 1)),
    ],
    ids=lambda record: repr(record)[:40],
)
def test_bounds_hold_on_both_sides(bad: object) -> None:
    with pytest.raises(WireError):
        codec.encode(bad)


def test_bounds_hold_for_bytes_of_a_foreign_encoder() -> None:
    message = wardround_pb2.AgreedSet(round=1, order_hash=bytes(32))
    for name in ("b", "a"):
        message.members.add(hospital=name, header_hash=bytes(32))
    with pytest.raises(WireError, match="order"):
        codec.decode(AgreedSet, message.SerializeToString())


def test_duplicate_ids_are_refused() -> None:
    message = wardround_pb2.AgreedSet(round=1, order_hash=bytes(32))
    for _ in range(2):
        message.members.add(hospital="a", header_hash=bytes(32))
    with pytest.raises(WireError, match="repeated"):
        codec.decode(AgreedSet, message.SerializeToString())


def test_missing_part_is_refused() -> None:
    with pytest.raises(WireError, match="missing"):
        codec.decode(records.Receipt, b"")


@pytest.mark.threat("FL-19", control="C-LIMITS")
def test_length_is_bounded_before_parsing() -> None:
    with pytest.raises(WireError, match="exceed"):
        codec.decode(AgreedSet, bytes(1000), max_bytes=999)


def test_no_kind_and_two_kinds_are_refused() -> None:
    with pytest.raises(WireError):
        codec.unwrap(b"")
    with pytest.raises(WireError):
        codec.unwrap(codec.wrap("advert", b"x") + codec.wrap("hello", b"y"))


def test_vector_chunks_cover_the_vector() -> None:
    vector = bytes(range(256)) * 4
    chunks = [codec.unpack("vector_chunk", VectorChunk, m) for m in codec.vector_chunks(3, vector, 300)]
    assert b"".join(chunk.data for chunk in chunks) == vector
    assert [chunk.offset for chunk in chunks] == [0, 300, 600, 900]


def test_messages_are_unwrapped_as_protobuf_would() -> None:
    """The hand-written envelope takes and makes exactly what the schema's own serializer does."""
    for kind in codec.KINDS:
        for payload in (b"", b"x", bytes(127), bytes(128), bytes(70_000)):
            wrapped = codec.wrap(kind, payload)
            assert wrapped == wardround_pb2.Message(**{kind: payload}).SerializeToString(deterministic=True)
            assert codec.unwrap(wrapped) == (kind, payload)
    known = codec.wrap("hello", b"x" * 200)
    for bad in (
        b"",
        known + b"\0",
        known[:-1],
        known + known,
        b"\x0a\xc8\x81\x00" + b"x" * 200,
        b"\x8a\x00\x01x",
        b"\x08\x01",
        b"\x92",
        b"\x0a",
        b"\x0a\xff\xff\xff\xff\xff",
        b"\x82\x02\x01x",
    ):
        with pytest.raises(WireError):
            codec.unwrap(bad)
