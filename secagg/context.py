"""What everything is bound to, and the one function that makes every tag.

A tag is an injective encoding of (purpose, context, named parts): two different uses of one key or one hash can never
meet on the same bytes (Bonawitz et al. 2017 leave domain separation to the implementer; here it has one place).
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field

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
        encoded: the parts of every tag that these make; as @ is below every letter, they come first in each.
    """

    version: int
    study_hash: bytes
    roster_hash: bytes
    session_id: bytes
    encoded: bytes = field(init=False, repr=False, compare=False)

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
        values: tuple[bytes | int, ...] = (
            self.roster_hash,
            self.session_id,
            self.study_hash,
            self.version,
        )
        pairs = zip(_CONTEXT_PARTS, values, strict=True)
        object.__setattr__(self, "encoded", b"".join(part(name, value) for name, value in pairs))


def label(context: Context | None, purpose: str, **parts: bytes | str | int) -> bytes:
    """The tag for one purpose: length-prefixed, self-delimiting, injective in all its arguments.

    Args:
        context: the session's context, or None for what exists before a session (roster, ledger).
        purpose: what the tag is for; no two uses share one.
        parts: named values; integers are unsigned and below 2**64. The order in which they are given does not count.
    """
    return joined(context, purpose, {name: part(name, value) for name, value in parts.items()})


def joined(context: Context | None, purpose: str, parts: Mapping[str, bytes]) -> bytes:
    """As `label`, of parts that are encoded already: a round makes some fifty tags that share most of theirs."""
    head, order = _form(purpose, context is not None, tuple(parts))
    pieces = [head] if context is None else [head, context.encoded]
    pieces += [parts[name] for name in order]
    return b"".join(pieces)


def part(name: str, value: bytes | str | int) -> bytes:
    """One named value of a tag."""
    if isinstance(value, bytes):
        mark, data = "b", value
    elif isinstance(value, str):
        mark, data = "s", value.encode()
    else:
        mark, data = "i", value.to_bytes(8, "big")
    return _name(name, mark) + len(data).to_bytes(8, "big") + data


@functools.lru_cache(maxsize=256)
def _form(purpose: str, in_session: bool, names: tuple[str, ...]) -> tuple[bytes, tuple[str, ...]]:
    """The protocol's name, the purpose and the number of parts; and the order of the parts."""
    count = len(names) + (len(_CONTEXT_PARTS) if in_session else 0)
    return _field(_MAGIC) + _field(purpose.encode()) + count.to_bytes(4, "big"), tuple(sorted(names))


@functools.lru_cache(maxsize=256)
def _name(name: str, mark: str) -> bytes:
    """A part's name, and the mark of its type."""
    return _field(name.encode()) + mark.encode()


def _field(value: bytes) -> bytes:
    return len(value).to_bytes(8, "big") + value
