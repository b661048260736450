"""Records to bytes by the protobuf library: what the project's own writer is compared with, and what it would refuse to write."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import is_dataclass
from typing import Any, get_args

from secagg.wire import codec, wardround_pb2
from secagg.wire.records import Items


def encoded(record: Any) -> bytes:
    """The bytes of a record whose fields fit the schema's types; no bound is looked at."""
    return codec._serialize(message_of(record))


def message_of(record: Any) -> Any:
    """The library's message of a record."""
    record_type: Any = type(record)
    values = {name: _writer(hint)(getattr(record, name)) for name, hint in codec._hints(record_type)}
    return getattr(wardround_pb2, record_type.__name__)(**values)


def _writer(hint: Any) -> Callable[[Any], Any]:
    if is_dataclass(hint):
        return message_of
    if hint is not bool:
        inner, bound = get_args(hint)
        if isinstance(bound, Items) and is_dataclass(get_args(inner)[0]):
            return lambda values: [message_of(value) for value in values]
    return lambda value: value
