"""Oversize lengths: every field of every message at its bound and one beyond, read off the records themselves."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any, get_args, get_type_hints

import pytest

from secagg import hospital as ho
from secagg.errors import WireError
from secagg.wire import bounds, codec, flat, records, wardround_pb2
from secagg.wire.records import Items, Length, Most, Name, Text
from tests.library_wire import encoded, hints
from tests.unit.secagg.loot import ALL, nothing, uploaded
from tests.unit.secagg.rounds import consortium, craft_request

RECORDS = [
    record
    for record in vars(records).values()
    if isinstance(record, type) and hasattr(wardround_pb2, record.__name__) and is_dataclass(record)
]
# A field of gigabytes is not made for a test; the bound of the whole message is the one that counts there.
TOO_LONG_TO_MAKE = 1 << 23


def bounded() -> Iterator[tuple[Any, str, Any]]:
    """(record, field, bound) of everything that has a length or a largest value."""
    for record in RECORDS:
        for name, hint in get_type_hints(record, include_extras=True).items():
            if not is_dataclass(hint) and hint is not bool:
                yield record, name, get_args(hint)[1]


def beyond(message: Any, name: str, bound: Any) -> None:
    """Put one more into a field than it may hold."""
    match bound:
        case Length(_, high):
            setattr(message, name, bytes(high + 1))
        case Most(high):
            setattr(message, name, high + 1)
        case Text(high):
            setattr(message, name, "a" * (high + 1))
        case Name():
            setattr(message, name, "a" * 64)


def least(record: Any, place: int = 0) -> Any:
    """A record with as little in it as its bounds allow; its ids ascend in the place."""
    return record(**{name: least_of(hint, place) for name, hint in hints(record)})


def least_of(hint: Any, place: int) -> Any:
    if is_dataclass(hint):
        return least(hint, place)
    if hint is bool:
        return False
    match get_args(hint)[1]:
        case Length(low):
            return bytes(low)
        case Most():
            return 0
        case Text():
            return ""
        case Name():
            return f"h{place:05}"
        case _:
            return ()


def entries(record: Any, name: str, count: int) -> tuple[Any, ...]:
    """So many good entries of a list."""
    element = get_args(get_args(dict(hints(record))[name])[0])[0]
    return tuple(least_of(element, place) for place in range(count))


CASES = [
    (record, name, bound)
    for record, name, bound in bounded()
    if not (isinstance(bound, Length) and bound.high > TOO_LONG_TO_MAKE)
]


@pytest.mark.threat("FL-19", control="C-LIMITS")
@pytest.mark.parametrize(
    ("record", "name", "bound"), CASES, ids=lambda v: getattr(v, "__name__", None) or str(v)
)
def test_one_beyond_the_bound_is_refused(
    record: Any, name: str, bound: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    if isinstance(bound, Items):
        for count in (bound.high, bound.high + 1):
            data = encoded(replace(least(record), **{name: entries(record, name, count)}))
            if count > bound.high:
                with pytest.raises(WireError, match=rf"{name}: .*more than {bound.high} entries"):
                    codec.decode(record, data)
            else:
                assert codec.encode(codec.decode(record, data)) == data
        return
    message = getattr(wardround_pb2, record.__name__)()
    try:
        beyond(message, name, bound)
    except ValueError:
        return  # the schema's own type is narrower
    data = message.SerializeToString(deterministic=True)
    with pytest.raises(WireError):
        codec.decode(record, data)
    assert told(record, name, data) is not None
    monkeypatch.setattr(bounds, "check_scalar", nothing)
    assert told(record, name, data) is None


def told(record: Any, name: str, data: bytes) -> str | None:
    """What the reader says of this one field."""
    message = getattr(wardround_pb2, record.__name__).FromString(data)
    bound = get_args(get_type_hints(record, include_extras=True)[name])[1]
    try:
        bounds.check_scalar(bound, getattr(message, name), record.__name__, name)
    except WireError as error:
        return str(error)
    return None


def test_every_field_has_a_bound() -> None:
    """No length, count or number comes in without one."""
    for record in RECORDS:
        assert [field.name for field in fields(record)] == [
            field.name for field in getattr(wardround_pb2, record.__name__).DESCRIPTOR.fields
        ]
    assert all(bound is not None for _, _, bound in bounded())
    assert len(CASES) > 50


@pytest.mark.threat("FL-19", control="C-LIMITS")
def test_a_request_longer_than_any_of_its_round_is_refused_unread() -> None:
    """The bounds of a hospital's arrows follow from n: what cannot be honest is not parsed."""
    c, uploading = uploaded()
    longest = len(craft_request(uploading, ALL, "h000"))
    padding = codec.wrap("agree_request", bytes(20_000))
    assert longest < 20_000
    state = c.hospitals["h000"]
    assert isinstance(state, ho.Uploaded)
    with pytest.raises(WireError, match="exceed the bound"):
        ho.agree(state, padding)
    agreed, _ = ho.agree(state, craft_request(uploading, ALL, "h000"))
    with pytest.raises(WireError, match="exceed the bound"):
        ho.open_shares(agreed, codec.wrap("open_request", bytes(2000)))
    with pytest.raises(WireError, match="exceed the bound"):
        ho.accept_key_list(consortium().advertise("h000")[0], codec.wrap("key_list", bytes(5000)))


@pytest.mark.threat("FL-19", control="C-LIMITS")
@pytest.mark.parametrize(
    "data",
    [
        b"\x10\x01\x0a\x01a",  # descending fields
        b"\x0a\x01a\x0a\x01a",  # a singular field twice
        b"\x0a\x05a",  # longer than what is left
        b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",  # a length of 2^64 - 1
        b"\x80" * 11,  # a number without end
        b"\x0b\x0c",  # a group
        b"\x0a",  # nothing behind the tag
        b"\x78\x01",  # an unknown field
        b"\x00\x00",  # field zero
    ],
)
def test_shapes_that_no_message_has(data: bytes) -> None:
    with pytest.raises(WireError):
        codec.decode(records.SetMember, data)


@pytest.mark.threat("FL-19", control="C-LIMITS")
@pytest.mark.parametrize("first", [b"\x12", b"\x1a"], ids=["a reason", "an id"])
def test_a_text_is_bounded_before_it_is_decoded(first: bytes) -> None:
    """One character beyond the basic plane gives each of the others four bytes."""
    text = "\U0001f600".encode() + b"a" * (1 << 20)
    data = first + flat.varint(len(text)) + text
    tracemalloc.start()
    with pytest.raises(WireError, match="where a text has at most"):
        codec.decode(records.Abort, data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < len(text) // 4


def test_a_text_of_the_longest_characters_is_read() -> None:
    told = records.Abort(1, "\U0001f600" * 2000, "a" * 63)
    assert codec.decode(records.Abort, codec.encode(told)) == told
