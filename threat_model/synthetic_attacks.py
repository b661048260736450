"""Attacks on a synthetic table: who was among the patients behind it, and what a known patient's secret is. Values in, values out.

Each attack is tried on patients who are behind the table and on a control set of the same kind who are not: only the
difference counts. What can be guessed of everybody is what the table is for.

Source: distance to the closest record and its calibration by reference patients as in van Breugel et al. 2023 (DOMIAS,
AISTATS), densities by nearest neighbors; attribute inference against a control as in Giomi et al. 2023 (Anonymeter, PoPETs).
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


@dataclass(frozen=True, slots=True)
class Attack:
    """What an attack reached, with a 95 % interval.

    Attributes:
        name: of the attack.
        value: membership: area under the curve, 0.5 is chance. Attribute: success on members minus on controls, over what
            controls leave to gain; 0 is chance.
        low, high: interval of `value`.
        chance: value of an attack that learns nothing.
        members, controls: patients that it was tried on.
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
    rates = []
    for targets in (members, controls):
        closest = synthetic[nearest(targets[:, known], synthetic[:, known])]
        right = _level(closest, secret) == _level(targets, secret)
        # Half a success and half a failure more: an interval of width zero would claim to be sure.
        rates.append(((right.sum() + 0.5) / (len(right) + 1), len(right)))
    (ours, n), (theirs, m) = rates
    gained = (ours - theirs) / (1 - theirs)
    spread = _Z * sqrt(ours * (1 - ours) / n + theirs * (1 - theirs) / m) / (1 - theirs)
    return Attack(f"attribute {secret.name}", gained, gained - spread, gained + spread, 0.0, n, m)


def all_attacks(
    members: Floats, controls: Floats, synthetic: Floats, secrets: Sequence[Secret]
) -> tuple[Attack, ...]:
    """Every attack of this module; half of the controls become the reference of the calibrated one.

    Raises:
        ValueError: fewer than four controls, no member or no synthetic patient.
    """
    if len(controls) < 4 or not len(members) or not len(synthetic):
        raise ValueError("too few patients for an attack")
    half = len(controls) // 2
    return (
        closest_record(members, controls, synthetic),
        calibrated(members, controls[:half], synthetic, controls[half:]),
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
