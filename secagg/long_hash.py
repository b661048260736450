"""SHA-256 of what may be as long as a model, taken once where several rules ask for it.

A long order is recognized when it comes again, named by its hash in every label of its round, and signed under that hash; a long sum is
recognized and compared with what its receipt signs. Each time the same bytes of the same message.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from secagg.errors import WireError
from secagg.wire import codec
from secagg.wire.records import Receipt, Signed

# From here on a hash takes longer than the look for it.
LONG_BYTES = 1 << 16
# No message begins with it: fields are numbered from 1.
_LONG_MARK = b"\x00long"


@dataclass(frozen=True, slots=True)
class _Hashed:
    """The part of `whole` that was hashed last; `whole` is held, so that its address cannot come to mean other bytes."""

    whole: bytes
    start: int
    length: int
    digest: bytes


_last = _Hashed(b"", 0, 0, b"")


def sha256_of(part: bytes | memoryview) -> bytes:
    """SHA-256 of these bytes; of a long part of a message, the same part again costs nothing.

    Only views of `bytes` are remembered: nothing else stays what it was.
    """
    global _last
    view = memoryview(part).cast("B")
    whole = view.obj
    if len(view) < LONG_BYTES or type(whole) is not bytes:
        return hashlib.sha256(view).digest()
    start, known = _offset(view, whole), _last
    if known.whole is whole and (known.start, known.length) == (start, len(view)):
        return known.digest
    digest = hashlib.sha256(view).digest()
    _last = _Hashed(whole, start, len(view), digest)
    return digest


def fingerprint(message: bytes) -> bytes:
    """What a message is recognized by when it comes again.

    Returns:
        Its SHA-256; of a long order or receipt, that of the message with SHA-256(body) or SHA-256(sum) in the place of the part itself.
    """
    part = _long_part(message) if len(message) >= LONG_BYTES else None
    if part is None:
        return hashlib.sha256(message).digest()
    start = _offset(part, message)
    whole = memoryview(message)
    digest = hashlib.sha256(_LONG_MARK)
    for piece in (whole[:start], sha256_of(part), whole[start + len(part) :]):
        digest.update(piece)
    return digest.digest()


def _long_part(message: bytes) -> memoryview | None:
    """Of a message that may hold a model or a sum, that part."""
    part: bytes | memoryview
    try:
        match codec.kind_of(message):
            case "round_order" as kind:
                part = codec.unpack_views(kind, Signed, message).body
            case "receipt" as kind:
                part = codec.unpack_views(kind, Receipt, message).sum
            case _:
                return None
    except WireError:
        return None
    return memoryview(part) if len(part) >= LONG_BYTES else None


def _offset(part: memoryview, whole: bytes) -> int:
    """Where in `whole` a view of it begins."""
    return _address(part) - _address(memoryview(whole))


def _address(view: memoryview) -> int:
    return int(np.frombuffer(view, dtype=np.uint8).__array_interface__["data"][0])
