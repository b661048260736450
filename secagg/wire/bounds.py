"""What a field may hold, by the annotations of `wire/records.py`."""

from __future__ import annotations

from typing import Any

from secagg.errors import WireError
from secagg.roster import ID_PATTERN
from secagg.wire.records import Length, Most, Name, Text


def check_scalar(bound: Any, value: Any, where: str, name: str) -> None:
    """Raise WireError unless a number, a text or a byte string is within its bound."""
    match bound:
        case Length(low, high):
            if not low <= len(value) <= high:
                raise WireError(f"{where}.{name}", f"{len(value)} bytes, expected {low} to {high}")
        case Most(high):
            if value > high:
                raise WireError(f"{where}.{name}", f"the number exceeds {high}")
        case Text(high):
            if len(value) > high or not value.isprintable():
                raise WireError(f"{where}.{name}", f"not at most {high} printable characters")
        case Name(optional):
            if not (optional and value == "") and not ID_PATTERN.fullmatch(value):
                raise WireError(f"{where}.{name}", "not a hospital id")
