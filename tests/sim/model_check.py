"""Exhaustive search: every order in which a malicious coordinator can make the real machines upload, agree and open.

A search state is, for each honest hospital, its exact machine state and what the adversary has got from it so far. The
answer of a machine to a request depends on its own state alone, so each is asked once and remembered; the search itself
then walks over small integers. What the adversary can solve follows SPEC.md, section 9: the masks of an honest hospital
go once its self-mask seed is known (t shares) and the pair seeds with all others outside its group are.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction

from secagg.wire import codec
from secagg.wire.records import Agreement, Shares
from tests.sim.consortia import Case, Field
from tests.sim.local_machines import Local, RealMachine, Step


@dataclass(frozen=True, slots=True)
class Profile:
    """One honest hospital and what it has given away; sets of hospitals and of sets are bit masks.

    Attributes:
        local: number of the machine state; -1 before the upload.
        signed: sets that it signed.
        revealed: hospitals whose mask seed with this one it gave.
        opened: hospitals whose self-mask share it gave.
        spared: the set whose superfluous noise it told, as the members' bits; 0 for none.
    """

    local: int
    signed: int = 0
    revealed: int = 0
    opened: int = 0
    spared: int = 0


@dataclass(frozen=True, slots=True)
class Violation:
    """What the adversary reached, and by which messages."""

    what: str
    trace: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Result:
    """Outcome of a search: how many states there are, and the first violation.

    Attributes:
        states: states reached.
        sums: largest number of sums that were solvable at once.
        violation: None if every state is safe.
    """

    states: int
    sums: int
    violation: Violation | None


def solvable_sums(given: Mapping[int, Profile], uploaded: int, openers: int) -> list[int]:
    """The sums that the adversary can compute, as masks of the honest hospitals in them.

    Args:
        given: bit of each honest hospital of the key list to what it gave away.
        uploaded: those that uploaded under this round's order.
        openers: shares that the adversary needs beside those of the corrupted hospitals.
    """
    honest = sum(given)
    known = sum(bit for bit in given if sum(1 for p in given.values() if p.opened & bit) >= openers)
    # Masks with a corrupted hospital are known; with an honest one, if either side gave the seed.
    edges = {}
    for bit, profile in given.items():
        cut = profile.revealed | sum(other for other, theirs in given.items() if theirs.revealed & bit)
        edges[bit] = honest & ~cut & ~bit
    return closed_groups(edges, uploaded & known)


def closed_groups(edges: Mapping[int, int], known: int) -> list[int]:
    """The groups of hospitals joined by masks that nobody gave away, of those whose self-masks are all known."""
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
    return sums


class Explorer:
    """The hospitals' answers, asked once each, and what they give the adversary."""

    def __init__(self, case: Case, machine: RealMachine) -> None:
        self.case = case
        self.machine = machine
        self.field = Field(case)
        self.bit = {name: 1 << i for i, name in enumerate(self.field.participants)}
        self.members = [sum(self.bit[name] for name, _ in chosen) for chosen in self.field.sets]
        self.honest_bits = sum(self.bit[name] for name in self.field.honest)
        self.corrupted_bits = sum(self.bit[name] for name in self.field.corrupted)
        self.profiles: list[Profile] = []
        self._profile_numbers: dict[tuple[str, Profile], int] = {}
        self._locals: list[Local] = []
        self._local_numbers: dict[bytes, int] = {}
        self._agrees: dict[tuple[str, int], list[tuple[int, int, int]]] = {}
        self._openable: dict[tuple[str, int], list[int]] = {}
        self._opens: dict[tuple[str, int, int, int], int] = {}
        self._restarts: dict[tuple[str, int], int] = {}

    def first(self, name: str) -> int:
        """The profile of a hospital that has its order and nothing more."""
        return self._number(name, Profile(-1))

    def upload(self, name: str) -> int:
        """The profile right after the upload; the corrupted hospitals have their shares from then on."""
        return self._number(name, Profile(self._local(self.machine.start(self.field.uploaded[name]))))

    def agrees(self, name: str, number: int) -> list[tuple[int, int, int]]:
        """(set, honest members, next profile) for every set that the hospital signs in this state."""
        key = (name, number)
        if key not in self._agrees:
            found = []
            for index, chosen in enumerate(self.field.sets):
                request = self.field.agree_request(chosen, name)
                step = self.machine.agree(self._locals[self.profiles[number].local], request)
                if step is not None:
                    after = self._after_agree(name, number, index, step[0], step[1])
                    found.append((index, self.members[index] & self.honest_bits, after))
            self._agrees[key] = found
        return self._agrees[key]

    def openable(self, name: str, number: int) -> list[int]:
        """The sets that the hospital opens in this state if everybody signs; no others can matter."""
        key = (name, number)
        if key not in self._openable:
            local = self._locals[self.profiles[number].local]
            self._openable[key] = [
                index
                for index in range(len(self.field.sets))
                if self._ask_to_open(local, index, self.honest_bits | self.corrupted_bits)
            ]
        return self._openable[key]

    def open(self, name: str, number: int, index: int, signers: int) -> int:
        """The next profile if the hospital opens this set for what can be made of these signatures; else -1."""
        key = (name, number, index, signers)
        if key not in self._opens:
            step = self._ask_to_open(self._locals[self.profiles[number].local], index, signers)
            self._opens[key] = -1 if step is None else self._after_open(name, number, index, *step)
        return self._opens[key]

    def _ask_to_open(self, local: Local, index: int, signers: int) -> Step | None:
        """Ask with all signatures on the set, with those of its members, and with forged ones for the rest of them."""
        chosen = self.field.sets[index]
        everybody = [name for name, bit in self.bit.items() if signers & bit]
        inside = [name for name, _ in chosen]
        genuine = [name for name in inside if name in everybody]
        forged = [name for name in inside if name not in everybody]
        asked = (
            self.field.open_request(chosen, everybody),
            self.field.open_request(chosen, genuine),
            self.field.open_request(chosen, genuine, forged),
        )
        return next((step for data in asked if (step := self.machine.open(local, data)) is not None), None)

    def restart(self, name: str, number: int) -> int:
        """The profile after a crash; what the adversary has, it keeps."""
        key = (name, number)
        if key not in self._restarts:
            old = self.profiles[number]
            local = self._local(self.machine.restart(self._locals[old.local]))
            self._restarts[key] = self._number(name, replace(old, local=local))
        return self._restarts[key]

    def _after_agree(self, name: str, number: int, index: int, local: Local, answer: bytes) -> int:
        old = self.profiles[number]
        given = codec.unpack("agreement", Agreement, answer)
        assert given.signature == self.field.signature(self.field.sets[index], name)
        revealed = old.revealed
        for seed in given.seeds:
            revealed |= self.bit[seed.hospital] & ~self.bit[name]
        spared = self.members[index] if self.machine.spares_when_it_agrees else old.spared
        after = Profile(self._local(local), old.signed | 1 << index, revealed, old.opened, spared)
        return self._number(name, after)

    def _after_open(self, name: str, number: int, index: int, local: Local, answer: bytes) -> int:
        old = self.profiles[number]
        opened = old.opened
        for share in codec.unpack("shares", Shares, answer).shares:
            opened |= self.bit[share.dealer]
        # As the shell does: with its shares it tells what the set that it opened does not need.
        after = replace(old, local=self._local(local), opened=opened, spared=self.members[index])
        return self._number(name, after)

    def _local(self, local: Local) -> int:
        number = self._local_numbers.setdefault(self.machine.key(local), len(self._locals))
        if number == len(self._locals):
            self._locals.append(local)
        return number

    def _number(self, name: str, profile: Profile) -> int:
        number = self._profile_numbers.setdefault((name, profile), len(self.profiles))
        if number == len(self.profiles):
            self.profiles.append(profile)
        return number

    def solvable(self, profiles: list[Profile]) -> list[int]:
        """The sums that the adversary can compute in this state."""
        given = dict(zip((self.bit[name] for name in self.field.honest), profiles, strict=True))
        return solvable_sums(
            given,
            sum(bit for bit, profile in given.items() if profile.local >= 0),
            self.case.threshold - self.case.corrupted,
        )

    def wrong(self, profiles: list[Profile]) -> tuple[str, int]:
        """What is violated, or nothing, and the number of sums."""
        for name, profile in zip(self.field.honest, profiles, strict=True):
            if profile.revealed & profile.opened:
                return f"{name} gave both kinds of share for one peer", 0
        sums = self.solvable(profiles)
        if len(sums) > 1:
            return f"{len(sums)} sums are solvable", len(sums)
        if sums and sums[0].bit_count() < self.case.smallest_sum:
            return f"a sum over {sums[0].bit_count()} honest hospitals is solvable", 1
        return (self._too_quiet(sums[0], profiles) if sums else ""), len(sums)

    def _too_quiet(self, group: int, profiles: list[Profile]) -> str:
        """What is wrong with the noise in the sum over these honest hospitals (MECHANISMS.md, "Removing the excess noise"), or nothing.

        Where u hospitals are in the set that it told of, a hospital keeps 1 / (u - max(T, 1)) of the accounted variance, and 1 / (t - max(T, 1))
        where it told nothing. Whom the adversary holds besides the corrupted ones, up to max(T, 1) in all, it can subtract.
        """
        known = max(self.case.colluding, 1)
        left = []
        for name, profile in zip(self.field.honest, profiles, strict=True):
            if not self.bit[name] & group:
                continue
            if profile.spared and profile.spared & self.honest_bits != group:
                return f"{name} told its noise for one set, and the sum over another is solvable"
            size = profile.spared.bit_count() or self.case.threshold
            left.append(Fraction(1, size - known))
        if sum(sorted(left)[: len(left) - (known - self.case.corrupted)], Fraction(0)) < 1:
            return "the sum has less noise than is accounted"
        return ""


