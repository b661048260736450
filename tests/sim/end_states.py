"""The same question at sizes where walking through every order takes too long, over rules read off the real machines.

Whether a hospital agrees depends on its own state and on who uploaded; whether it opens, on which signatures exist; and
what the adversary has got is never taken back. So every state that can be reached is part of one in which first all
uploads came, then each hospital walked down some chain of sets, then everybody who could opened. Of chains that end in
one set, those whose signatures are part of another's are left out. The real machines are asked for every step.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from tests.sim.consortia import Case
from tests.sim.local_machines import RealMachine
from tests.sim.model_check import Explorer, Profile, Result, Violation


def search_end_states(case: Case, machine: RealMachine | None = None) -> Result:
    """Look at every end state of the protocol, as built or with a rule taken away that only opening asks; honest hospitals are
    exchangeable as to who uploads."""
    machine = machine or RealMachine()
    with machine.weakened():
        return _search(Explorer(case, machine))


def _search(explorer: Explorer) -> Result:
    honest = explorer.field.honest
    states = most = 0
    for count in range(len(honest) + 1):
        uploaded = sum(explorer.bit[name] for name in honest[:count])
        ends = [
            _ends(explorer, name, uploaded) if place < count else [explorer.first(name)]
            for place, name in enumerate(honest)
        ]
        for numbers in itertools.product(*ends):
            states += 1
            profiles = _open_all(explorer, numbers)
            what, sums = explorer.wrong(profiles)
            most = max(most, sums)
            if what:
                return Result(states, most, Violation(what, tuple(map(repr, profiles))))
    return Result(states, most, None)


def _ends(explorer: Explorer, name: str, uploaded: int) -> list[int]:
    """The profiles in which a hospital may end up before the open step, without those that give away less."""
    found = set(_walk(explorer, name, uploaded))
    profiles = [explorer.profiles[number] for number in found]
    return sorted(
        number
        for number in found
        if not any(_gives_less(explorer.profiles[number], other) for other in profiles)
    )


def _walk(explorer: Explorer, name: str, uploaded: int) -> Iterator[int]:
    seen, waiting = set(), [explorer.upload(name)]
    while waiting:
        number = waiting.pop()
        if number in seen:
            continue
        seen.add(number)
        yield number
        waiting += [after for _, needed, after in explorer.agrees(name, number) if not needed & ~uploaded]


def _gives_less(one: Profile, other: Profile) -> bool:
    """Same state and seeds, fewer signatures."""
    same = (one.local, one.revealed, one.opened) == (other.local, other.revealed, other.opened)
    return same and one != other and one.signed & other.signed == one.signed


def _open_all(explorer: Explorer, numbers: tuple[int, ...]) -> list[Profile]:
    """The profiles once everybody opened who has a set that enough others signed."""
    profiles = [explorer.profiles[number] for number in numbers]
    ended = list(profiles)
    for place, (name, number) in enumerate(zip(explorer.field.honest, numbers, strict=True)):
        if profiles[place].signed == 0:
            continue
        for index in explorer.openable(name, number):
            signers = explorer.corrupted_bits
            for other, profile in zip(explorer.field.honest, profiles, strict=True):
                if profile.signed >> index & 1:
                    signers |= explorer.bit[other]
            after = explorer.open(name, number, index, signers)
            if after >= 0:
                ended[place] = explorer.profiles[after]
    return ended
