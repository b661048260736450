"""From the uploaded vectors to their sum: add them up, then remove the masks that are left.

Memory is one vector: it is filled block by block with the sum of what was uploaded, and each block loses its masks while it
is in the cache.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TypeAlias

import numpy as np

from secagg import sealing, shamir
from secagg.agreed_set import member_headers
from secagg.errors import CheckFailed, InconsistentDealer, ParameterError, TooFewSurvivors
from secagg.masks import DEFAULT_SPEED, Mask, Ring, Speed, add_masks
from secagg.memory import lent_vector
from secagg.pairs import pair_mask, self_mask
from secagg.params import SecAggParams
from secagg.secret import SecretBytes
from secagg.tables import Opening

# Takes an id, a first coordinate and memory for as many coordinates as are due; returns them, there or where they are already.
Read: TypeAlias = Callable[[str, int, Ring], Ring]


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
    """The sum over nobody: zeros, (wire_dim,)."""
    return np.zeros(params.wire_dim, dtype=params.ring)


def unmask(state: Opening, vectors: Mapping[str, Ring], speed: Speed = DEFAULT_SPEED) -> Ring:
    """The checked sum over the agreed set, (dim,), modulo 2**bits, of vectors that are in memory.

    Args:
        state: enough shares are in (`can_open`).
        vectors: id to masked vector, (wire_dim,); exactly the members of the set.
        speed: how masks are expanded.

    Raises:
        ParameterError: not exactly the members' vectors.
        TooFewSurvivors, InconsistentDealer, CheckFailed: as `unmask_blocks`.
    """
    if vectors.keys() != member_headers(state.agreeing.proposed).keys():
        raise ParameterError("the vectors must be those of the members of the agreed set")
    return unmask_blocks(state, lambda member, first, due: vectors[member][first : first + due.size], speed)


def unmask_blocks(state: Opening, read: Read, speed: Speed = DEFAULT_SPEED) -> Ring:
    """The checked sum over the agreed set, (dim,), modulo 2**bits, of vectors that are read block by block.

    Args:
        state: enough shares are in (`can_open`).
        read: coordinates first <= i < first + due.size of a member's masked vector, in `due` or elsewhere; called from
            `speed.threads` threads.
        speed: how masks are expanded.

    Raises:
        ParameterError: `read` gave another number of coordinates.
        TooFewSurvivors, InconsistentDealer: as `remaining_masks`.
        CheckFailed: as `check_constants`.
    """
    params = state.agreeing.uploading.session.desk.params
    members = tuple(member_headers(state.agreeing.proposed))

    def fill(first: int, part: Ring, other: Ring) -> Ring:
        before: Ring | None = None  # The first two go straight into the block: one pass over memory less.
        for member in members:
            values = read(member, first, part if before is None else other)
            if values.shape != part.shape:
                raise ParameterError(f"{values.size} coordinates of {member} came where {part.size} were due")
            before = values if before is None else np.add(before, values, part)
        assert before is not None
        return before

    total = lent_vector(params.wire_dim, params.ring)
    add_masks(total, remaining_masks(state), speed, fill)
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
