"""The accountant's answers, remembered: an assessment asks the same question for every hospital.

Pure functions of frozen values, so that remembering them changes nothing but the time. Releases are merged first: a
ledger's rounds and the plan that they come from are one question.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import inf

from privacy.guarantees import accounting
from privacy.guarantees.accounting import Accountant
from privacy.guarantees.composition import merged
from privacy.guarantees.guarantee import Adjacency
from privacy.guarantees.plan import Charge

Releases = tuple[Charge, ...]


def epsilon(
    releases: Sequence[Charge],
    delta: float,
    adjacency: Adjacency = "add/remove",
    accountant: Accountant = "pld",
) -> float | None:
    """Epsilon of everything together, as `privacy.guarantees.accounting.spent` gives it; None where nothing bounds it."""
    return _epsilon(merged(releases), delta, adjacency, accountant)


def curve(releases: Sequence[Charge]) -> tuple[tuple[float, float], ...]:
    """Pairs (delta, epsilon), as `privacy.guarantees.accounting.curve` gives them."""
    return _curve(merged(releases))


def tradeoff(releases: Sequence[Charge], fprs: tuple[float, ...]) -> tuple[tuple[float, float], ...]:
    """Pairs (false positive rate, smallest false negative rate), as `privacy.guarantees.accounting.tradeoff` gives them."""
    return _tradeoff(merged(releases), fprs)


@lru_cache(maxsize=512)
def _epsilon(releases: Releases, delta: float, adjacency: Adjacency, accountant: Accountant) -> float | None:
    found = accounting.spent(releases, delta, adjacency, accountant).epsilon
    return None if found == inf else found


@lru_cache(maxsize=64)
def _curve(releases: Releases) -> tuple[tuple[float, float], ...]:
    return tuple(accounting.curve(releases))


@lru_cache(maxsize=64)
def _tradeoff(releases: Releases, fprs: tuple[float, ...]) -> tuple[tuple[float, float], ...]:
    return tuple(accounting.tradeoff(releases, fprs))
