"""How records are laid out: the fields of each, read off its annotations once and asked for some hundred times a round."""

from __future__ import annotations

import functools
import itertools
from dataclasses import is_dataclass
from typing import Any, NamedTuple, get_args, get_type_hints

from secagg.wire import wardround_pb2
from secagg.wire.records import Items, Length, Most, Text

# A text in UTF-8 has at most so many bytes for each of its characters, and an id so many characters.
_UTF8_BYTES, _ID_CHARACTERS = 4, 63
_WIRE_VARINT, _WIRE_DELIMITED = 0, 2
# What a field is; the lists come last. Not an enumeration: they are compared some thousand times a round.
NUMBER, BYTES, TEXT, RECORD, RECORDS, BYTE_STRINGS = range(6)


class Field(NamedTuple):
    """One field of a record.

    Attributes:
        name: as in the record.
        kind: number (a flag, too), bytes, text, record, list of records or list of byte strings.
        type: its class; of a list that of its entries.
        bound: from the annotation; of a list of byte strings that of an entry, None for a record or a flag.
        low: the smallest length in bytes.
        high: the largest length in bytes (of a text the longest that so many characters can take), the largest number, the most entries of a list.
        key: what the entries of a list ascend in, or empty.
        tag: its one byte.
        short: the tag and a number behind it, for each number of one byte.
    """

    name: str
    kind: int
    type: Any
    bound: Any
    low: int
    high: int
    key: str
    tag: int
    short: tuple[bytes, ...]


@functools.cache
def layout(record: Any) -> tuple[Field, ...]:
    """The fields of a record, in the order of their numbers and of the class."""
    numbers = getattr(wardround_pb2, record.__name__).DESCRIPTOR.fields_by_name
    hints = get_type_hints(record, include_extras=True).items()
    fields = tuple(_field(name, hint, numbers[name].number) for name, hint in hints)
    assert all(one.tag < other.tag < 128 for one, other in itertools.pairwise(fields)), "another order"
    return fields


def _field(name: str, hint: Any, number: int) -> Field:
    inner, *bounds = get_args(hint) or (hint,)
    bound = bounds[0] if bounds else None
    low, high, key = 0, 1, ""
    if isinstance(bound, Items):
        high, key = bound.high, bound.key
        inner, *entries = get_args(get_args(inner)[0]) or get_args(inner)[:1]
        kind, bound = (BYTE_STRINGS, entries[0]) if entries else (RECORDS, None)
    elif is_dataclass(inner):
        kind = RECORD
    elif inner is str:
        kind, high = TEXT, _UTF8_BYTES * (bound.high if isinstance(bound, Text) else _ID_CHARACTERS)
    elif isinstance(bound, Length):
        kind, low, high = BYTES, bound.low, bound.high
    else:
        kind, high = NUMBER, bound.high if isinstance(bound, Most) else 1
    tag = number << 3 | (_WIRE_VARINT if kind == NUMBER else _WIRE_DELIMITED)
    return Field(name, kind, inner, bound, low, high, key, tag, _short(tag))


@functools.cache
def _short(tag: int) -> tuple[bytes, ...]:
    return tuple(bytes((tag, number)) for number in range(128))
