"""Decoding: any bytes give a record or a WireError, and a record has exactly one form."""

from __future__ import annotations

import functools
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secagg import hospital as ho
from secagg.errors import SecAggError, WireError
from secagg.roster import parse_roster, parse_signed_roster
from secagg.state_codec import decode_state
from secagg.wire import codec, records, stored, wardround_pb2
from secagg.wire.records import Items, Length, Most, Name, Text
from tests.library_wire import hints
from tests.unit.secagg.rounds import consortium, key_of

QUICK = settings(deadline=None, max_examples=40)
RECORDS = [
    record
    for module in (records, stored)
    for record in vars(module).values()
    if isinstance(record, type)
    and record.__module__ == module.__name__
    and hasattr(wardround_pb2, record.__name__)
]
IDS = st.from_regex(r"[a-z0-9][a-z0-9_-]{0,8}", fullmatch=True)


def values_of(hint: Any) -> st.SearchStrategy[Any]:
    if hint is bool:
        return st.booleans()
    if hint in RECORDS:
        return record_of(hint)
    inner, bound = get_args(hint)
    match bound:
        case Length(low, high):
            return st.binary(min_size=low, max_size=min(high, max(low, 80)))
        case Most(high):
            return st.integers(0, high)
        case Text(high):
            return st.text(st.characters(codec="utf-8"), max_size=min(high, 20)).filter(str.isprintable)
        case Name(optional):
            return IDS | st.just("") if optional else IDS
        case Items(high, key):
            entries = st.lists(values_of(get_args(inner)[0]), max_size=min(high, 3))
            return entries.map(lambda given: tuple(sorted_by(given, key) if key else given))
    raise AssertionError(hint)


def sorted_by(given: list[Any], key: str) -> list[Any]:
    unique = {getattr(entry, key): entry for entry in given}
    return [unique[name] for name in sorted(unique)]


@functools.cache
def record_of(record: Any) -> st.SearchStrategy[Any]:
    return st.builds(record, **{name: values_of(hint) for name, hint in hints(record)})


def test_every_message_has_a_record() -> None:
    described = set(wardround_pb2.DESCRIPTOR.message_types_by_name) - {"Message"}
    assert described == {record.__name__ for record in RECORDS}


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.__name__)
@given(data=st.data())
@QUICK
def test_records_round_trip(record: Any, data: st.DataObject) -> None:
    value = data.draw(record_of(record))
    encoded = codec.encode(value)
    assert codec.decode(record, encoded) == value
    for cut in range(0, len(encoded), max(1, len(encoded) // 5)):
        try:
            again = codec.decode(record, encoded[:cut])
        except WireError:
            continue
        assert codec.encode(again) == encoded[:cut]


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.__name__)
@given(data=st.data())
@QUICK
def test_changed_bytes_never_crash(record: Any, data: st.DataObject) -> None:
    encoded = bytearray(codec.encode(data.draw(record_of(record))))
    for _ in range(data.draw(st.integers(1, 3))):
        if encoded:
            encoded[data.draw(st.integers(0, len(encoded) - 1))] = data.draw(st.integers(0, 255))
    accept_or_refuse(record, bytes(encoded) + data.draw(st.binary(max_size=3)))


@pytest.mark.threat("FL-19", control="C-LIMITS")
@given(st.binary(max_size=200))
@settings(deadline=None, max_examples=300)
def test_any_bytes_never_crash(data: bytes) -> None:
    for record in RECORDS:
        accept_or_refuse(record, data)
    for read in (codec.unwrap, parse_roster, parse_signed_roster, lambda d: decode_state(d, key_of("h000"))):
        try:
            read(data)
        except SecAggError:
            continue


def accept_or_refuse(record: Any, data: bytes) -> None:
    try:
        value = codec.decode(record, data)
    except WireError:
        return
    assert codec.encode(value) == data


@given(st.sampled_from(sorted(codec.KINDS)), st.binary(max_size=120))
@settings(deadline=None, max_examples=150)
def test_machines_refuse_any_payload_without_a_crash(kind: str, payload: bytes) -> None:
    c = _machines()
    message = codec.wrap(kind, payload)
    for state, arrow in c:
        for data in (message, payload):
            with pytest.raises(SecAggError):
                arrow(state, data)


@functools.cache
def _machines() -> tuple[tuple[Any, Any], ...]:
    c = consortium()
    advertised, _ = c.advertise("h000")
    ready = c.hospitals["h000"]
    uploading = c.order(1, c.hospitals)
    uploading = c.upload_all(uploading, c.roster.ids)
    uploaded = c.hospitals["h000"]
    return (
        (advertised, ho.accept_key_list),
        (ready, ho.accept_order),
        (uploaded, ho.agree),
        (uploaded, ho.accept_receipt),
        (uploaded, ho.accept_order),
    )
