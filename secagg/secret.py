"""Bytes that never print."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import NoReturn, TypeVar, cast

T = TypeVar("T")


class SecretBytes:
    """Secret bytes whose repr, str and format show only their length; they cannot be pickled.

    Python cannot promise to erase memory: dropping the last reference is all that this class can do.
    """

    __slots__ = ("_made", "_value")

    def __init__(self, value: bytes) -> None:
        self._value = bytes(value)
        self._made: tuple[object, object] | None = None

    def reveal(self) -> bytes:
        """The bytes themselves; every use of this method is a place to review."""
        return self._value

    def loaded(self, load: Callable[[bytes], T]) -> T:
        """What a primitive makes of the bytes before it uses them; kept, for the primitive that asked last, as long as the secret itself."""
        # Looked at once: between two looks another thread may have asked for another primitive.
        made = self._made
        if made is None or made[0] is not load:
            made = self._made = (load, load(self._value))
        return cast(T, made[1])

    def __len__(self) -> int:
        return len(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SecretBytes) and hmac.compare_digest(self._value, other._value)

    def __hash__(self) -> NoReturn:
        raise TypeError("a secret is not a dictionary key")

    def __repr__(self) -> str:
        return f"SecretBytes({len(self._value)} bytes)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not pickled")
