"""Attacks on a synthetic table: who is behind it, who alone has what it shows, whose two records belong together, what a secret is. Values in, values out.

Each attack is tried on patients who are behind the table and on a control set of the same kind who are not: only the
difference counts. What can be guessed of everybody is what the table is for.

Source: distance to the closest record and its calibration by reference patients as in van Breugel et al. 2023 (DOMIAS,
AISTATS), densities by nearest neighbors; singling out, linkage and attribute inference against a control as in Giomi et al. 2023
(Anonymeter, PoPETs; the library of that name brings numba and is not used).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Verdict = Literal["PASS", "FAIL", "NO_POWER"]

# A copy has one neighbor at distance 0; further ones are as far as for anybody.
NEIGHBORS = 1
_Z = NormalDist().inv_cdf(0.975)
_AT_ONCE = 256
_SMALLEST = 1e-9
# Guesses of a singling-out attack, and synthetic patients looked at for one of them.
GUESSES = 400
_TRIES = 10
# Numbers in [-1, 1] this close are alike.
_ALIKE = 0.02
# Synthetic patients that count as the closest to half of a record.
_LINKED = 5


@dataclass(frozen=True, slots=True)
class Attack:
    """What an attack reached, with a 95 % interval.

    Attributes:
        name: of the attack.
        value: membership: area under the curve, 0.5 is chance. The others: success on members minus on controls, over what
            controls leave to gain; 0 is chance.
        low, high: interval of `value`.
        chance: value of an attack that learns nothing.
        members, controls: patients, or guesses about them, that it was tried on.
    """

    name: str
    value: float
    low: float
    high: float
    chance: float
    members: int
    controls: int

    def verdict(self, at_most: float, detectable: float) -> Verdict:
        """FAIL if the interval lies above what is claimed; NO_POWER if even a success of `detectable` could hide in it.

        Args:
            at_most: the claim, from `auc_ceiling` or a policy.
            detectable: value that an attack on a leaking table would have.
        """
        if self.low > at_most:
            return "FAIL"
        return "NO_POWER" if self.high >= detectable else "PASS"


@dataclass(frozen=True, slots=True)
class Secret:
    """A column that an attacker wants to know.

    Attributes:
        name: of the field.
        columns: its columns; one of 0/1, or one for each level but the first.
    """

    name: str
    columns: tuple[int, ...]


def auc_ceiling(mu: float) -> float:
    """Largest area under the curve of any membership test against mu-Gaussian DP: Phi(mu / sqrt 2) (Dong, Roth & Su 2022)."""
    return NormalDist().cdf(mu / sqrt(2))


def closest_record(members: Floats, controls: Floats, synthetic: Floats) -> Attack:
    """Membership by the distance to the closest synthetic patient: the shorter, the more likely a member.

    Args:
        members: (n, d) behind the table.
        controls: (m, d) of the same kind, not behind it.
        synthetic: (s, d).
    """
    return _membership(
        "closest record",
        -distance_to_nearest(members, synthetic, 1),
        -distance_to_nearest(controls, synthetic, 1),
    )


def calibrated(members: Floats, controls: Floats, synthetic: Floats, reference: Floats) -> Attack:
    """Membership by the ratio of two densities: of synthetic patients over that of other real ones around the target.

    A patient in a dense region is near to everything; only what the table adds to that says something.

    Args:
        members, controls, synthetic: as for `closest_record`.
        reference: (r, d) of the same kind, neither members nor controls.
    """

    def ratio(targets: Floats) -> Floats:
        ours = distance_to_nearest(targets, synthetic, NEIGHBORS)
        theirs = distance_to_nearest(targets, reference, NEIGHBORS)
        return np.log(theirs + _SMALLEST) - np.log(ours + _SMALLEST)

    return _membership("calibrated density ratio", ratio(members), ratio(controls))


def attribute_inference(members: Floats, controls: Floats, synthetic: Floats, secret: Secret) -> Attack:
    """Guess a patient's secret from the closest synthetic patient by everything else.

    Args:
        members, controls, synthetic: as for `closest_record`.
        secret: what is guessed; all other columns are known to the attacker.
    """
    known = [column for column in range(synthetic.shape[1]) if column not in secret.columns]
    rights = []
    for targets in (members, controls):
        closest = synthetic[nearest(targets[:, known], synthetic[:, known])]
        rights.append(_level(closest, secret) == _level(targets, secret))
    return _gain(f"attribute {secret.name}", *rights)


def singling_out(
    members: Floats, controls: Floats, synthetic: Floats, rng: np.random.Generator, guesses: int = GUESSES
) -> Attack:
    """Say something that holds for exactly one patient: what a synthetic patient has in half of the columns or more, where no other has it.

    The more patients, the fewer are alone: as many members as controls are asked, so that only what the table adds counts. Where the members
    are a part of those behind the table, a copy succeeds as often as this part is large.

    Args:
        members, controls, synthetic: as for `closest_record`.
        rng: chooses synthetic patients and columns.
        guesses: how many.
    """
    n = min(len(members), len(controls))
    width = synthetic.shape[1]
    alone: list[tuple[bool, bool]] = []
    for _ in range(_TRIES * guesses):
        if len(alone) == guesses:
            break
        record = synthetic[rng.integers(len(synthetic))]
        columns = rng.permutation(width)[: rng.integers((width + 1) // 2, width + 1)]
        if _matching(synthetic, record, columns) == 1:
            alone.append(
                (
                    _matching(members[:n], record, columns) == 1,
                    _matching(controls[:n], record, columns) == 1,
                )
            )
    found = np.array(alone, dtype=bool).reshape(-1, 2)
    return _gain("singling out", found[:, 0], found[:, 1])


def linkage(members: Floats, controls: Floats, synthetic: Floats) -> Attack:
    """Tell that two records, with half of the columns each, are one patient's: a synthetic patient is among the closest few to both.

    Args:
        members, controls, synthetic: as for `closest_record`.
    """
    # Columns with many values first, so that each half has some that tell patients apart.
    order = np.argsort([-len(np.unique(column)) for column in synthetic.T], kind="stable")
    halves = (order[::2], order[1::2])
    linked = []
    for targets in (members, controls):
        near = [_closest(targets[:, half], synthetic[:, half]) for half in halves]
        linked.append((near[0][:, :, None] == near[1][:, None, :]).any(axis=(1, 2)))
    return _gain("linkage", linked[0], linked[1])


def all_attacks(
    members: Floats, controls: Floats, synthetic: Floats, secrets: Sequence[Secret], rng: np.random.Generator
) -> tuple[Attack, ...]:
    """Every attack of this module; half of the controls become the reference of the calibrated one.

    Linkage needs two columns and is left out with fewer.

    Raises:
        ValueError: fewer than four controls, no member or no synthetic patient.
    """
    if len(controls) < 4 or not len(members) or not len(synthetic):
        raise ValueError("too few patients for an attack")
    half = len(controls) // 2
    return (
        closest_record(members, controls, synthetic),
        calibrated(members, controls[:half], synthetic, controls[half:]),
        singling_out(members, controls, synthetic, rng),
        *((linkage(members, controls, synthetic),) if synthetic.shape[1] > 1 else ()),
        *(attribute_inference(members, controls, synthetic, secret) for secret in secrets),
    )


def distance_to_nearest(targets: Floats, table: Floats, neighbor: int) -> Floats:
    """Euclidean distance of each target to its `neighbor`-th nearest row, (n,)."""
    found = [
        np.partition(_squared(part, table), neighbor - 1, axis=1)[:, neighbor - 1] for part in _parts(targets)
    ]
    return np.sqrt(np.concatenate(found))


def nearest(targets: Floats, table: Floats) -> NDArray[np.int64]:
    """Index of the nearest row for each target, (n,)."""
    return np.concatenate([_squared(part, table).argmin(axis=1) for part in _parts(targets)])


def _parts(targets: Floats) -> list[Floats]:
    return [targets[start : start + _AT_ONCE] for start in range(0, len(targets), _AT_ONCE)]


def _squared(part: Floats, table: Floats) -> Floats:
    cross = np.square(part).sum(axis=1)[:, None] + np.square(table).sum(axis=1) - 2 * part @ table.T
    return np.asarray(np.maximum(cross, 0.0), dtype=np.float64)


def _level(rows: Floats, secret: Secret) -> NDArray[np.int64]:
    own = rows[:, list(secret.columns)]
    return np.where(own.max(axis=1) > 0.5, own.argmax(axis=1) + 1, 0).astype(np.int64)


def _closest(targets: Floats, table: Floats) -> NDArray[np.int64]:
    """Indices of the closest few rows to each target, (n, few)."""
    few = min(_LINKED, len(table))
    found = [np.argpartition(_squared(part, table), few - 1, axis=1)[:, :few] for part in _parts(targets)]
    return np.concatenate(found)


def _matching(rows: Floats, record: Floats, columns: NDArray[np.int64]) -> int:
    """Rows that have what the record has in these columns, numbers within a tolerance."""
    return int((np.abs(rows[:, columns] - record[columns]) <= _ALIKE).all(axis=1).sum())


def _gain(name: str, members: NDArray[np.bool_], controls: NDArray[np.bool_]) -> Attack:
    """What successes on members are above those on controls, of what these leave to gain."""
    n, m = len(members), len(controls)
    # Half a success and half a failure more: an interval of width zero would claim to be sure.
    ours, theirs = ((right.sum() + 0.5) / (len(right) + 1) for right in (members, controls))
    gained = (ours - theirs) / (1 - theirs)
    spread = _Z * sqrt(ours * (1 - ours) / max(n, 1) + theirs * (1 - theirs) / max(m, 1)) / (1 - theirs)
    return Attack(name, float(gained), float(gained - spread), float(gained + spread), 0.0, n, m)


def _membership(name: str, members: Floats, controls: Floats) -> Attack:
    """Area under the curve, ties half, with the interval of DeLong, DeLong & Clarke-Pearson 1988."""
    n, m = len(members), len(controls)
    below = np.sort(controls)
    above = np.sort(members)
    wins = (np.searchsorted(below, members, "left") + np.searchsorted(below, members, "right")) / (2 * m)
    losses = 1 - (np.searchsorted(above, controls, "left") + np.searchsorted(above, controls, "right")) / (
        2 * n
    )
    area = float(wins.mean())
    spread = _Z * sqrt(float(wins.var()) / n + float(losses.var()) / m)
    return Attack(name, area, area - spread, area + spread, 0.5, n, m)
