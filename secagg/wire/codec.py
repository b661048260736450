"""Records to bytes and back.

`decode` accepts exactly the bytes that `encode` makes: unknown fields, leftover bytes, explicit defaults, repeated
singular fields and any other second spelling of a message are refused, so that one message has one form (SPEC.md,
section 4). It raises `WireError` and nothing else, on any bytes. The length is bounded before anything is read, and of a list
no more entries are read than it may have.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar, cast

from secagg.errors import WireError
from secagg.wire import flat, records, wardround_pb2
from secagg.wire.flat import varint

R = TypeVar("R")

DEFAULT_MAX_BYTES = 256 << 20

# The record that each kind of message holds.
KINDS: dict[str, type] = {
    "hello": records.Hello,
    "study_offer": records.StudyOffer,
    "study_answer": records.StudyAnswer,
    "session_start": records.SessionStart,
    "advert": records.Signed,
    "key_list": records.KeyList,
    "round_order": records.Signed,
    "upload_header": records.Signed,
    "seals": records.Seals,
    "vector_chunk": records.VectorChunk,
    "agree_request": records.AgreeRequest,
    "agreement": records.Agreement,
    "open_request": records.OpenRequest,
    "shares": records.Shares,
    "receipt": records.Receipt,
    "abort": records.Abort,
    "ledger_export_request": records.LedgerExportRequest,
    "ledger_export": records.LedgerExport,
    "study_end": records.StudyEnd,
    "graph_contribution": records.GraphContribution,
    "graph_seed": records.GraphSeed,
    "sign_request": records.SignRequest,
    "set_signature": records.SetSignature,
    "spare_noise": records.SpareNoise,
}


def wrap(kind: str, payload: bytes) -> bytes:
    """The bytes of one message on the link: its kind around its payload."""
    return b"".join((_TAGS[kind], varint(len(payload)), payload))


def pack(kind: str, record: object) -> bytes:
    """The bytes of one message on the link that holds this record."""
    parts = flat.write(record)
    return b"".join((_TAGS[kind], varint(sum(map(len, parts))), *parts))


def unwrap(data: bytes, max_bytes: int = DEFAULT_MAX_BYTES) -> tuple[str, bytes]:
    """The kind and the payload of one message, the payload as received.

    Raises:
        WireError: no message of the schema.
    """
    kind, start = _head(data, max_bytes)
    return kind, data[start:]


def kind_of(data: bytes, max_bytes: int = DEFAULT_MAX_BYTES) -> str:
    """The kind of one message, whose payload is not looked at.

    Raises:
        WireError: no message of the schema.
    """
    return _head(data, max_bytes)[0]


def expect(kind: str, data: bytes, max_bytes: int = DEFAULT_MAX_BYTES) -> bytes:
    """The payload of one message that must be of this kind.

    Raises:
        WireError: no message of the schema, or of another kind.
    """
    return data[_start_of(kind, data, max_bytes) :]


def unpack(kind: str, record: type[R], data: bytes, max_bytes: int = DEFAULT_MAX_BYTES) -> R:
    """The record of one message that must be of this kind.

    Raises:
        WireError: no message of the schema, of another kind, or out of bounds.
    """
    start = _start_of(kind, data, max_bytes)
    return flat.read(record, data, start, len(data), record.__name__)


def unpack_views(kind: str, record: type[R], data: bytes, max_bytes: int = DEFAULT_MAX_BYTES) -> R:
    """As `unpack`; its fields of bytes are views of `data`, for what is long and only looked at once.

    Raises:
        WireError: no message of the schema, of another kind, or out of bounds.
    """
    start = _start_of(kind, data, max_bytes)
    return flat.read(record, data, start, len(data), record.__name__, views=True)


def encode(record: object) -> bytes:
    """The one form of this record.

    Raises:
        WireError: a field is out of its bounds; nothing is sent that the receiver would refuse.
    """
    return b"".join(flat.write(record))


def encode_parts(record: object) -> list[bytes]:
    """The one form of this record in pieces, for what is hashed piece by piece and copied once.

    Raises:
        WireError: as `encode`.
    """
    return flat.write(record)


def pack_signed(kind: str, body: list[bytes], signature: bytes) -> bytes:
    """The bytes of one message on the link that holds a signed body; the body comes in pieces and is copied once.

    Raises:
        WireError: the body or the signature is out of its bounds.
    """
    parts = flat.write_pieces(records.Signed(b"", signature), "body", body)
    return b"".join((_TAGS[kind], varint(sum(map(len, parts))), *parts))


def decode_views(record: type[R], data: bytes, max_bytes: int = DEFAULT_MAX_BYTES) -> R:
    """As `decode`; its fields of bytes are views of `data`, for what is long and not changed.

    Raises:
        WireError: as `decode`.
    """
    _check_length(record.__name__, data, max_bytes)
    return flat.read(record, data, 0, len(data), record.__name__, views=True)


def decode(record: type[R], data: bytes, max_bytes: int = DEFAULT_MAX_BYTES) -> R:
    """Read a record from exactly these bytes.

    Raises:
        WireError: the bytes are longer than max_bytes, are not the one form of such a record, or break a bound.
    """
    _check_length(record.__name__, data, max_bytes)
    return flat.read(record, data, 0, len(data), record.__name__)


def vector_chunks(
    round_number: int, vector: bytes | memoryview, chunk_bytes: int = records.MAX_CHUNK_BYTES
) -> Iterator[bytes]:
    """Messages that carry a masked vector, in order."""
    view = memoryview(vector)
    for offset in range(0, len(vector), chunk_bytes):
        yield pack(
            "vector_chunk",
            records.VectorChunk(round_number, offset, cast(bytes, view[offset : offset + chunk_bytes])),
        )


def noise_chunks(
    round_number: int, noise: bytes | memoryview, chunk_bytes: int = records.MAX_CHUNK_BYTES
) -> Iterator[bytes]:
    """Messages that carry the noise that an opened set does not need, in order."""
    view = memoryview(noise)
    for offset in range(0, len(noise), chunk_bytes):
        yield pack(
            "spare_noise",
            records.SpareNoise(round_number, offset, cast(bytes, view[offset : offset + chunk_bytes])),
        )


def _start_of(kind: str, data: bytes, max_bytes: int) -> int:
    """Where the payload of a message of this kind begins."""
    found, start = _head(data, max_bytes)
    if found != kind:
        raise WireError(kind, f"a message of kind {found} came instead")
    return start


def _head(data: bytes, max_bytes: int) -> tuple[str, int]:
    """The kind of a message, and where its payload begins.

    Written by hand: a parser that has to be checked copies a model or a vector four times.
    """
    _check_length("Message", data, max_bytes)
    if not data:
        raise WireError("Message", "it has no kind")
    kind = _KIND_OF_TAG.get(data[: 1 if data[0] < 128 else 2])
    if kind is None:
        raise WireError("Message", "the bytes do not parse")
    size, start = flat.number(data, len(_TAGS[kind]), len(data), "Message")
    if size != len(data) - start:
        raise WireError("Message", "unknown fields, leftover bytes or a second spelling")
    return kind, start


def _check_length(where: str, data: bytes, max_bytes: int) -> None:
    if len(data) > max_bytes:
        raise WireError(where, f"{len(data)} bytes exceed the bound of {max_bytes}")


# A field of bytes has wire type 2.
_TAGS = {
    kind: varint(wardround_pb2.Message.DESCRIPTOR.fields_by_name[kind].number << 3 | 2) for kind in KINDS
}
_KIND_OF_TAG = {tag: kind for kind, tag in _TAGS.items()}
