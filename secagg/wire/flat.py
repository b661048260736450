"""Records to bytes, and records without lists back, in one pass and with one copy of what is long.

A model or a vector goes through here in every round; a parser whose result has to be written out again and compared
copies it eight times. What is accepted is the one form of SPEC.md, section 4, and nothing else: fields in ascending order, none twice, none
with its default, numbers in as few bytes as they need. `tests/properties/test_flat_wire.py` compares with the protobuf library.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from dataclasses import dataclass
from typing import Any, TypeVar, get_args, get_type_hints

from secagg.errors import WireError
from secagg.wire import wardround_pb2
from secagg.wire.bounds import check_length, check_scalar
from secagg.wire.records import Items

R = TypeVar("R")

_VARINT, _DELIMITED = 0, 2
_VARINT_BYTES = 10
_ANOTHER_FORM = "unknown fields, leftover bytes or a second spelling"
_NO_PARSE = "the bytes do not parse"
_NO_FIT = "a value does not fit its field"


@dataclass(frozen=True, slots=True)
class Field:
    """One field: its tag, its type (a record for a field that holds one, of a list its entries'), its bound, and its entries' in a list.

    Attributes:
        head: the tag's one byte.
        holds_record: the field is a record of its own.
        is_list: the field is a list.
    """

    name: str
    tag: int
    type: Any
    bound: Any
    entry: Any = None
    head: bytes = dataclasses.field(init=False)
    holds_record: bool = dataclasses.field(init=False)
    is_list: bool = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        # Asked for thousands of times a round.
        object.__setattr__(self, "head", bytes((self.tag,)))
        object.__setattr__(self, "holds_record", self.bound is None and self.type is not bool)
        object.__setattr__(self, "is_list", isinstance(self.bound, Items))


def layout(record: Any) -> tuple[Field, ...] | None:
    """The fields of a record in the order of their numbers; None where one is a list, here or further in."""
    return _layout(record)


@functools.cache
def _layout(record: Any) -> tuple[Field, ...] | None:
    fields = _fields(record)
    if any(one.is_list or (one.holds_record and _layout(one.type) is None) for one in fields):
        return None
    return fields


@functools.cache
def _fields(record: Any) -> tuple[Field, ...]:
    numbers = getattr(wardround_pb2, record.__name__).DESCRIPTOR.fields_by_name
    fields = []
    for name, hint in get_type_hints(record, include_extras=True).items():
        inner, *bounds = get_args(hint) or (hint,)
        bound, entry = bounds[0] if bounds else None, None
        if isinstance(bound, Items):
            inner = get_args(inner)[0]
            inner, *entries = get_args(inner) or (inner,)
            entry = entries[0] if entries else None
        tag = numbers[name].number << 3 | (_VARINT if inner in (int, bool) else _DELIMITED)
        assert tag < 128, "a tag of two bytes"
        fields.append(Field(name, tag, inner, bound, entry))
    return tuple(sorted(fields, key=lambda one: one.tag))


def write(record: object) -> list[bytes]:
    """The record's bytes in pieces.

    Raises:
        WireError: a field is out of its bounds or of another type.
    """
    where, parts = type(record).__name__, list[bytes]()
    record_type: Any = type(record)
    for field in _fields(record_type):
        value = getattr(record, field.name)
        if field.is_list:
            _write_list(parts, field, value, where)
        elif field.holds_record:
            _write_record(parts, field, value, where)
        elif not isinstance(value, field.type) and not (field.type is bytes and _is_view_of_bytes(value)):
            raise WireError(where, _NO_FIT)
        else:
            if field.bound is not None:
                check_scalar(field.bound, value, where, field.name)
            if value:
                _write_scalar(parts, field, value, where)
    return parts


def write_pieces(record: object, name: str, pieces: list[bytes]) -> list[bytes]:
    """As `write` of a record whose first field, one of bytes, holds these pieces; in the record it is empty.

    Raises:
        WireError: as `write`.
    """
    record_type: Any = type(record)
    first, size = _fields(record_type)[0], sum(map(len, pieces))
    assert (first.name, first.type, getattr(record, name)) == (name, bytes, b"")
    check_length(first.bound, size, record_type.__name__, name)
    return [bytes((first.tag,)) + varint(size), *pieces, *write(record)] if size else write(record)


def _write_list(parts: list[bytes], field: Field, values: Any, where: str) -> None:
    """The entries one after the other, an empty one too."""
    where = f"{where}.{field.name}"
    if len(values) > field.bound.high:
        raise WireError(where, f"{len(values)} entries exceed the bound of {field.bound.high}")
    if field.entry is None:
        for value in values:
            _write_record(parts, field, value, where)
    else:
        for value in values:
            if not isinstance(value, bytes):
                raise WireError(where, _NO_FIT)
            if not field.entry.low <= len(value) <= field.entry.high:
                raise WireError(
                    where, f"{len(value)} bytes, expected {field.entry.low} to {field.entry.high}"
                )
            parts += (field.head + varint(len(value)), value)
    if field.bound.key:
        keys = [getattr(value, field.bound.key) for value in values]
        if any(a >= b for a, b in itertools.pairwise(keys)):
            raise WireError(where, "entries are repeated or out of order")


def _write_record(parts: list[bytes], field: Field, value: Any, where: str) -> None:
    if type(value) is not field.type:
        raise WireError(where, _NO_FIT)
    inside = write(value)
    parts.append(field.head + varint(sum(map(len, inside))))
    parts += inside


def _is_view_of_bytes(value: Any) -> bool:
    """What is long need not be copied to be written."""
    return isinstance(value, memoryview) and value.c_contiguous and value.nbytes == len(value)


def _write_scalar(parts: list[bytes], field: Field, value: Any, where: str) -> None:
    """A number, a text or a byte string that is not its type's default."""
    if field.tag & 7 == _VARINT:
        if value < 0:
            raise WireError(where, _NO_FIT)
        parts.append(field.head + varint(int(value)))
        return
    try:
        data = value.encode() if isinstance(value, str) else value
    except UnicodeEncodeError:
        raise WireError(where, _NO_FIT) from None
    parts += (field.head + varint(len(data)), data)


def read(record: type[R], data: Any, at: int, end: int, where: str, *, views: bool = False) -> R:
    """The record in these bytes.

    Args:
        record: one that `layout` knows.
        data: bytes or a view of bytes.
        at, end: where in them it begins and ends.
        where: its name in errors.
        views: fields of bytes are views of `data` instead of copies.

    Raises:
        WireError: the bytes are not the one form of such a record, or break a bound.
    """
    values: dict[str, Any] = {}
    for field in layout(record) or ():
        present = at < end and data[at] == field.tag
        if field.tag & 7 == _VARINT:
            value = 0
            if present:
                value, at = _number(data, at + 1, end, where)
                if value == 0 or (field.type is bool and value != 1):
                    raise WireError(where, _ANOTHER_FORM)
            if field.type is bool:
                values[field.name] = bool(value)
                continue
            check_scalar(field.bound, value, where, field.name)
            values[field.name] = value
            continue
        size = 0
        if present:
            size, at = _number(data, at + 1, end, where)
            if size > end - at:
                raise WireError(where, _NO_PARSE)
        stop = at + size
        if field.holds_record:
            if not present:
                raise WireError(f"{where}.{field.name}", "it is missing")
            values[field.name] = read(field.type, data, at, stop, f"{where}.{field.name}", views=views)
        elif present and size == 0:
            raise WireError(where, _ANOTHER_FORM)
        else:
            values[field.name] = _checked(field, data, at, stop, where, views)
        at = stop
    if at != end:
        raise WireError(where, _ANOTHER_FORM)
    return record(**values)


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


def _checked(field: Field, data: Any, at: int, stop: int, where: str, views: bool) -> Any:
    """A field of bytes or text, its length looked at before it is copied."""
    piece = memoryview(data)[at:stop]
    if field.type is bytes:
        check_scalar(field.bound, piece, where, field.name)
        return piece if views else bytes(piece)
    try:
        text = str(piece, "utf-8")
    except UnicodeDecodeError:
        raise WireError(where, _NO_PARSE) from None
    check_scalar(field.bound, text, where, field.name)
    return text


def _number(data: Any, at: int, end: int, where: str) -> tuple[int, int]:
    """The number at this place, in as few bytes as it needs, and the place behind it."""
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
