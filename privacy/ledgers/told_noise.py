"""In which rounds of a study a hospital told its spare noise: its own signed statement, in the seal of its ledger.

The coordinator writes into each sum of how many hospitals spare noise is out, and every standard error rests on that count. Nobody but a hospital
knows whether it told; so each states it, and a count above the statements is a false one (`privacy.assessment.claims_spare`). A round is stated from
the moment when telling it was written down, before the first byte left, and where a journal was lost: the statement is never short of what left.
It names rounds alone, which the coordinator knows from the messages themselves.
"""

from __future__ import annotations

from collections.abc import Iterable

# (first, last) rounds, both in it, rising and not adjacent: one spelling for each set of rounds.
Runs = tuple[tuple[int, int], ...]


def merged(runs: Iterable[tuple[int, int]]) -> Runs:
    """The same rounds in their one spelling; runs may overlap and come in any order."""
    found: list[tuple[int, int]] = []
    for first, last in sorted(runs):
        if found and first <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(found[-1][1], last))
        else:
            found.append((first, last))
    return tuple(found)


def is_stated(runs: Runs, round_number: int) -> bool:
    """Whether the rounds hold this one."""
    return any(first <= round_number <= last for first, last in runs)


def runs_to_json(runs: Runs) -> list[list[int]]:
    """Pairs, as a seal holds them."""
    return [list(run) for run in runs]


def runs_from_json(value: object) -> Runs:
    """Inverse of `runs_to_json`.

    Raises:
        ValueError: no list of pairs of round numbers from 1 on, or in another spelling than `merged` gives.
    """
    if not isinstance(value, list):
        raise ValueError("rounds are a list of pairs")
    found: list[tuple[int, int]] = []
    for pair in value:
        match pair:
            case [int(first), int(last)] if type(first) is type(last) is int and 1 <= first <= last:
                found.append((first, last))
            case _:
                raise ValueError(
                    "a run of rounds is a pair of numbers from 1 on, the first one not above the last"
                )
    runs = tuple(found)
    if merged(runs) != runs:
        raise ValueError("runs of rounds rise and leave a gap between them")
    return runs
