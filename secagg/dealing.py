"""What a hospital makes for the upload step: a shared self-mask seed, a masked vector, sealed shares.

Everything random comes from 32 fresh bytes, each use under its own label of this round: entropy that came twice by a
fault would still not give two rounds one seed.
"""

from __future__ import annotations

from secagg import kdf, sealing, shamir
from secagg.errors import ParameterError
from secagg.masks import Ring, Speed, add_masks
from secagg.memory import lent_vector
from secagg.pairs import RoundFrame, pair_mask, self_mask
from secagg.sealing import HeldShare
from secagg.secret import SecretBytes
from secagg.states import Ordered, Seat
from secagg.wire.records import Seal

ENTROPY_BYTES = 32


def exactly(entropy: bytes) -> bytes:
    """The entropy, if it has 32 bytes."""
    if len(entropy) != ENTROPY_BYTES:
        raise ParameterError(f"{ENTROPY_BYTES} bytes of fresh entropy are needed, not {len(entropy)}")
    return entropy


def deal(frame: RoundFrame, seat: Seat, drawn: SecretBytes) -> tuple[bytes, dict[str, HeldShare]]:
    """A fresh self-mask seed and one share of it per holder, in roster order."""
    wide = [
        kdf.expand(drawn, frame.label("draw-polynomial", degree=degree), shamir.WIDE_BYTES).reveal()
        for degree in range(seat.params.share_threshold)
    ]
    secret, *coefficients = [shamir.field_element(value) for value in wide]
    positions = {holder: seat.roster.position(holder) for holder in frame.participants.holders(seat.me)}
    shares = shamir.split(secret, coefficients, positions.values())
    held = {
        holder: HeldShare(
            SecretBytes(shares[position]),
            kdf.expand(drawn, frame.label("draw-opening", holder=holder), sealing.OPENING_BYTES),
        )
        for holder, position in positions.items()
    }
    return secret.to_bytes(shamir.SHARE_BYTES, "big"), held


def masked_vector(state: Ordered, vector: Ring, seed: bytes, speed: Speed) -> memoryview:
    """x + PRG(b) + sum over the peers of +-PRG(seed), modulo 2**bits, with the check coordinate at its end.

    Returns:
        `params.vector_bytes` bytes, read-only; no second copy is made of what may be large.
    """
    seat, frame = state.after.seat, state.frame
    params = seat.params
    if vector.shape != (params.dim,) or vector.dtype != params.ring:
        raise ParameterError(f"the vector must have shape ({params.dim},) and type {params.ring.name}")

    def fill(start: int, part: Ring, _: Ring) -> Ring:
        own = vector[start : start + part.size]
        if own.size == part.size:
            return own
        part[: own.size] = own
        part[own.size :] = 1
        return part

    masked = lent_vector(params.wire_dim, params.ring)
    pairwise = [pair_mask(secrets.mask_seed, seat.me, peer) for peer, secrets in state.secrets.items()]
    add_masks(masked, [self_mask(seed, frame, seat.me), *pairwise], speed, fill)
    return masked.data.cast("B").toreadonly()


def seal_all(state: Ordered, held: dict[str, HeldShare], drawn: SecretBytes) -> tuple[Seal, ...]:
    """Every peer's share, sealed for it under a fresh nonce."""
    me, frame = state.after.seat.me, state.frame
    nonces = {
        peer: kdf.expand(drawn, frame.label("draw-nonce", receiver=peer), sealing.NONCE_BYTES)
        for peer in state.secrets
    }
    return tuple(
        sealing.seal_share(frame, secrets.seal_out, nonces[peer].reveal(), me, peer, held[peer])
        for peer, secrets in state.secrets.items()
    )
