"""Whom the sums of a study single out: the rank gate of mode none.

A sum without noise is a row of zeros and ones over the hospitals. A coordinator that repeats a model can take one sum from another, so
what it may learn of unchanged vectors is the span of all rows so far. A set is refused where that span would hold a combination over no
more hospitals than one and the T that collude: those subtract their own part, and one hospital's vector is left.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from fractions import Fraction
from itertools import combinations

from privacy.ledgers.ledger import Entry

_NOTE = re.compile(r"round ([0-9]+) may be summed over: ([^ ]+)")


def note(round_number: int, members: Collection[str]) -> str:
    """The ledger's sentence about a set that the hospital agrees to, without its name before it has to leave."""
    return f"round {round_number} may be summed over: {','.join(sorted(members))}"


def agreed_sets(
    entries: Iterable[Entry], study_hash: str, besides: tuple[str, int]
) -> tuple[frozenset[str], ...]:
    """The sets of a study that this hospital agreed to, the last one of each round: within a round only that one can be opened.

    Args:
        entries: the ledger.
        study_hash: the study, hexadecimal.
        besides: (session, round) of the round that is being decided, whose own earlier set is replaced.
    """
    sets: dict[tuple[str, int], frozenset[str]] = {}
    for record in (entry.record for entry in entries):
        found = _NOTE.fullmatch(record.note)
        if record.kind == "NOTE" and record.study_hash == study_hash and found:
            sets[record.session, int(found[1])] = frozenset(found[2].split(","))
    sets.pop(besides, None)
    return tuple(dict.fromkeys(sets.values()))


def isolates(sets: Sequence[frozenset[str]], colluding: int) -> bool:
    """Whether sums over `sets` combine to one over at most 1 + `colluding` hospitals.

    Hospitals that were in exactly the same sums stay together in every combination, so whole classes of them are weighed.
    """
    classes: dict[tuple[int, ...], int] = {}
    for hospital in frozenset[str]().union(*sets):
        column = tuple(int(hospital in members) for members in sets)
        classes[column] = classes.get(column, 0) + 1
    whole = _rank(list(classes))
    small = [column for column, size in classes.items() if size <= 1 + colluding]
    for count in range(1, 2 + colluding):
        for chosen in combinations(small, count):
            if sum(classes[column] for column in chosen) > 1 + colluding:
                continue
            # The span holds a combination over the chosen alone exactly if it loses a dimension without them.
            if _rank([column for column in classes if column not in chosen]) < whole:
                return True
    return False


def _rank(rows: Iterable[Sequence[int]]) -> int:
    """Rank of a small matrix over the rationals, exact."""
    basis: list[tuple[int, list[Fraction]]] = []
    for row in rows:
        left = [Fraction(value) for value in row]
        for pivot, kept in basis:
            factor = left[pivot]
            if factor:
                left = [a - factor * b for a, b in zip(left, kept, strict=True)]
        lead = next((i for i, value in enumerate(left) if value), None)
        if lead is not None:
            basis.append((lead, [value / left[lead] for value in left]))
    return len(basis)
