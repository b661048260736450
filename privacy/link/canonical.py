"""Canonical JSON: one value, one byte string (RFC 8785), so that a hash names a value.

Source: RFC 8785, JSON Canonicalization Scheme.
"""

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import rfc8785

# What the standard library's encoder, which is in C, writes of a `_plain` value are its RFC 8785 bytes.
_ENCODER = json.JSONEncoder(
    ensure_ascii=False, check_circular=False, allow_nan=False, sort_keys=True, separators=(",", ":")
)
_EXACT = 2**53 - 1
_TEXT = frozenset({str})
MAX_BYTES = 64 << 20

# A value of three bytes, as in [[],[],...], takes up to 28 times its length in memory: values are counted before they are made.
# So a reader takes at most 8 times the length of its input and 64 MiB (tests/unit/privacy/link/test_canonical.py).
MAX_VALUES = 1 << 18


class NotCanonicalError(ValueError):
    """A value that has no canonical form, or bytes that are not the canonical form of what they say."""

    def __init__(self, problem: str) -> None:
        """Keep the problem, one clause without a full stop."""
        super().__init__(f"not canonical JSON: {problem}")
        self.problem = problem


def canonical(value: object) -> bytes:
    """The RFC 8785 bytes of a JSON value made of dict, list, tuple, str, int, float, bool and None.

    Raises:
        NotCanonicalError: NaN, infinity, an integer beyond 2^53 - 1, half a surrogate pair, a key or value of another type.
    """
    try:
        text = _ENCODER.encode(_plain(value))
        if text.isascii():
            return text.encode()
    except (_NotPlain, RecursionError):
        pass
    problem = ""
    try:
        return rfc8785.dumps(value)  # type: ignore[arg-type]  # checked by the library, value by value
    except (rfc8785.CanonicalizationError, UnicodeEncodeError, RecursionError) as error:
        # The library orders keys by their UTF-16, which half a surrogate pair in a key does not have.
        problem = type(error).__name__
    raise NotCanonicalError(f"the value cannot be written ({problem})")


class _NotPlain(Exception):
    """Left to the library."""


def _plain(value: Any) -> Any:
    """The same JSON value, where both encoders spell it alike, as long as all its texts are ASCII: these have one order and the same escapes.

    Below 2^53 an integer has one form, without ".0", and a fraction from 1e-4 on is the shortest decimal that reads back, without exponent, in
    RFC 8785 (section 3.2.2.3) as in Python.

    Raises:
        _NotPlain: it holds anything else.
    """
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return value
    if kind is dict:
        if set(map(type, value)) <= _TEXT:
            return {key: held if type(held) is str else _plain(held) for key, held in value.items()}
    elif kind is list or kind is tuple:
        return [_plain(held) for held in value]
    elif (kind is int or kind is float) and -_EXACT <= value <= _EXACT:
        if value == int(value):
            return int(value)
        if abs(value) >= 1e-4:
            return value
    raise _NotPlain


def parse_canonical(data: bytes, max_bytes: int = MAX_BYTES, max_values: int = MAX_VALUES) -> Any:
    """The JSON value of `data`, which must be its canonical form to the last byte.

    Duplicate keys, other white space, another key order or number format all fail the comparison.

    Args:
        data: the bytes.
        max_bytes: of them.
        max_values: in them, counted as commas and opening brackets, also where they stand in a text.

    Raises:
        NotCanonicalError: too long, too many values, not JSON, or not canonical.
    """
    if len(data) > max_bytes:
        raise NotCanonicalError(f"{len(data)} bytes where at most {max_bytes} are read")
    values = sum(map(data.count, (b",", b"[", b"{")))
    if values > max_values:
        raise NotCanonicalError(f"about {values} values where at most {max_values} are read")
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        value = NotCanonicalError("the bytes are not JSON")
    if isinstance(value, NotCanonicalError):
        raise value
    if canonical(value) != data:
        raise NotCanonicalError("the bytes differ from the canonical form of their value")
    return value


def each_line(data: bytes, end: int | None = None) -> Iterator[bytes]:
    """The lines of `data` up to `end`, without their breaks, one at a time: a list of empty ones would take 16 times their length."""
    start, stop = 0, len(data) if end is None else end
    while start < stop:
        found = data.find(b"\n", start, stop)
        following = stop if found < 0 else found
        yield data[start:following]
        start = following + 1


def sha256_hex(data: bytes) -> str:
    """SHA-256 of `data`, 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()
