"""How far synthetic patients are from the real ones, and the gate; for the hospital alone, because no figure here is paid for.

The gate has three limits. Whether one that is not kept holds the table back is `synthetic_gate` in policy.toml, decided
before anybody looks: a table that stays away because of the patients tells something about them, outside every number.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

from hospital_node.cohort import Cohort, build_cohort
from hospital_node.synthesis.ranking import MOST_PATIENTS, concordance, cox, kaplan_meier
from hospital_node.synthesis.rows import typed
from privacy.patients.dictionary import Dictionary
from privacy.studies.study import Study
from privacy.synthesis.attributes import attributes
from threat_model.synthetic_attacks import Attack, Secret, all_attacks

# Limits of the design's data page.
CURVE_LIMIT, SHARE_LIMIT, RANKING_LIMIT = 0.02, 0.02, 0.02
HELD_OUT = 0.2
FEWEST_ATTACKED = 50
_TIMES, _BINS = 200, 20

Again = Callable[[pd.DataFrame], pd.DataFrame]


@dataclass(frozen=True, slots=True)
class Limit:
    """One condition of the gate; `value` is None where it could not be measured, which is not passed."""

    what: str
    value: float | None
    at_most: float

    @property
    def passed(self) -> bool:
        """Whether the value keeps to the limit."""
        return self.value is not None and self.value <= self.at_most


@dataclass(frozen=True, slots=True, repr=False)
class Quality:
    """The report; exact figures about real patients, so it never prints and must not leave.

    Attributes:
        study: its id.
        limits: of the gate.
        event_share: real, synthetic.
        c_index: on held-out real patients, of Cox trained on the other real ones, and on patients synthesized from those.
        marginals: (column, distance): half the L1 distance of the shares of its cells, 0 to 1.
        correlation: mean and largest difference of correlations between columns of the model.
        curve: (days, real, synthetic) Kaplan-Meier estimates.
        attacks: on patients synthesized from four fifths of the real ones, with the other fifth as control; () with too few.
    """

    study: str
    limits: tuple[Limit, ...]
    event_share: tuple[float, float]
    c_index: tuple[float | None, float | None]
    marginals: tuple[tuple[str, float], ...]
    correlation: tuple[float, float]
    curve: tuple[tuple[float, float, float], ...]
    attacks: tuple[Attack, ...]

    @property
    def passed(self) -> bool:
        """Whether every limit is kept."""
        return all(limit.passed for limit in self.limits)

    def to_json(self) -> dict[str, object]:
        """Plain JSON value for the hospital's own report."""
        body = asdict(self)
        body["limits"] = [asdict(limit) | {"passed": limit.passed} for limit in self.limits]
        return body | {
            "passed": self.passed,
            "warning": "exact figures about patients; must not leave the hospital",
        }


def quality(real: pd.DataFrame, synthetic: pd.DataFrame, study: Study, again: Again) -> Quality:
    """Compare a synthetic table with the real one.

    Args:
        real: as `read_table` returns it.
        synthetic: the table that would leave.
        study: its dictionary, horizon and grid.
        again: synthesizes from real rows in the same way, into as many. The table itself was made from all patients, so for the ranking
            of held-out ones another is made without them, and thrown away.
    """
    dictionary = study.dictionary
    ours = build_cohort(real, dictionary, study.horizon_days)
    theirs = build_cohort(typed(synthetic, dictionary), dictionary, study.horizon_days)
    times = np.linspace(0, study.horizon_days, _TIMES + 1)
    curves = [kaplan_meier(cohort.time, cohort.event, times) for cohort in (ours, theirs)]
    gap = float(np.trapezoid(np.abs(curves[0] - curves[1]), times) / study.horizon_days)
    shares = (float(ours.event.mean()), float(theirs.event.mean()))
    ranking, attacks = _held_out(real, study, again)
    lost = None if ranking[0] is None or ranking[1] is None else ranking[0] - ranking[1]
    return Quality(
        study=study.id,
        limits=(
            Limit("L1 distance of the Kaplan-Meier curves", gap, CURVE_LIMIT),
            Limit("difference of the shares with the event", abs(shares[0] - shares[1]), SHARE_LIMIT),
            Limit("C-index lost on held-out real patients", lost, RANKING_LIMIT),
        ),
        event_share=shares,
        c_index=ranking,
        marginals=_marginals(ours, theirs, dictionary),
        correlation=_correlation(ours, theirs),
        curve=tuple(
            (float(t), float(r), float(s)) for t, r, s in zip(times, curves[0], curves[1], strict=True)
        ),
        attacks=attacks,
    )


def _held_out(
    real: pd.DataFrame, study: Study, again: Again
) -> tuple[tuple[float | None, float | None], tuple[Attack, ...]]:
    """C-index on a fifth of the real patients, trained on the rest and on patients synthesized from the rest; attacks on the latter."""
    place = np.random.default_rng().permutation(len(real))
    cut = round(HELD_OUT * len(real))
    parts = (
        real.iloc[place[:cut][:MOST_PATIENTS]],
        train := real.iloc[place[cut:]].reset_index(drop=True),
        typed(again(train), study.dictionary),
    )
    held, ours, made = (build_cohort(part, study.dictionary, study.horizon_days) for part in parts)
    found = [
        concordance(held.time, held.event, held.x @ cox(c.x, c.time, c.event)) if c.event.any() else None
        for c in (ours, made)
    ]
    return (found[0], found[1]), _attacks(ours, held, made, study.dictionary)


def _attacks(ours: Cohort, held: Cohort, made: Cohort, dictionary: Dictionary) -> tuple[Attack, ...]:
    """With the sensitive fields as secrets, or all that have few values where the study names none."""
    members = ours.x[: len(held)]
    few = [a for a in attributes(dictionary) if a.kind in ("bool", "category")]
    named = [a for a in few if "sensitive" in a.field.role] or few
    secrets = [Secret(a.field.name, tuple(range(a.first, a.first + len(a.columns)))) for a in named]
    if min(len(members), len(held), len(made)) < FEWEST_ATTACKED:
        return ()
    return all_attacks(members, held.x, made.x, secrets, np.random.default_rng())


def _marginals(ours: Cohort, theirs: Cohort, dictionary: Dictionary) -> tuple[tuple[str, float], ...]:
    found: list[tuple[str, float]] = []
    for attribute in attributes(dictionary):
        shares = []
        for cohort in (ours, theirs):
            columns = cohort.x[:, attribute.span]
            if attribute.kind == "number":
                counts = np.histogram(columns[:, 0], bins=_BINS, range=(-1, 1))[0].astype(np.float64)
            else:
                counts = np.append(columns.sum(axis=0), (columns.max(axis=1) < 0.5).sum())
            shares.append(counts / max(len(cohort), 1))
        name = attribute.field.name + (" (missing)" if attribute.kind == "missing" else "")
        found.append((name, float(np.abs(shares[0] - shares[1]).sum() / 2)))
    return tuple(found)


def _correlation(ours: Cohort, theirs: Cohort) -> tuple[float, float]:
    first, second = (np.triu_indices(ours.x.shape[1], 1)[i] for i in (0, 1))
    if len(first) == 0:
        return 0.0, 0.0
    with np.errstate(invalid="ignore", divide="ignore"):
        tables = [np.nan_to_num(np.corrcoef(cohort.x, rowvar=False)) for cohort in (ours, theirs)]
    gaps = np.abs(tables[0] - tables[1])[first, second]
    return float(gaps.mean()), float(gaps.max())
