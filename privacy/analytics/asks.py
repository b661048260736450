"""What a study asks of its patients beside a model: each ask is one task, one release, one vector, one share of the budget.

| kind | vector | one patient moves it by at most (L2) |
|---|---|---|
| survival | group x interval x event, one cell a patient | 1; sqrt 2 with a histogram of entries beside it |
| count | group | 1 |
| histogram, quantile | group x public bin, one cell a patient | 1 |
| mean | group x (a, z), z the value scaled to [-1, 1], a^2 = 1/2; a patient is in one group | sqrt(3/2) |
| predictor_moments | (1, l/6, (l/6)^2), l the predictor held to +-6 | sqrt 3 |
| risk_table | risk bin x interval x event, one cell a patient | 1 |

The mean's weight a: the mean is center + half_range a sum(z) / sum(a), so the noise of the count matters in proportion to how far the
mean is from the middle of its bounds. a^2 = 1/2 is better than a = 1 as long as |z| < .77 on average, and never 5 % worse.

Noise is the integer path of every release (`privacy.noise.mechanisms`), whose draws are OpenDP's exact discrete Gaussian: for counts, histograms
and sums that is OpenDP's Gaussian mechanism. OpenDP's quantile mechanisms choose among candidates by scores of a whole table and
cannot be split into hospitals' shares of one sum, so quantiles are read from a noised histogram of public bins.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import Literal

import numpy as np

from privacy.analytics.groups import Groups, check_groups, check_where
from privacy.patients.dictionary import Dictionary
from privacy.patients.field import Field
from privacy.recipes.tasks import MOMENTS_CLIP, Task
from privacy.studies.grid import FloatArray
from privacy.studies.refusals import StudyError
from privacy.studies.study_sections import Analysis, Query

Kind = Literal["survival", "count", "mean", "histogram", "quantile", "predictor_moments", "risk_table"]

ALL = Groups()
MEAN_WEIGHT = sqrt(0.5)
MEAN_CLIP = sqrt(1.5)
HISTOGRAM_BINS = 20
QUANTILE_BINS = 40
RISK_BINS = 10
MOMENTS, RISK_TABLE = "evaluation-moments", "evaluation-table"
# Of the evaluation's share; bins need be placed only roughly.
MOMENTS_SHARE = 0.20


@dataclass(frozen=True, slots=True)
class Ask:
    """One ask.

    Attributes:
        name: of its task and of the release that pays for it.
        kind: see above.
        length: coordinates of its vector.
        clip_l2: bound of one patient's row.
        groups: who is counted where.
        field: what is averaged or binned; None where the kind needs none.
        edges: (bins + 1,) of a number's bins in its own unit; empty for levels.
        quantiles: in (0, 1).
        log_rank: whether the groups' curves are compared.
        title: as the result shows it.
    """

    name: str
    kind: Kind
    length: int
    clip_l2: float
    groups: Groups = ALL
    field: Field | None = None
    edges: tuple[float, ...] = ()
    quantiles: tuple[float, ...] = ()
    log_rank: bool = False
    title: str = ""

    @property
    def needs_model(self) -> bool:
        """Whether the round's order carries a model."""
        return self.kind in ("predictor_moments", "risk_table")

    @property
    def counts_patients(self) -> bool:
        """Whether every coordinate is a number of patients."""
        return self.kind not in ("mean", "predictor_moments")

    def task(self, share: float) -> Task:
        """The round that asks for it, with its share of the plan's mu^2."""
        return Task(
            self.name,
            "statistic",
            self.length,
            1,
            self.clip_l2,
            share,
            repeats=True,
            part="analysis",
            carries_model=self.needs_model,
        )


def asks(analysis: Analysis, dictionary: Dictionary, intervals: int, *, evaluates: bool) -> tuple[Ask, ...]:
    """All asks of a study, in the order of their rounds.

    Args:
        analysis: the study's section.
        dictionary: its fields.
        intervals: K.
        evaluates: whether the trained model is evaluated on the patients.

    Raises:
        StudyError: an ask about a field that the study does not have, or that its kind does not fit.
    """
    made = (
        *_survival(analysis, dictionary, intervals),
        *(_query(number, query, dictionary) for number, query in enumerate(analysis.query, 1)),
        *(_evaluation(intervals) if evaluates else ()),
    )
    names = [ask.name for ask in made]
    for name in names:
        if names.count(name) > 1:
            raise StudyError("", f"[[analysis.query]] name '{name}' occurs twice")
    return made


