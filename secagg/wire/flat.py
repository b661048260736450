"""Records to bytes and back, in one pass and with one copy of what is long.

A model or a vector goes through here in every round, and some sixty small records; a parser whose result has to be written
out again and compared copies each of them eight times. What is accepted is the one form of SPEC.md, section 4, and nothing
else: fields in ascending order, none twice, none with its default, numbers in as few bytes as they need, no more entries
than a list may have. `tests/properties/test_flat_wire.py` compares with the protobuf library.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass, field
from typing import Any, TypeVar

from secagg.errors import WireError
from secagg.wire.bounds import check_length, check_scalar
from secagg.wire.layout import BYTES, NUMBER, RECORD, RECORDS, TEXT, layout

R = TypeVar("R")

_VARINT_BYTES = 10
_ANOTHER_FORM = "unknown fields, leftover bytes or a second spelling"
_NO_PARSE = "the bytes do not parse"
_NO_FIT = "a value does not fit its field"


@dataclass(frozen=True, slots=True)
class Written:
    """A record that was written before, to stand where the record itself would: what stays the same is not written again."""

    type: Any
    data: bytes = field(repr=False)


def write(record: object) -> list[bytes]:
    """The record's bytes in pieces.

    Raises:
        WireError: a field is out of its bounds or of another type.
    """
    parts: list[bytes] = []
    _write(parts, record)
    return parts


def written(record: object) -> Written:
    """The record as it can stand in others.

    Raises:
        WireError: as `write`.
    """
    return Written(type(record), b"".join(write(record)))


def write_pieces(record: object, name: str, pieces: list[bytes]) -> list[bytes]:
    """As `write` of a record whose first field, one of bytes, holds these pieces; in the record it is empty.

    Raises:
        WireError: as `write`.
    """
    record_type: Any = type(record)
    first, size = layout(record_type)[0], sum(map(len, pieces))
    assert (first.name, first.kind, getattr(record, name)) == (name, BYTES, b"")
    check_length(first.bound, size, record_type.__name__, name)
    return [bytes((first.tag,)) + varint(size), *pieces, *write(record)] if size else write(record)


def _write(parts: list[bytes], record: object) -> int:
    """Append the record's pieces; how many bytes they have."""
    record_type: Any = type(record)
    where, total = record_type.__name__, 0
    for name, kind, expected, bound, low, high, key, tag, short in layout(record_type):
        value = getattr(record, name)
        if kind == BYTES:
            if type(value) is not bytes and not _is_like_bytes(value):
                raise WireError(where, _NO_FIT)
            if not low <= len(value) <= high:
                check_length(bound, len(value), where, name)
            if value:
                total += _write_bytes(parts, value, short)
        elif kind >= RECORDS:
            if len(value) > high:
                raise WireError(f"{where}.{name}", f"{len(value)} entries exceed the bound of {high}")
            for entry in value:
                total += _write_entry(parts, entry, expected, bound, short, f"{where}.{name}")
            if key:
                check_order(value, key, f"{where}.{name}")
        elif kind == RECORD:
            total += _write_entry(parts, value, expected, bound, short, where)
        elif not isinstance(value, expected):
            raise WireError(where, _NO_FIT)
        elif kind == TEXT:
            check_scalar(bound, value, where, name)
            if value:
                total += _write_bytes(parts, _utf8(value, where), short)
        else:
            if not 0 <= value <= high:
                check_scalar(bound, value, where, name)
                if value < 0:
                    raise WireError(where, _NO_FIT)
            if value:
                piece = short[value] if value < 128 else bytes((tag,)) + varint(value)
                parts.append(piece)
                total += len(piece)
    return total


def _write_entry(
    parts: list[bytes], value: Any, expected: Any, bound: Any, short: tuple[bytes, ...], where: str
) -> int:
    """A record or a byte string behind its tag and length, an empty one too."""
    if bound is not None:
        if not isinstance(value, bytes):
            raise WireError(where, _NO_FIT)
        if not bound.low <= len(value) <= bound.high:
            raise WireError(where, f"{len(value)} bytes, expected {bound.low} to {bound.high}")
        return _write_bytes(parts, value, short)
    if type(value) is Written and value.type is expected:
        return _write_bytes(parts, value.data, short)
    if type(value) is not expected:
        raise WireError(where, _NO_FIT)
    place = len(parts)
    parts.append(b"")
    size = _write(parts, value)
    parts[place] = piece = short[size] if size < 128 else short[0][:1] + varint(size)
    return len(piece) + size


def _write_bytes(parts: list[bytes], value: bytes, short: tuple[bytes, ...]) -> int:
    size = len(value)
    piece = short[size] if size < 128 else short[0][:1] + varint(size)
    parts += (piece, value)
    return len(piece) + size


def _is_like_bytes(value: Any) -> bool:
    """A view of bytes will do: what is long need not be copied to be written."""
    if isinstance(value, memoryview):
        return value.c_contiguous and value.nbytes == len(value)
    return isinstance(value, bytes)


