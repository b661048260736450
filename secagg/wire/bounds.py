"""What a field may hold, by the annotations of `wire/records.py`."""

from __future__ import annotations

from typing import Any

from secagg.errors import WireError
from secagg.roster import ID_PATTERN
from secagg.wire.records import Length, Most, Name, Text


def check_scalar(bound: Any, value: Any, where: str, name: str) -> None:
    """Raise WireError unless a number, a text or a byte string is within its bound."""
    # By type, not by pattern: every field of every message comes by here.
    kind = type(bound)
    if kind is Length:
        check_length(bound, len(value), where, name)
    elif kind is Name:
        if not (bound.optional and value == "") and not ID_PATTERN.fullmatch(value):
            raise WireError(f"{where}.{name}", "not a hospital id")
    elif kind is Most:
        if value > bound.high:
            raise WireError(f"{where}.{name}", f"the number exceeds {bound.high}")
    elif kind is Text and (len(value) > bound.high or not value.isprintable()):
        raise WireError(f"{where}.{name}", f"not at most {bound.high} printable characters")


def check_length(bound: Length, length: int, where: str, name: str) -> None:
    """Raise WireError unless a byte string of this length is within its bound."""
    if not bound.low <= length <= bound.high:
        raise WireError(f"{where}.{name}", f"{length} bytes, expected {bound.low} to {bound.high}")
