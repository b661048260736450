"""The reader and the writer of records against the protobuf library: what one takes, the other does, and it says the same."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secagg.errors import WireError
from secagg.wire import codec, flat
from secagg.wire.records import AgreedSet, GraphSeed, RoundOrder, SetMember, Signed, VectorChunk
from tests.library_wire import decoded, encoded
from tests.properties.test_secagg_codec import RECORDS, record_of

QUICK = settings(deadline=None, max_examples=40)
BYTES = st.binary(max_size=60) | st.lists(
    st.sampled_from(
        [b"\x08", b"\x0a", b"\x12", b"\x1a", b"\x10", b"\x00", b"\x01", b"\x02", b"\x80", b"\xff", b"a"]
    ),
    max_size=20,
).map(b"".join)


def outcome(read: Any, *arguments: Any) -> Any:
    try:
        return read(*arguments)
    except WireError:
        return WireError


def agree(record: Any, data: bytes) -> None:
    expected = outcome(decoded, record, data)
    assert outcome(codec.decode, record, data) == expected
    framed = b"x" + data + b"y"
    assert outcome(flat.read, record, framed, 1, len(framed) - 1, record.__name__) == expected


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.__name__)
@given(data=st.data())
@QUICK
def test_both_writers_agree(record: Any, data: st.DataObject) -> None:
    value = data.draw(record_of(record))
    assert codec.encode(value) == encoded(value)


@pytest.mark.threat("FL-19", control="C-LIMITS")
@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.__name__)
@given(data=st.data())
@QUICK
def test_both_readers_agree(record: Any, data: st.DataObject) -> None:
    value = data.draw(record_of(record))
    written = codec.encode(value)
    agree(record, written)
    changed = bytearray(written)
    for _ in range(data.draw(st.integers(1, 3))):
        if changed:
            changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    agree(record, bytes(changed) + data.draw(st.binary(max_size=3)))
    agree(record, data.draw(BYTES))


@pytest.mark.parametrize(
    "data",
    [
        b"\x08\x00",  # a number with its default
        b"\x08\x81\x00",  # a number in more bytes than it needs
        b"\x08" + b"\xff" * 9 + b"\x01",  # 2^64 - 1
        b"\x08" + b"\xff" * 9 + b"\x7f",  # more than 64 bits
        b"\x1a\x00",  # an empty field of bytes
        b"\x1a\x05a",  # longer than what is left
        b"\x10\x01\x08\x01",  # out of order
        b"\x08\x01\x08\x02",  # twice
        b"\x20\x01",  # unknown
        b"\x0a\x01a",  # of another wire type
        b"\x08",  # nothing behind the tag
        # The same in front of what makes the rest a good chunk.
        b"\x08\x00\x1a\x01a",
        b"\x08\x81\x00\x1a\x01a",
        b"\x1a\x81\x00a",
        b"\x08\x01\x08\x02\x1a\x01a",
        b"\x10\x01\x08\x01\x1a\x01a",
        b"\x1a\x01a\x20\x01",
    ],
)
def test_a_second_spelling_is_refused(data: bytes) -> None:
    assert codec.decode(VectorChunk, b"\x08\x01\x10\x01\x1a\x01a") == VectorChunk(1, 1, b"a")
    agree(VectorChunk, data)
    with pytest.raises(WireError):
        codec.decode(VectorChunk, data)


@pytest.mark.parametrize(
    "record",
    [
        Signed(b"a", bytes(63)),
        Signed("a", bytes(64)),  # type: ignore[arg-type]  # text, on purpose
        RoundOrder(-1, "train", b"", b"", 0, b""),
        RoundOrder(1, "\ud800", b"", b"", 0, b""),
        RoundOrder(1 << 64, "train", b"", b"", 0, b""),
        AgreedSet(1, bytes(32), (SetMember("b", bytes(32)), SetMember("a", bytes(32)))),
        AgreedSet(1, bytes(32), (SetMember("b", bytes(31)),)),
        GraphSeed((bytes(32), bytes(31))),
        GraphSeed(("a" * 32,)),  # type: ignore[arg-type]  # text, on purpose
        GraphSeed((bytes(32),) * 1001),
        RoundOrder("1", "train", b"", b"", 0, b""),  # type: ignore[arg-type]  # text, on purpose
    ],
)
def test_what_no_receiver_would_read_is_not_written(record: Any) -> None:
    with pytest.raises(WireError):
        codec.encode(record)


def test_views_are_of_the_message_itself() -> None:
    message = codec.pack("vector_chunk", VectorChunk(1, 8, b"masked"))
    chunk = codec.unpack_views("vector_chunk", VectorChunk, message)
    assert isinstance(chunk.data, memoryview)
    assert chunk.data.obj is message
    assert (chunk.round, chunk.offset, chunk.data) == (1, 8, b"masked")