def _utf8(value: str, where: str) -> bytes:
    try:
        return value.encode()
    except UnicodeEncodeError:
        raise WireError(where, _NO_FIT) from None


def check_order(entries: Any, key: str, where: str) -> None:
    """Raise WireError unless the entries of a list ascend in their key, so that none is there twice."""
    keys = [getattr(entry, key) for entry in entries]
    if any(map(operator.ge, keys, keys[1:])):
        raise WireError(where, "entries are repeated or out of order")


def read(record: type[R], data: Any, at: int, end: int, where: str, *, views: bool = False) -> R:
    """The record in these bytes.

    Args:
        record: a class of `wire/records.py` or `wire/stored.py`.
        data: bytes or a view of bytes.
        at, end: where in them it begins and ends.
        where: its name in errors.
        views: fields of bytes are views of `data` instead of copies.

    Raises:
        WireError: the bytes are not the one form of such a record, or break a bound.
    """
    record_type: Any = record
    values: list[Any] = []
    for name, kind, expected, bound, low, high, key, tag, _ in layout(record_type):
        size = 0
        if at < end and data[at] == tag:
            if kind >= RECORDS:
                entries, at = _read_list(expected, bound, high, tag, data, at, end, f"{where}.{name}", views)
                if key:
                    check_order(entries, key, f"{where}.{name}")
                values.append(tuple(entries))
                continue
            # Nearly every number fits into one byte: they are read without a call.
            at += 1
            if at < end and data[at] < 128:
                size = data[at]
                at += 1
            else:
                size, at = number(data, at, end, where)
            if size == 0 and kind != RECORD:
                raise WireError(where, _ANOTHER_FORM)
        elif kind == RECORD:
            raise WireError(f"{where}.{name}", "it is missing")
        if kind == NUMBER:
            if size > high:
                check_scalar(bound, size, where, name)
                if bound is None:
                    raise WireError(where, _ANOTHER_FORM)
            values.append(size == 1 if expected is bool else size)
            continue
        stop = at + size
        if stop > end:
            raise WireError(where, _NO_PARSE)
        if kind == BYTES:
            if not low <= size <= high:
                check_length(bound, size, where, name)
            values.append(_piece(data, at, stop, views))
        elif kind == RECORD:
            values.append(read(expected, data, at, stop, f"{where}.{name}", views=views))
        elif kind == TEXT:
            if size > high:
                # Before it is decoded: as text it would take four times its length, beside what is copied of it.
                raise WireError(f"{where}.{name}", f"{size} bytes where a text has at most {high}")
            values.append(_text(bound, data, at, stop, where, name))
        else:
            values.append(())
        at = stop
    if at != end:
        raise WireError(where, _ANOTHER_FORM)
    return record(*values)


def _read_list(
    expected: Any, bound: Any, most: int, tag: int, data: Any, at: int, end: int, where: str, views: bool
) -> tuple[list[Any], int]:
    """The entries that begin at this place, and the place behind them; not one more is read than there may be."""
    entries: list[Any] = []
    while at < end and data[at] == tag:
        if len(entries) == most:
            raise WireError(where, f"more than {most} entries")
        size, at = _length(data, at + 1, end, where)
        if bound is None:
            entries.append(read(expected, data, at, at + size, where, views=views))
        elif bound.low <= size <= bound.high:
            entries.append(_piece(data, at, at + size, views))
        else:
            raise WireError(where, f"{size} bytes, expected {bound.low} to {bound.high}")
        at += size
    return entries, at


def _piece(data: Any, at: int, stop: int, views: bool) -> Any:
    if views:
        return memoryview(data)[at:stop]
    return data[at:stop] if type(data) is bytes else bytes(memoryview(data)[at:stop])


def _text(bound: Any, data: Any, at: int, stop: int, where: str, name: str) -> str:
    try:
        text = str(data[at:stop], "utf-8")
    except UnicodeDecodeError:
        raise WireError(where, _NO_PARSE) from None
    check_scalar(bound, text, where, name)
    return text


def varint(number: int) -> bytes:
    """Base 128, the lowest seven bits first, as protobuf writes lengths and tags."""
    if number < 128:
        return bytes((number,))
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def _length(data: Any, at: int, end: int, where: str) -> tuple[int, int]:
    """The length at this place, of so many bytes as there are behind it, and the place where they begin."""
    size, at = number(data, at, end, where)
    if size > end - at:
        raise WireError(where, _NO_PARSE)
    return size, at


def number(data: Any, at: int, end: int, where: str) -> tuple[int, int]:
    """The number at this place, in as few bytes as it needs, and the place behind it."""
    if at < end and data[at] < 128:
        return data[at], at + 1
    value = shift = 0
    for place in range(at, min(end, at + _VARINT_BYTES)):
        byte = data[place]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if byte == 0 and shift:
                raise WireError(where, _ANOTHER_FORM)
            return value, place + 1
        shift += 7
    raise WireError(where, _NO_PARSE)
