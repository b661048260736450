"""What everything is bound to, and the one function that makes every tag.

A tag is an injective encoding of (purpose, context, named parts): two different uses of one key or one hash can never
meet on the same bytes (Bonawitz et al. 2017 leave domain separation to the implementer; here it has one place).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

from secagg.errors import ParameterError
from secagg.params import PROTOCOL_VERSION

SESSION_ID_BYTES = 16
_MAGIC = b"wardround"
_CONTEXT_PARTS = ("@roster", "@session", "@study", "@version")


@dataclass(frozen=True, slots=True)
class Context:
    """The frame of one session.

    Attributes:
        version: protocol version.
        study_hash: SHA-256 of the study agreement's bytes.
        roster_hash: SHA-256 of the roster's bytes.
        session_id: 16 bytes, chosen by the coordinator for each session.
    """

    version: int
    study_hash: bytes
    roster_hash: bytes
    session_id: bytes

    def __post_init__(self) -> None:
        if self.version != PROTOCOL_VERSION:
            raise ParameterError(
                f"protocol version {self.version} is not {PROTOCOL_VERSION}; install the same release"
            )
        if (
            len(self.study_hash) != 32
            or len(self.roster_hash) != 32
            or len(self.session_id) != SESSION_ID_BYTES
        ):
            raise ParameterError("a context needs 32-byte hashes and a 16-byte session id")


def label(context: Context | None, purpose: str, **parts: bytes | str | int) -> bytes:
    """The tag for one purpose: length-prefixed, self-delimiting, injective in all its arguments.

    Args:
        context: the session's context, or None for what exists before a session (roster, ledger).
        purpose: what the tag is for; no two uses share one.
        parts: named values; integers are unsigned and below 2**64. The order in which they are given does not count.
    """
    return _tag(context, purpose, tuple(parts.items()))


@functools.lru_cache(maxsize=512)
def _tag(context: Context | None, purpose: str, parts: tuple[tuple[str, bytes | str | int], ...]) -> bytes:
    """A round makes most of its tags more than once: for each signature of a set, and for both ends of a pair."""
    pieces = [_head(purpose, len(parts) + (len(_CONTEXT_PARTS) if context is not None else 0))]
    if context is not None:
        pieces.append(_encoded(context))
    for name, value in sorted(parts):
        pieces += (_name(name), _typed(value))
    return b"".join(pieces)


@functools.lru_cache(maxsize=256)
def _head(purpose: str, count: int) -> bytes:
    """The protocol's name, the purpose and the number of parts."""
    return _field(_MAGIC) + _field(purpose.encode()) + count.to_bytes(4, "big")


@functools.lru_cache(maxsize=64)
def _encoded(context: Context) -> bytes:
    """The parts of a context; as @ is below every letter, they come first in each tag."""
    values: tuple[bytes | int, ...] = (
        context.roster_hash,
        context.session_id,
        context.study_hash,
        context.version,
    )
    return b"".join(_name(name) + _typed(value) for name, value in zip(_CONTEXT_PARTS, values, strict=True))


@functools.lru_cache(maxsize=256)
def _name(name: str) -> bytes:
    """A part's name; a round makes some fifty tags with the same few names."""
    return _field(name.encode())


def _field(value: bytes) -> bytes:
    return len(value).to_bytes(8, "big") + value


def _typed(value: bytes | str | int) -> bytes:
    match value:
        case bytes():
            return b"b" + _field(value)
        case str():
            return b"s" + _field(value.encode())
        case int():
            return b"i" + _field(value.to_bytes(8, "big"))
