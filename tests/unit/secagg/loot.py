"""The attacker's half of every attack: what a coordinator computes from the messages and secrets that it got hold of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from secagg import coordinator as co
from secagg import hospital as ho
from secagg import sealing, shamir
from secagg.agreed_set import sign_set
from secagg.masks import Mask, Ring, add_masks
from secagg.pairs import RoundSecrets, pair_mask, self_mask
from secagg.secret import SecretBytes
from secagg.wire import codec
from secagg.wire.records import (
    Agreement,
    AgreeRequest,
    MemberSignature,
    OpenRequest,
    Shares,
)
from tests.library_wire import encoded
from tests.unit.secagg.rounds import Consortium, consortium, craft_request, key_of, take_unchecked

ALL = ("h000", "h001", "h002", "h003")


def nothing(*_: object, **__: object) -> None:
    """A control switched off."""


def uploaded(n: int = 4) -> tuple[Consortium, co.Uploading]:
    """A round in which everybody has uploaded."""
    c = consortium(n)
    return c, c.upload_all(c.order(1, c.hospitals), list(c.hospitals))


def asking(c: Consortium, name: str, request: bytes) -> Callable[[], tuple[ho.Agreed, bytes]]:
    """An agree request, to be put to the same state as often as wanted."""
    state = c.hospitals[name]
    assert isinstance(state, ho.Uploaded | ho.Agreed)
    return lambda: ho.agree(state, request)


@dataclass
class Loot:
    """Everything that helps to unmask the uploads of one round.

    Attributes:
        c: hospitals and parameters; of the hospitals' secrets nothing is read here.
        uploading: what was uploaded.
        seeds: pair to mask seed.
        shares: dealer to (position to share of its self-mask seed).
        signatures: (set's bytes, signer) to signature.
        corrupted: hospitals whose keys the attacker has; it signs what it likes for them, and zeros for the others.
    """

    c: Consortium
    uploading: co.Uploading
    seeds: dict[frozenset[str], SecretBytes] = field(default_factory=dict)
    shares: dict[str, dict[int, bytes]] = field(default_factory=dict)
    signatures: dict[tuple[bytes, str], bytes] = field(default_factory=dict)
    corrupted: set[str] = field(default_factory=set)

    def late(self, name: str) -> None:
        """Keep an upload that came when its round had gone on without it."""
        self.uploading = take_unchecked(self.uploading, name, self.c.uploads[name])

    def give(self, dealer: str, holder: str, share: bytes) -> None:
        """Note one share."""
        self.shares.setdefault(dealer, {})[self.c.roster.position(holder)] = share

    def know_pairs(self, me: str, secrets: Mapping[str, RoundSecrets]) -> None:
        """Note every mask seed of a hospital whose secrets are known."""
        self.seeds |= {frozenset({me, peer}): mine.mask_seed for peer, mine in secrets.items()}

    def collude(self, me: str, secrets: Mapping[str, RoundSecrets]) -> None:
        """Use a hospital's secrets: its mask seeds, and the seals that were dealt to it."""
        self.corrupted.add(me)
        self.know_pairs(me, secrets)
        for dealer, upload in self.uploading.uploads.items():
            if dealer != me:
                held = sealing.open_seal(
                    self.uploading.frame, secrets[dealer].seal_in, upload.seals[me], dealer
                )
                self.give(dealer, me, held.share.reveal())

    def ask_agree(self, name: str, members: tuple[str, ...]) -> None:
        """Have a hospital sign a set; keep its signature and the mask seeds that it reveals."""
        request = craft_request(self.uploading, members, name)
        answer = codec.unpack("agreement", Agreement, self.c.agree(name, request))
        agreed = codec.unpack("agree_request", AgreeRequest, request).agreed_set
        self.signatures[agreed, name] = answer.signature
        self.seeds |= {frozenset({name, s.hospital}): SecretBytes(s.seed) for s in answer.seeds}

    def ask_open(self, name: str, members: tuple[str, ...], signers: tuple[str, ...]) -> None:
        """Have a hospital open a set, with the signatures that are there, in this order; colluders sign anything."""
        request = craft_request(self.uploading, members, name)
        agreed = codec.unpack("agree_request", AgreeRequest, request).agreed_set
        entries = tuple(MemberSignature(who, self._signature(agreed, who)) for who in signers)
        state = self.c.hospitals[name]
        assert isinstance(state, ho.Agreed)
        message = codec.wrap("open_request", encoded(OpenRequest(1, entries)))
        self.c.hospitals[name], answer = ho.open_shares(state, message)
        self.hear(name, answer)

    def _signature(self, agreed: bytes, who: str) -> bytes:
        if who in self.corrupted:
            return sign_set(key_of(who), self.uploading.frame, agreed)
        return self.signatures.get((agreed, who), bytes(64))

    def hear(self, holder: str, answer: bytes) -> None:
        """Keep the shares of an open answer."""
        for opened in codec.unpack("shares", Shares, answer).shares:
            self.give(opened.dealer, holder, opened.share)

    def sum_of(self, *group: str) -> Ring | None:
        """The sum of these hospitals' vectors, (dim,); None where a mask seed or share is missing."""
        frame, params = self.uploading.frame, self.c.params
        total = co.empty_sum(params)
        masks: list[Mask] = []
        for name in group:
            total += np.frombuffer(self.c.uploads[name].vector, dtype=params.ring)
            if len(self.shares.get(name, {})) < params.threshold:
                return None
            some = dict(sorted(self.shares[name].items())[: params.threshold])
            masks.append(self_mask(shamir.reconstruct(some).to_bytes(32, "big"), frame, name))
            for peer in frame.participants.ids:
                if peer in group:
                    continue
                if frozenset({name, peer}) not in self.seeds:
                    return None
                masks.append(pair_mask(self.seeds[frozenset({name, peer})], name, peer))
        add_masks(total, [replace(mask, sign=-mask.sign) for mask in masks])
        return total[: params.dim]

    def has(self, name: str) -> bool:
        """Whether the attack gained this one hospital's vector, to the last bit."""
        found = self.sum_of(name)
        return found is not None and bool((found == self.c.vectors[name]).all())
