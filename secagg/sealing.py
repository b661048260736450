"""Sealed shares (ChaCha20-Poly1305, RFC 8439) and commitments (SHA-256 with random openings)."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from secagg.errors import BadShare
from secagg.pairs import RoundFrame
from secagg.secret import SecretBytes
from secagg.shamir import SHARE_BYTES
from secagg.wire.records import Deposit, Seal

NONCE_BYTES = 12
OPENING_BYTES = 32


@dataclass(frozen=True, slots=True)
class HeldShare:
    """One share of a dealer's self-mask seed and the opening of its commitment."""

    share: SecretBytes
    opening: SecretBytes


def commit_to_seed(frame: RoundFrame, dealer: str, seed: bytes) -> bytes:
    """Commitment to a self-mask seed; the seed is its own opening, having 256 bits of entropy."""
    return hashlib.sha256(frame.label("seed-commitment", dealer=dealer) + seed).digest()


def commit_to_share(frame: RoundFrame, dealer: str, holder: str, held: HeldShare) -> bytes:
    """Commitment to one share."""
    tag = frame.label("share-commitment", dealer=dealer, holder=holder)
    return hashlib.sha256(tag + held.opening.reveal() + held.share.reveal()).digest()


def check_share(
    frame: RoundFrame, dealer: str, holder: str, held: HeldShare, commitment: bytes, culprit: str
) -> None:
    """Raise BadShare unless the share opens the commitment."""
    if not hmac.compare_digest(commit_to_share(frame, dealer, holder, held), commitment):
        raise BadShare(dealer, holder, culprit)


def seal_share(
    frame: RoundFrame, key: SecretBytes, nonce: bytes, sender: str, receiver: str, held: HeldShare
) -> Seal:
    """Encrypt a share for its receiver; the associated data is the label that the key was derived for."""
    payload = held.share.reveal() + held.opening.reveal()
    tag = frame.directed_label("sealed-share", sender, receiver)
    return Seal(receiver, nonce, ChaCha20Poly1305(key.reveal()).encrypt(nonce, payload, tag))


def seal_is_complete(dealer: str, holder: str, deposit: Deposit) -> None:
    """Raise BadShare if a deposit holds no seal of the right size."""
    if len(deposit.nonce) != NONCE_BYTES or len(deposit.ciphertext) != SHARE_BYTES + OPENING_BYTES + 16:
        raise BadShare(dealer, holder)


def open_seal(frame: RoundFrame, key: SecretBytes, seal: Seal, sender: str) -> HeldShare:
    """Decrypt a share.

    Raises:
        BadShare: not sealed by this sender for this receiver, round and order. It blames nobody: the coordinator,
            which relays the seal, may have changed it.
    """
    tag = frame.directed_label("sealed-share", sender, seal.receiver)
    try:
        payload = ChaCha20Poly1305(key.reveal()).decrypt(seal.nonce, seal.ciphertext, tag)
    except InvalidTag:
        raise BadShare(sender, seal.receiver) from None
    return HeldShare(SecretBytes(payload[:SHARE_BYTES]), SecretBytes(payload[SHARE_BYTES:]))