def search(case: Case, machine: RealMachine) -> Result:
    """Visit every state that the adversary can reach; stop at the first violation."""
    with machine.weakened():
        explorer = Explorer(case, machine)
        start = tuple(explorer.first(name) for name in explorer.field.honest)
        came_from: dict[tuple[int, ...], tuple[tuple[int, ...], str]] = {start: (start, "")}
        waiting, most = deque([start]), 0
        while waiting:
            state = waiting.popleft()
            what, sums = explorer.wrong([explorer.profiles[number] for number in state])
            most = max(most, sums)
            if what:
                return Result(len(came_from), most, Violation(what, _trace(came_from, state)))
            for place, number, move in _moves(explorer, state):
                after = (*state[:place], number, *state[place + 1 :])
                if after not in came_from:
                    came_from[after] = (state, move)
                    waiting.append(after)
        return Result(len(came_from), most, None)


def _moves(explorer: Explorer, state: tuple[int, ...]) -> list[tuple[int, int, str]]:
    """(hospital, its next profile, what was asked) for everything that the coordinator can do now."""
    uploaded, signers = 0, [explorer.corrupted_bits] * len(explorer.field.sets)
    for name, number in zip(explorer.field.honest, state, strict=True):
        profile = explorer.profiles[number]
        if profile.local >= 0:
            uploaded |= explorer.bit[name]
        for index in range(profile.signed.bit_length()):
            if profile.signed >> index & 1:
                signers[index] |= explorer.bit[name]
    moves = []
    for place, (name, number) in enumerate(zip(explorer.field.honest, state, strict=True)):
        if explorer.profiles[number].local < 0:
            moves.append((place, explorer.upload(name), f"{name} uploads"))
            continue
        for index, needed, after in explorer.agrees(name, number):
            if not needed & ~uploaded:
                moves.append((place, after, f"{name} agrees to {explorer.field.sets[index]}"))
        for index in explorer.openable(name, number):
            after = explorer.open(name, number, index, signers[index])
            if after >= 0:
                moves.append((place, after, f"{name} opens {explorer.field.sets[index]}"))
        moves.append((place, explorer.restart(name, number), f"{name} restarts"))
    return moves


def _trace(
    came_from: dict[tuple[int, ...], tuple[tuple[int, ...], str]], state: tuple[int, ...]
) -> tuple[str, ...]:
    moves = []
    while came_from[state][1]:
        state, move = came_from[state]
        moves.append(move)
    return tuple(reversed(moves))
