"""Long-lived Ed25519 identities (RFC 8032)."""

from __future__ import annotations

from collections import deque
from functools import lru_cache

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from secagg.errors import BadSignature
from secagg.secret import SecretBytes

# Larger bodies, such as the roster of a thousand hospitals, are not worth keeping.
_REMEMBERED_BYTES = 1 << 16

# What this process signed last comes back to it: the own header and signature in the coordinator's requests, the coordinator's own
# receipt when the next order names it. Made with the key, under this label, over this body: there is nothing to verify.
_MADE_HERE: deque[tuple[bytes, bytes, bytes, bytes]] = deque(maxlen=8)

_PRIME = (1 << 255) - 19
# y of every point whose order divides 8, in each spelling of 32 bytes; the sign bit is x's (RFC 8032, section 5.1).
_ORDER_EIGHT_Y = 2707385501144840649318225287225658788936804267575313519463743609750303402022
_SMALL_ORDER_Y = frozenset({0, 1, _PRIME - 1, _PRIME, _PRIME + 1, _ORDER_EIGHT_Y, _PRIME - _ORDER_EIGHT_Y})


def is_of_small_order(public: bytes) -> bool:
    """Whether signatures under this key prove nothing: one signature verifies on one message in eight, or on all.

    OpenSSL takes such keys, as RFC 8032 does. A roster refuses them, so that nobody can disown what it signed.
    """
    return int.from_bytes(public, "little") & ((1 << 255) - 1) in _SMALL_ORDER_Y


def public_key(private: SecretBytes) -> bytes:
    """The 32-byte public key of a 32-byte private seed."""
    return private.loaded(_load)[1]


def sign(private: SecretBytes, label: bytes, body: bytes) -> bytes:
    """A 64-byte signature over the label and the body; deterministic, as RFC 8032 has it."""
    key, public = private.loaded(_load)
    signature = key.sign(_message(label, body))
    if len(body) <= _REMEMBERED_BYTES:
        _MADE_HERE.append((signature, public, label, body))
    return signature


def verify(
    public: bytes,
    label: bytes,
    body: bytes,
    signature: bytes,
    *,
    what: str = "message",
    who: str | None = None,
) -> None:
    """Return only if the signature is good.

    Args:
        public: 32-byte public key, from the roster.
        label: tag made by `secagg.context.label`.
        body: the bytes received.
        signature: 64 bytes.
        what: noun for the error message.
        who: the party blamed in the error.

    Raises:
        BadSignature: the signature does not verify.
    """
    if (signature, public, label, body) in _MADE_HERE:
        return
    check = _check if len(body) <= _REMEMBERED_BYTES else _check.__wrapped__
    try:
        check(public, label, body, signature)
    except (InvalidSignature, ValueError):
        raise BadSignature(what, who) from None


@lru_cache(maxsize=1024)
def _check(public: bytes, label: bytes, body: bytes, signature: bytes) -> None:
    """Return if the signature is good. A round shows the same ones twice, in the open request and in the receipt; what raises is not kept."""
    _key(public).verify(signature, _message(label, body))


def _load(seed: bytes) -> tuple[Ed25519PrivateKey, bytes]:
    """The private key and the public one: deriving that takes as long as a signature."""
    key = Ed25519PrivateKey.from_private_bytes(seed)
    return key, key.public_key().public_bytes_raw()


@lru_cache(maxsize=1024)
def _key(public: bytes) -> Ed25519PublicKey:
    return Ed25519PublicKey.from_public_bytes(public)


def _message(label: bytes, body: bytes) -> bytes:
    return len(label).to_bytes(8, "big") + label + body
