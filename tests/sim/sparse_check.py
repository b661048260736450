"""Every end state of one round over a small sparse graph, over the real machines: what can the adversary solve?

Whether a hospital agrees depends on its own state alone, whether it opens on which signatures exist, and what the adversary has
got is never taken back. So every state that can be reached is part of one in which each hospital walked down some chain of sets,
signed or not, and then everybody opened who had a set with enough signatures. The chain is asked of the real machine step by step;
what it gave away follows from its answers. What is solvable follows SPEC.md, section 10.5: a self-mask goes with t_k of its
neighbors' shares, and a group of hospitals is exposed when all its self-masks are known and every edge that leaves it is cut.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from types import ModuleType
from unittest.mock import patch

from secagg import agreed_set, rules
from secagg import hospital as ho
from secagg.errors import SecAggError
from secagg.params import SecAggParams
from secagg.settling import AgreeRequests
from secagg.wire import codec
from secagg.wire.records import (
    AgreedSet,
    Agreement,
    MemberSignature,
    OpenRequest,
    SetMember,
    Shares,
    SignRequest,
)
from tests.unit.secagg.rounds import Consortium, key_of

State = ho.Uploaded | ho.Agreed | ho.Settled


@dataclass(frozen=True, slots=True)
class Variant:
    """The protocol with a rule taken away.

    Attributes:
        name: what is missing.
        off: functions that do nothing.
        signs_twice: having signed, it goes on from the state before.
        forgets: it agrees to every set as if it were the first.
    """

    name: str
    off: tuple[tuple[ModuleType, str], ...] = ()
    signs_twice: bool = False
    forgets: bool = False


AS_BUILT = Variant("as built")
NO_NEIGHBOR_THRESHOLD = Variant("no neighbor threshold", ((rules, "neighborhood_is_large_enough"),))
SECOND_FINAL_SET = Variant("a second final set", signs_twice=True)
NO_SIGNATURES = Variant("no signatures", ((agreed_set, "check_signatures"),))
SETS_GROW = Variant("sets not shrinking", forgets=True)


@dataclass(frozen=True, slots=True)
class Profile:
    """What one honest hospital gave away before the open step; sets of hospitals are bit masks.

    Attributes:
        signed: sets that carry its signature.
        revealed: neighbors whose mask seed it gave.
        states: the states that it can still open from.
    """

    signed: frozenset[int]
    revealed: int
    states: tuple[State, ...]


class Field:
    """One round in which everybody uploaded; the corrupted hospitals sign whatever they are asked to."""

    def __init__(self, params: SecAggParams, corrupted: int, variant: Variant) -> None:
        self.params, self.variant = params, variant
        consortium = Consortium(params)
        everybody = consortium.roster.ids
        self.bit = {name: 1 << place for place, name in enumerate(everybody)}
        self.honest = everybody[: len(everybody) - corrupted]
        self.honest_bits = sum(self.bit[name] for name in self.honest)
        self.uploading = consortium.upload_all(consortium.order(1, everybody), everybody)
        self.frame = self.uploading.frame
        self.uploaded = consortium.hospitals
        peers = self.frame.participants.peers
        self.around = {self.bit[name]: sum(self.bit[peer] for peer in peers(name)) for name in everybody}
        self.sets = {
            sum(self.bit[name] for name in members): self._bytes(members)
            for size in range(1, len(everybody) + 1)
            for members in itertools.combinations(everybody, size)
        }
        self.members = {data: bits for bits, data in self.sets.items()}
        self._opened: dict[tuple[int, int, int], int] = {}

    def names(self, members: int) -> tuple[str, ...]:
        return tuple(name for name, bit in self.bit.items() if members & bit)

    def _bytes(self, members: tuple[str, ...]) -> bytes:
        entries = tuple(SetMember(name, self.uploading.uploads[name].header_hash) for name in members)
        return codec.encode(AgreedSet(self.frame.round, self.frame.order_hash, entries))

    def profiles(self, name: str) -> list[Profile]:
        """Every way in which this hospital may end up, without those that give the adversary less than another."""
        first = self.uploaded[name]
        assert isinstance(first, ho.Uploaded)
        found: set[tuple[frozenset[int], int, int]] = set()
        every: list[Profile] = []
        waiting = [(Profile(frozenset(), 0, ()), first, 0)]
        while waiting:
            profile, state, at = waiting.pop()
            for after, next_state, members in self._steps(name, profile, state, at):
                key = (
                    after.signed,
                    after.revealed,
                    members if isinstance(next_state, ho.Agreed) else -members,
                )
                if key not in found:
                    found.add(key)
                    every.append(after)
                    waiting.append((after, next_state, members))
        return [one for one in every if not any(_gives_less(one, other) for other in every)] or [
            Profile(frozenset(), 0, ())
        ]

    def _steps(
        self, name: str, profile: Profile, state: State, at: int
    ) -> Iterator[tuple[Profile, State, int]]:
        for members, data in self.sets.items():
            if not members & self.bit[name]:
                continue
            try:
                agreed, answer = ho.agree(
                    self.uploaded[name]
                    if self.variant.forgets and not isinstance(state, ho.Settled)
                    else state,  # type: ignore[arg-type]  # the machine refuses what does not fit
                    AgreeRequests(self.uploading, self.names(members), data)[name],
                )
            except (SecAggError, AttributeError):
                continue
            seeds = codec.unpack("agreement", Agreement, answer).seeds
            revealed = profile.revealed | sum(self.bit[seed.hospital] for seed in seeds)
            yield Profile(profile.signed, revealed, profile.states), agreed, members
        if isinstance(state, ho.Agreed):
            digest = agreed_set.set_hash(self.frame, state.agreed_set)
            settled, _ = ho.settle(state, codec.pack("sign_request", SignRequest(1, digest)))
            after = Profile(profile.signed | {at}, profile.revealed, (*profile.states, settled))
            yield after, state if self.variant.signs_twice else settled, at

    def shares(self, name: str, state: ho.Settled, signers: int) -> int:
        """Whose shares the hospital gives from this state, if these signed its set."""
        members = self.members[state.agreed_set]
        key = (self.bit[name], members, signers)
        if key not in self._opened:
            signatures = tuple(
                MemberSignature(who, agreed_set.sign_set(key_of(who), self.frame, state.agreed_set))
                for who in self.names(signers & members)
            )
            try:
                _, answer = ho.open_shares(state, codec.pack("open_request", OpenRequest(1, signatures)))
                dealers = codec.unpack("shares", Shares, answer).shares
                self._opened[key] = sum(self.bit[share.dealer] for share in dealers)
            except SecAggError:
                self._opened[key] = 0
        return self._opened[key]


def _gives_less(one: Profile, other: Profile) -> bool:
    if one is other or one == other:
        return False
    sets = {state.agreed_set for state in other.states}
    return (
        one.signed <= other.signed
        and not one.revealed & ~other.revealed
        and all(state.agreed_set in sets for state in one.states)
    )


@dataclass(frozen=True, slots=True)
class Result:
    """How many end states there are, the largest number of sums solvable at once, and the first violation."""

    states: int
    sums: int
    violation: str


def search(params: SecAggParams, corrupted: int, variant: Variant = AS_BUILT) -> Result:
    """Look at every end state; stop at the first violation."""
    with ExitStack() as stack:
        for module, rule in variant.off:
            stack.enter_context(patch.object(module, rule, lambda *_: None))
        field = Field(params, corrupted, variant)
        profiles = [field.profiles(name) for name in field.honest]
        states = most = 0
        for chosen in itertools.product(*profiles):
            states += 1
            sums, both = solvable(field, chosen)
            most = max(most, len(sums))
            if both:
                return Result(states, most, "both kinds of share for one peer")
            if len(sums) > 1:
                return Result(states, most, f"{len(sums)} sums")
            if sums and sums[0].bit_count() < max(2, params.threshold - params.colluding):
                return Result(states, most, f"a sum over {sums[0].bit_count()} honest hospitals")
        return Result(states, most, "")


def solvable(field: Field, chosen: Sequence[Profile]) -> tuple[list[int], bool]:
    """The exposed sets of honest hospitals, and whether somebody gave both kinds of share."""
    corrupted = ~field.honest_bits & sum(field.bit.values())
    signers: dict[int, int] = {}
    for name, profile in zip(field.honest, chosen, strict=True):
        for members in profile.signed:
            signers[members] = signers.get(members, 0) | field.bit[name]
    given = dict.fromkeys(field.around, 0)
    both = False
    for name, profile in zip(field.honest, chosen, strict=True):
        for state in profile.states[:1] if not field.variant.signs_twice else profile.states:
            members = field.members[state.agreed_set]
            opened = field.shares(name, state, signers.get(members, 0) | corrupted)
            both = both or bool(opened & profile.revealed)
            for bit in given:
                given[bit] |= field.bit[name] if opened & bit else 0
            if opened:
                break
    threshold = field.params.share_threshold
    known = sum(
        bit
        for bit, around in field.around.items()
        if bit & field.honest_bits and (given[bit] | (around & corrupted)).bit_count() >= threshold
    )
    edges = {}
    for name, profile in zip(field.honest, chosen, strict=True):
        bit = field.bit[name]
        cut = profile.revealed
        for other, theirs in zip(field.honest, chosen, strict=True):
            cut |= field.bit[other] if theirs.revealed & bit else 0
        edges[bit] = field.around[bit] & field.honest_bits & ~cut
    sums, left = [], known
    while left:
        group = frontier = left & -left
        while frontier:
            bit = frontier & -frontier
            frontier = (frontier & ~bit) | (edges[bit] & ~group)
            group |= edges[bit]
        left &= ~group
        if not group & ~known:
            sums.append(group)
    return sums, both
