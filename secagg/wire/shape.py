"""What bytes may hold, looked at before they are parsed: which fields, and how often each.

An entry of two bytes costs the parser about eighty bytes of memory, so that a bound on the length alone would let a message
of 256 MiB take more than 10 GiB. After this look the parser makes at most as many objects as `wire/records.py` allows.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, is_dataclass
from typing import Any, TypeAlias, get_args, get_type_hints

from secagg.errors import WireError
from secagg.wire import wardround_pb2
from secagg.wire.records import Items

_VARINT, _DELIMITED = 0, 2
_VARINT_BYTES = 10
_ANOTHER_FORM = "unknown fields, leftover bytes or a second spelling"


@dataclass(frozen=True, slots=True)
class FieldShape:
    """One field: how it is written, how often it may come, and what is inside it."""

    wire_type: int
    most: int
    inner: Shape | None


Shape: TypeAlias = Mapping[int, FieldShape]


@functools.cache
def shape_of(record: Any) -> Shape:
    """Field number to shape, from the annotations of a record; frames around payloads have none and hold one field of each kind."""
    fields = getattr(wardround_pb2, record.__name__).DESCRIPTOR.fields_by_name
    hints = get_type_hints(record, include_extras=True) if is_dataclass(record) else dict.fromkeys(fields)
    return {fields[name].number: _field_shape(hint) for name, hint in hints.items()}


def check_shape(record: Any, data: bytes) -> None:
    """Return only if the bytes hold known fields in ascending order, none more often than it may come.

    Args:
        record: a class of `wire/records.py` or `wire/stored.py`, or the message that frames them.
        data: a message of any length; it is walked over, not copied.

    Raises:
        WireError: they do not.
    """
    _walk(shape_of(record), data, 0, len(data), record.__name__)


def _field_shape(hint: Any) -> FieldShape:
    inner, *bounds = get_args(hint) or (hint,)
    if bounds and isinstance(bounds[0], Items):
        return FieldShape(_DELIMITED, bounds[0].high, _inside(get_args(inner)[0]))
    if inner in (int, bool):
        return FieldShape(_VARINT, 1, None)
    return FieldShape(_DELIMITED, 1, _inside(inner))


def _inside(hint: Any) -> Shape | None:
    record: Any = hint if is_dataclass(hint) else None
    return None if record is None else shape_of(record)


def _walk(fields: Shape, data: bytes, at: int, end: int, where: str) -> None:
    last = seen = last_tag = 0
    field: FieldShape | None = None
    while at < end:
        # Nearly every number fits into one byte: thousands of entries are walked over without a call.
        tag = data[at]
        at += 1
        if tag >= 0x80:
            tag, at = _varint(data, at - 1, end, where)
        if tag != last_tag or field is None:
            number = tag >> 3
            field = fields.get(number)
            if field is None or field.wire_type != tag & 7 or number <= last:
                raise WireError(where, _ANOTHER_FORM)
            last, last_tag, seen = number, tag, 0
        seen += 1
        if seen > field.most:
            raise WireError(where, _ANOTHER_FORM if field.most == 1 else f"more than {field.most} entries")
        if at < end and data[at] < 0x80:
            size = data[at]
            at += 1
        else:
            size, at = _varint(data, at, end, where)
        if field.wire_type == _VARINT:
            continue
        if size > end - at:
            raise WireError(where, "the bytes do not parse")
        if field.inner is not None:
            _walk(field.inner, data, at, at + size, where)
        at += size


def _varint(data: bytes, at: int, end: int, where: str) -> tuple[int, int]:
    """The number at this place and the place behind it."""
    value = shift = 0
    for place in range(at, min(end, at + _VARINT_BYTES)):
        byte = data[place]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place + 1
        shift += 7
    raise WireError(where, "the bytes do not parse")
