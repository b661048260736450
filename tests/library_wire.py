"""Records to bytes and back by the protobuf library: what the project's own writer and reader are compared with, and what they would refuse."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from dataclasses import is_dataclass
from typing import Any, get_args, get_type_hints

from google.protobuf.message import DecodeError

from secagg.errors import WireError
from secagg.wire import wardround_pb2
from secagg.wire.bounds import check_scalar
from secagg.wire.records import Items


@functools.cache
def hints(record: Any) -> tuple[tuple[str, Any], ...]:
    """(name, annotation) of each field of a record."""
    return tuple(get_type_hints(record, include_extras=True).items())


def encoded(record: Any) -> bytes:
    """The bytes of a record whose fields fit the schema's types; no bound is looked at."""
    return bytes(message_of(record).SerializeToString(deterministic=True))


def message_of(record: Any) -> Any:
    """The library's message of a record."""
    record_type: Any = type(record)
    values = {name: _writer(hint)(getattr(record, name)) for name, hint in hints(record_type)}
    return getattr(wardround_pb2, record_type.__name__)(**values)


def _writer(hint: Any) -> Callable[[Any], Any]:
    if is_dataclass(hint):
        return message_of
    if hint is not bool:
        inner, bound = get_args(hint)
        if isinstance(bound, Items) and is_dataclass(get_args(inner)[0]):
            return lambda values: [message_of(value) for value in values]
    return lambda value: value


def decoded(record: Any, data: bytes) -> Any:
    """The record of these bytes: parsed, written again, compared, and then looked at field by field."""
    message = getattr(wardround_pb2, record.__name__)()
    try:
        message.ParseFromString(data)
        message.DiscardUnknownFields()
        canonical = message.SerializeToString(deterministic=True)
    except (DecodeError, ValueError, RecursionError):
        raise WireError(record.__name__, "the bytes do not parse") from None
    if canonical != data:
        raise WireError(record.__name__, "another form")
    return _of_message(record, message, record.__name__)


def _of_message(record: Any, message: Any, where: str) -> Any:
    values = {}
    for name, hint in hints(record):
        raw = getattr(message, name)
        if is_dataclass(hint):
            if not message.HasField(name):
                raise WireError(f"{where}.{name}", "it is missing")
            values[name] = _of_message(hint, raw, f"{where}.{name}")
            continue
        if hint is bool:
            values[name] = raw
            continue
        inner, bound = get_args(hint)
        if isinstance(bound, Items):
            values[name] = _entries(get_args(inner)[0], bound, raw, f"{where}.{name}")
        else:
            check_scalar(bound, raw, where, name)
            values[name] = raw
    return record(**values)


def _entries(element: Any, bound: Items, raw: Any, where: str) -> tuple[Any, ...]:
    if len(raw) > bound.high:
        raise WireError(where, f"{len(raw)} entries exceed the bound of {bound.high}")
    if not is_dataclass(element):
        for value in raw:
            check_scalar(get_args(element)[1], value, where, "")
        return tuple(raw)
    entries = tuple(_of_message(element, value, where) for value in raw)
    keys = [getattr(entry, bound.key) for entry in entries] if bound.key else []
    if any(a >= b for a, b in itertools.pairwise(keys)):
        raise WireError(where, "entries are repeated or out of order")
    return entries
