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
        if not bound.low <= len(value) <= bound.high:
            raise WireError(f"{where}.{name}", f"{len(value)} bytes, expected {bound.low} to {bound.high}")
    elif kind is Name:
        if not (bound.optional and value == "") and not ID_PATTERN.fullmatch(value):
            raise WireError(f"{where}.{name}", "not a hospital id")
    elif kind is Most:
        if value > bound.high:
            raise WireError(f"{where}.{name}", f"the number exceeds {bound.high}")
    elif kind is Text and (len(value) > bound.high or not value.isprintable()):
        raise WireError(f"{where}.{name}", f"not at most {bound.high} printable characters")
