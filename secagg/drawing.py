"""The key list of a session with a sparse graph, and the graph that follows from it (SPEC.md, section 10.2 and 10.3)."""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from secagg import graph
from secagg.context import Context
from secagg.errors import KeyListError
from secagg.pairs import Participants, check_listed, key_list_hash, parse_advert, verify_advert
from secagg.params import SecAggParams
from secagg.roster import Roster
from secagg.secret import SecretBytes
from secagg.wire import codec
from secagg.wire.records import Advert, KeyList, Signed


@dataclass(frozen=True, slots=True)
class Listed:
    """A key list whose commitments are fixed and whose graph is not drawn yet.

    Attributes:
        payload: as received.
        first_round: the round at which every pair's ratchet starts.
        signed: the adverts with their signatures, which are not verified here.
        adverts: their bodies, in roster order, keys pairwise distinct.
    """

    payload: bytes
    first_round: int
    signed: tuple[Signed, ...]
    adverts: tuple[Advert, ...]


def read_listed(payload: bytes, params: SecAggParams, roster: Roster) -> Listed:
    """Read a key list and check all in it but its signatures.

    Raises:
        WireError: not a key list.
        KeyListError: a hospital or key twice, out of roster order, not on the roster, or without commitment.
        TooFewSurvivors: fewer than the threshold.
    """
    key_list = codec.decode(KeyList, payload, 1000 * params.n + 100)
    adverts = tuple(parse_advert(signed, roster) for signed in key_list.adverts)
    check_listed(adverts, params)
    return Listed(payload, key_list.first_round, key_list.adverts, adverts)


def check_contribution(context: Context, advert: Advert, contribution: bytes) -> None:
    """Raise KeyListError unless the advert committed to this contribution; it blames nobody, since reveals are not signed."""
    opened = graph.commit_to_contribution(context, advert.hospital, SecretBytes(contribution))
    if not hmac.compare_digest(opened, advert.commitment):
        raise KeyListError(
            f"the contribution of {advert.hospital} to the graph is not the one it committed to"
        )


def draw_participants(
    listed: Listed, contributions: Sequence[bytes], params: SecAggParams, roster: Roster, context: Context
) -> Participants:
    """The key list with its graph.

    Raises:
        KeyListError: not one contribution per advert, or one that its advert did not commit to.
    """
    assert params.neighborhood is not None
    if len(contributions) != len(listed.adverts):
        raise KeyListError("there is not one contribution to the graph for each advert")
    for advert, contribution in zip(listed.adverts, contributions, strict=True):
        check_contribution(context, advert, contribution)
    digest = graph.seeded_hash(context, key_list_hash(context, listed.payload), contributions)
    keys = {advert.hospital: advert.key for advert in listed.adverts}
    drawn = graph.draw_graph(context, digest, roster.ids, params.neighborhood.degree, frozenset(keys))
    return Participants(digest, listed.first_round, keys, drawn)


def check_neighbors_adverts(
    listed: Listed, neighbors: Iterable[str], roster: Roster, context: Context
) -> None:
    """Raise BadSignature unless each of these hospitals signed its advert."""
    chosen = frozenset(neighbors)
    for signed, advert in zip(listed.signed, listed.adverts, strict=True):
        if advert.hospital in chosen:
            verify_advert(signed, advert, roster, context)
