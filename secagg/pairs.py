"""Who takes part in a session, and what each pair of them shares.

Every label of a pair holds both ids in roster order and both public keys, beside the context and the key-list hash; labels
of one round hold the round and the order hash too, so that hospitals that were told different things derive masks that do
not cancel (Pasquini et al. 2022, the remedy against model inconsistency).
"""

from __future__ import annotations

import functools
import hashlib
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from secagg import identity, kdf
from secagg.context import Context, joined, label, part
from secagg.errors import KeyListError, TooFewSurvivors
from secagg.graph import Graph
from secagg.masks import Mask
from secagg.params import SecAggParams
from secagg.roster import Roster
from secagg.secret import SecretBytes
from secagg.wire import codec
from secagg.wire.records import Advert, KeyList, Signed

_X25519_PRIME = (1 << 255) - 19

# Beside the round's own, the parts of its tags are the ids and public keys of a few hospitals, the same in each round.
_part = functools.lru_cache(maxsize=4096)(part)


@dataclass(frozen=True, slots=True)
class Participants:
    """The key list as read: who takes part in a session.

    Attributes:
        hash: SHA-256 of the key list's bytes in its context; in every label from then on.
        first_round: the round at which every pair's ratchet starts.
        keys: id to 32-byte X25519 public key, in roster order.
        graph: who is whose neighbor; None in the complete graph.
    """

    hash: bytes
    first_round: int
    keys: Mapping[str, bytes]
    graph: Graph | None = None

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids in roster order."""
        return tuple(self.keys)

    def peers(self, hospital: str) -> tuple[str, ...]:
        """With whom a hospital exchanges masks and sealed shares, in roster order."""
        if self.graph is not None:
            return self.graph.neighbors(hospital)
        return tuple(peer for peer in self.keys if peer != hospital)

    def holders(self, dealer: str) -> tuple[str, ...]:
        """Who holds a share of a dealer's self-mask, in roster order; as a relation it is symmetric.

        In the complete graph the dealer itself holds one; in the sparse graph its t_k shares are all its neighbors'.
        """
        return self.ids if self.graph is None else self.graph.neighbors(dealer)


@dataclass(frozen=True, slots=True)
class RoundFrame:
    """What every label of one round holds."""

    context: Context
    participants: Participants
    round: int
    order_hash: bytes
    _parts: dict[str, bytes] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        mine = (("key_list", self.participants.hash), ("round", self.round), ("order", self.order_hash))
        object.__setattr__(self, "_parts", {name: part(name, value) for name, value in mine})

    def label(self, purpose: str, **parts: bytes | str | int) -> bytes:
        """A tag of this round."""
        return joined(
            self.context, purpose, self._parts | {name: _part(name, value) for name, value in parts.items()}
        )

    def pair_label(self, purpose: str, one: str, other: str) -> bytes:
        """A tag of an unordered pair in this round."""
        return self.label(purpose, **_pair_parts(self.participants, one, other))

    def directed_label(self, purpose: str, sender: str, receiver: str) -> bytes:
        """A tag of what one hospital seals for another in this round."""
        keys = self.participants.keys
        return self.label(
            purpose, sender=sender, receiver=receiver, sender_key=keys[sender], receiver_key=keys[receiver]
        )


@dataclass(frozen=True, slots=True)
class RoundSecrets:
    """What one hospital shares with one peer in one round."""

    mask_seed: SecretBytes
    seal_out: SecretBytes
    seal_in: SecretBytes


def exchange_public(private: SecretBytes) -> bytes:
    """The X25519 public key (RFC 7748) of 32 private bytes."""
    return X25519PrivateKey.from_private_bytes(private.reveal()).public_key().public_bytes_raw()


def advert_label(context: Context) -> bytes:
    """The tag that a hospital signs its session key under."""
    return label(context, "advert")


def read_advert(signed: Signed, roster: Roster, context: Context) -> Advert:
    """The verified body of a signed advert.

    Raises:
        WireError, KeyListError: as `parse_advert`.
        BadSignature: not signed by the hospital it names, in this context.
    """
    advert = parse_advert(signed, roster)
    verify_advert(signed, advert, roster, context)
    return advert


def parse_advert(signed: Signed, roster: Roster) -> Advert:
    """The body of an advert whose signature is not looked at.

    Raises:
        WireError: not an advert.
        KeyListError: of nobody on the roster, or a key with a second spelling.
    """
    advert = codec.decode(Advert, signed.body, 200)
    if advert.hospital not in roster:
        raise KeyListError("an advert names a hospital that is not on the roster", advert.hospital)
    # RFC 7748 ignores the top bit and reduces modulo p: only the canonical form makes "pairwise distinct" mean it.
    if int.from_bytes(advert.key, "little") >= _X25519_PRIME:
        raise KeyListError("the session key is not in canonical form", advert.hospital)
    return advert


def check_commitment(advert: Advert, params: SecAggParams) -> None:
    """Raise KeyListError unless the advert commits to a contribution to the graph exactly if the study has one."""
    if len(advert.commitment) != (0 if params.neighborhood is None else 32):
        raise KeyListError("the advert is made for another kind of graph than the study's", advert.hospital)


def verify_advert(signed: Signed, advert: Advert, roster: Roster, context: Context) -> None:
    """Raise BadSignature unless the hospital that the advert names signed it."""
    public = roster.member(advert.hospital).identity_key
    identity.verify(
        public, advert_label(context), signed.body, signed.signature, what="advert", who=advert.hospital
    )


def read_key_list(payload: bytes, params: SecAggParams, roster: Roster, context: Context) -> Participants:
    """Read and check a key list.

    Raises:
        WireError: not a key list.
        KeyListError: a hospital or key twice, out of roster order, or not on the roster.
        BadSignature: a key that its hospital did not sign for this session.
        TooFewSurvivors: fewer than the threshold.
    """
    key_list = codec.decode(KeyList, payload, 1000 * params.n + 100)
    adverts = [read_advert(signed, roster, context) for signed in key_list.adverts]
    check_listed(adverts, params)
    keys = {advert.hospital: advert.key for advert in adverts}
    return Participants(key_list_hash(context, payload), key_list.first_round, keys)


def key_list_hash(context: Context, payload: bytes) -> bytes:
    """SHA-256 of the key list's bytes in its context."""
    return hashlib.sha256(label(context, "key-list") + payload).digest()


