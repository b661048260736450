"""Who exchanges masks and shares with whom: the sparse graph of SPEC.md, section 10.

Every hospital of the roster has a place on a ring, in the order of hashes that nobody could choose; its neighbors are the
k/2 before and the k/2 behind it. Hospitals that are not in the key list keep their places, silent ones.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from secagg.context import Context, label
from secagg.secret import SecretBytes


@dataclass(frozen=True)
class Graph:
    """The ring and the degree.

    Attributes:
        ring: every hospital of the roster, in ring order.
        degree: k, even.
        present: those in the key list; only they are neighbors of anybody.
    """

    ring: tuple[str, ...]
    degree: int
    present: frozenset[str]
    _known: dict[str, tuple[str, ...]] = field(default_factory=dict, repr=False, compare=False)

    @functools.cached_property
    def places(self) -> dict[str, int]:
        """Id to place on the ring, from 0."""
        return {hospital: place for place, hospital in enumerate(self.ring)}

    def neighbors(self, hospital: str) -> tuple[str, ...]:
        """The neighbors of a hospital that are in the key list, in roster order."""
        if hospital not in self._known:
            place, reach = self.places[hospital], self.degree // 2
            steps = (*range(-reach, 0), *range(1, reach + 1))
            around = (self.ring[(place + step) % len(self.ring)] for step in steps)
            self._known[hospital] = tuple(sorted(peer for peer in around if peer in self.present))
        return self._known[hospital]


@functools.lru_cache(maxsize=16)
def draw_graph(
    context: Context, key_list_hash: bytes, roster: tuple[str, ...], degree: int, present: frozenset[str]
) -> Graph:
    """The graph of a session: the ring order is that of one hash for each hospital.

    Args:
        context: the session.
        key_list_hash: with everybody's contribution in it (`seeded_hash`).
        roster: ids of all hospitals, in roster order.
        degree: k.
        present: those in the key list.
    """
    places = {
        hospital: hashlib.sha256(
            label(context, "ring-place", key_list=key_list_hash, hospital=hospital)
        ).digest()
        for hospital in roster
    }
    return Graph(tuple(sorted(roster, key=places.__getitem__)), degree, present)


def seeded_hash(context: Context, listed: bytes, contributions: Sequence[bytes]) -> bytes:
    """The key-list hash of a session with a sparse graph.

    Args:
        context: the session.
        listed: hash of the key list, with the commitments in it.
        contributions: 32 bytes of each hospital on it, in its order.
    """
    tag = label(context, "graph-seed", key_list=listed)
    return hashlib.sha256(tag + b"".join(contributions)).digest()


def commit_to_contribution(context: Context, hospital: str, contribution: SecretBytes) -> bytes:
    """What an advert carries; a contribution has 256 bits of entropy and is its own opening."""
    tag = label(context, "graph-commitment", hospital=hospital)
    return hashlib.sha256(tag + contribution.reveal()).digest()