def _survival(analysis: Analysis, dictionary: Dictionary, intervals: int) -> list[Ask]:
    fields: list[tuple[Field, ...]] = [()] if analysis.kaplan_meier else []
    fields += [(_field(dictionary, name, "kaplan_meier_by"),) for name in analysis.kaplan_meier_by]
    if analysis.log_rank and not analysis.kaplan_meier_by:
        raise StudyError("", "[analysis] log_rank compares groups: name them in kaplan_meier_by")
    found = []
    for number, by in enumerate(fields, 1):
        if problem := check_groups(by):
            raise StudyError("", problem)
        groups, late = Groups(by), dictionary.entry is not None
        length = len(groups) * intervals * (3 if late else 2)
        title = f"survival by {by[0].name}" if by else "survival"
        found.append(
            Ask(
                f"survival-{number}",
                "survival",
                length,
                sqrt(2.0) if late else 1.0,
                groups,
                log_rank=analysis.log_rank and bool(by),
                title=title,
            )
        )
    return found


def _query(number: int, query: Query, dictionary: Dictionary) -> Ask:
    by = tuple(_field(dictionary, name, "by") for name in query.by)
    where = tuple((_field(dictionary, name, "where"), wanted) for name, wanted in sorted(query.where.items()))
    problem = check_groups(by) or next(filter(None, (check_where(f, w) for f, w in where)), "")
    if problem:
        raise StudyError("", problem)
    groups = Groups(by, where)
    name = query.name or f"{query.kind}-{number}"
    if (query.field is None) != (query.kind == "count"):
        told = "counts patients: leave field out" if query.kind == "count" else "needs a field"
        raise StudyError("", f"[[analysis.query]] kind = '{query.kind}' {told}")
    if query.quantiles is not None and query.kind != "quantile":
        raise StudyError("", "[[analysis.query]] quantiles is for kind = 'quantile'")
    if query.bins is not None and query.kind not in ("quantile", "histogram"):
        raise StudyError("", "[[analysis.query]] bins is for kind = 'histogram' or 'quantile'")
    if query.field is None:
        return Ask(name, "count", len(groups), 1.0, groups, title="patients")
    field = _field(dictionary, query.field, "field")
    title = f"{query.kind} of {field.name}"
    if query.kind == "histogram" and not field.is_number:
        size = len(field.categories) if field.type == "category" else 2
        return Ask(name, "histogram", len(groups) * size, 1.0, groups, field, title=title)
    if field.type == "category" or (query.kind == "quantile" and not field.is_number):
        raise StudyError(
            "", f"[[analysis.query]] kind = '{query.kind}' is for numbers, not for '{field.name}'"
        )
    if query.kind == "mean":
        return Ask(name, "mean", 2 * len(groups), MEAN_CLIP, groups, field, title=title)
    edges = _edges(field, query)
    length = len(groups) * (len(edges) - 1)
    wanted = query.quantiles or (0.25, 0.5, 0.75)
    kind = query.kind
    return Ask(
        name, kind, length, 1.0, groups, field, edges, wanted if kind == "quantile" else (), title=title
    )


def _edges(field: Field, query: Query) -> tuple[float, ...]:
    """Public bins: as many as asked for, the field's cuts, or a default; equal on the scale on which the model sees it."""
    low, high = field.bounds
    if query.bins is None and query.kind == "histogram" and field.cut_points:
        return (low, *field.cut_points, high)
    bins = query.bins or (QUANTILE_BINS if query.kind == "quantile" else HISTOGRAM_BINS)
    if field.log1p:
        inner: FloatArray = np.expm1(np.linspace(np.log1p(low), np.log1p(high), bins + 1))
    else:
        inner = np.linspace(low, high, bins + 1)
    return (low, *(float(edge) for edge in inner[1:-1]), high)


def _evaluation(intervals: int) -> tuple[Ask, ...]:
    return (
        Ask(MOMENTS, "predictor_moments", 3, MOMENTS_CLIP, title="mean and spread of the predictor"),
        Ask(RISK_TABLE, "risk_table", RISK_BINS * intervals * 2, 1.0, title="model evaluation"),
    )


def _field(dictionary: Dictionary, name: str, key: str) -> Field:
    """A covariate; identifiers and times are nobody's subgroup."""
    for field in dictionary.covariates:
        if field.name == name:
            return field
    raise StudyError("", f"[analysis] {key} names '{name}', which is no covariate of this study")