def check_listed(adverts: Sequence[Advert], params: SecAggParams) -> None:
    """What a key list must be beside the signatures in it.

    Raises:
        KeyListError: out of roster order, a hospital or key twice, or an advert for another kind of graph.
        TooFewSurvivors: fewer than the threshold.
    """
    if any(a.hospital >= b.hospital for a, b in itertools.pairwise(adverts)):
        raise KeyListError("the key list is out of order or names a hospital twice")
    for advert in adverts:
        check_commitment(advert, params)
    check_distinct_keys(adverts)
    if len(adverts) < params.threshold:
        raise TooFewSurvivors(params.threshold, len(adverts), "advertise")


def check_distinct_keys(adverts: Iterable[Advert]) -> None:
    """Raise KeyListError if two hospitals advertise one key.

    A hospital that signs another's key as its own and drops would make everybody reveal that other's mask seeds.
    """
    owner: dict[bytes, str] = {}
    for advert in adverts:
        if advert.key in owner:
            raise KeyListError(f"the session key is also that of {owner[advert.key]}", advert.hospital)
        owner[advert.key] = advert.hospital


def pair_chains(
    private: SecretBytes, participants: Participants, context: Context, me: str
) -> dict[str, SecretBytes]:
    """The pair secret with every peer (every neighbor in the sparse graph), at the session's first round.

    Raises:
        KeyListError: a peer's key is of small order, so that the exchange would be public.
    """
    own = X25519PrivateKey.from_private_bytes(private.reveal())
    chains = {}
    for peer in participants.peers(me):
        try:
            shared = own.exchange(X25519PublicKey.from_public_bytes(participants.keys[peer]))
        except ValueError:
            raise KeyListError("the session key is of small order", peer) from None
        parts = _pair_parts(participants, me, peer)
        tag = label(context, "pair", key_list=participants.hash, **parts)
        chains[peer] = kdf.extract_and_expand(SecretBytes(shared), tag)
    return chains


def ratchet(chains: Mapping[str, SecretBytes], frame: RoundFrame, me: str) -> dict[str, SecretBytes]:
    """The pair secrets of the next round; who holds only these cannot compute those of frame.round.

    The order hash stays out of it, so that a pair stays in step whatever either was told.
    """
    tags = frame.participants
    return {
        peer: kdf.expand(
            chain,
            label(
                frame.context,
                "ratchet",
                key_list=tags.hash,
                round=frame.round,
                **_pair_parts(tags, me, peer),
            ),
        )
        for peer, chain in chains.items()
    }


def round_secrets(chains: Mapping[str, SecretBytes], frame: RoundFrame, me: str) -> dict[str, RoundSecrets]:
    """Mask seed and seal keys with every peer, for the frame's round."""
    return {
        peer: RoundSecrets(
            kdf.expand(chain, frame.pair_label("mask", me, peer)),
            kdf.expand(chain, frame.directed_label("seal", me, peer)),
            kdf.expand(chain, frame.directed_label("seal", peer, me)),
        )
        for peer, chain in chains.items()
    }


def pair_mask(seed: SecretBytes, me: str, peer: str) -> Mask:
    """The mask that `me` adds for the peer: plus at the earlier in the roster, minus at the later."""
    return Mask(seed, 1 if me < peer else -1)


def self_mask(seed: bytes, frame: RoundFrame, dealer: str) -> Mask:
    """The mask that the dealer adds for itself, from its shared seed."""
    return Mask(kdf.expand(SecretBytes(seed), frame.label("self-mask", dealer=dealer)), 1)


def _pair_parts(participants: Participants, one: str, other: str) -> dict[str, bytes | str | int]:
    first, second = sorted((one, other))
    return {
        "first": first,
        "second": second,
        "first_key": participants.keys[first],
        "second_key": participants.keys[second],
    }
