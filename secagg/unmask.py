"""From the uploaded vectors to their sum: add them up, then remove the masks that are left.

Memory is one vector: vectors are added as their chunks come from the disk, and masks are removed in place.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from secagg import sealing, shamir
from secagg.agreed_set import member_headers
from secagg.errors import CheckFailed, InconsistentDealer, ParameterError, TooFewSurvivors
from secagg.masks import DEFAULT_SPEED, Mask, Ring, Speed, add_masks
from secagg.pairs import pair_mask, self_mask
from secagg.params import SecAggParams
from secagg.secret import SecretBytes
from secagg.tables import Opening


def remaining_masks(state: Opening) -> tuple[Mask, ...]:
    """The masks to add to the sum of the members' vectors so that only the vectors are left.

    Raises:
        TooFewSurvivors: fewer than a threshold of good shares for one member.
        InconsistentDealer: a member's shares reconstruct something else than it committed to.
    """
    frame = state.agreeing.uploading.frame
    members = member_headers(state.agreeing.proposed)
    masks = []
    for dealer in members:
        mask = self_mask(_self_mask_seed(state, dealer), frame, dealer)
        masks.append(Mask(mask.seed, -mask.sign))
    for holder in members:
        for dropped, seed in state.agreeing.mask_seeds[holder].items():
            mask = pair_mask(seed, holder, dropped)
            masks.append(Mask(mask.seed, -mask.sign))
    return tuple(masks)


def empty_sum(params: SecAggParams) -> Ring:
    """Zeros to add vectors to, (wire_dim,)."""
    return np.zeros(params.wire_dim, dtype=params.ring)


def add_chunk(total: Ring, offset: int, chunk: bytes) -> None:
    """Add a piece of one vector in place; the offset is in bytes, both are multiples of the element size."""
    size = total.itemsize
    if offset % size or len(chunk) % size or not 0 <= offset <= total.nbytes - len(chunk):
        raise ParameterError("a chunk must hold whole elements within the vector")
    part = total[offset // size : (offset + len(chunk)) // size]
    np.add(part, np.frombuffer(chunk, dtype=total.dtype), out=part)


def remove_masks(state: Opening, total: Ring, speed: Speed = DEFAULT_SPEED) -> None:
    """Turn the sum of the members' masked vectors into the sum of their vectors, in place."""
    add_masks(total, remaining_masks(state), speed)


def unmask(state: Opening, vectors: Mapping[str, Ring], speed: Speed = DEFAULT_SPEED) -> Ring:
    """The checked sum over the agreed set, (dim,), modulo 2**bits.

    Args:
        state: enough shares are in (`can_open`).
        vectors: id to masked vector, (wire_dim,); exactly the members of the set, memory maps will do.
        speed: how masks are expanded.

    Raises:
        ParameterError: not exactly the members' vectors.
        TooFewSurvivors, InconsistentDealer: as `remaining_masks`.
        CheckFailed: as `check_constants`.
    """
    params = state.agreeing.uploading.session.desk.params
    members = member_headers(state.agreeing.proposed)
    if vectors.keys() != members.keys():
        raise ParameterError("the vectors must be those of the members of the agreed set")
    total = empty_sum(params)
    for vector in vectors.values():
        np.add(total, vector, out=total)
    remove_masks(state, total, speed)
    return check_constants(state, total)


def check_constants(state: Opening, total: Ring) -> Ring:
    """The sum without the check coordinate, which must be the number of summands.

    Raises:
        CheckFailed: somebody uploaded a vector, or revealed a seed, that does not fit the others.
    """
    params = state.agreeing.uploading.session.desk.params
    expected = len(state.agreeing.proposed.members)
    found = int(total[params.dim])
    if found != expected:
        raise CheckFailed(expected, found)
    return total[: params.dim]


def _self_mask_seed(state: Opening, dealer: str) -> bytes:
    desk, frame = state.agreeing.uploading.session.desk, state.agreeing.uploading.frame
    good = state.good_shares[dealer]
    threshold = desk.params.share_threshold
    if len(good) < threshold:
        raise TooFewSurvivors(threshold, len(good), "open")
    openers = _first_openers(good, threshold)
    secret = shamir.reconstruct({desk.roster.position(holder): good[holder].reveal() for holder in openers})
    seed = secret.to_bytes(shamir.SHARE_BYTES, "big")
    header = state.agreeing.uploading.uploads[dealer].header
    if sealing.commit_to_seed(frame, dealer, seed) != header.seed_commitment:
        raise InconsistentDealer(dealer)
    return seed


def _first_openers(good: Mapping[str, SecretBytes], threshold: int) -> Iterable[str]:
    """The same openers for every dealer where possible, so that one cached Lagrange vector serves all."""
    return sorted(good)[:threshold]
