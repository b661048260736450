"""What happens to the rows between the table and the training, and what the hospital's own report says about it.

`generalize` replaces each quasi-identifier by the public value that stands for its interval or group, so that the
model never sees the exact one. `drop` does that and leaves out the classes below k; then one patient can add or
remove up to k rows, which the plan pays for (sensitivity k). `threshold` leaves out the cells that a noisy threshold did
not keep, which is paid by itself. `level` generalizes by the level that was drawn, also paid. These use public cuts only. `mondrian` chooses cuts from the data: no guarantee.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hospital_node.cohort import cells, exit_interval, outcome
from privacy.noise.level_choice import Level
from privacy.noise.noisy_threshold import Cell
from privacy.patients.anonymity import (
    Codes,
    Measures,
    drop_small,
    generalize,
    interval_codes,
    measure,
    representatives,
)
from privacy.patients.field import Field
from privacy.patients.mondrian import mondrian
from privacy.studies.grid import time_grid
from privacy.studies.study import Study


@dataclass(frozen=True, slots=True)
class StageReport:
    """For the hospital's data manager only: exact counts, never sent and never in the assessment.

    Attributes:
        kind: the study's stage.
        quasi_identifiers: names of the fields that make a class.
        k_required: the study's k, None where it states none.
        before: measures of the generalized table before classes were dropped.
        after: measures of the rows that training sees.
        level: position of the drawn level of each quasi-identifier; None for other stages, or before one was drawn.
        rows_before: patients in the table.
        rows_after: patients that training sees.
    """

    kind: str
    quasi_identifiers: tuple[str, ...]
    k_required: int | None
    before: Measures
    after: Measures
    rows_before: int
    rows_after: int
    level: Level | None = None

    def to_json(self) -> dict[str, object]:
        """Plain JSON value for the hospital's report."""
        return asdict(self)

    def lines(self) -> tuple[str, ...]:
        """The same for the data manager's terminal; exact, so for nobody else."""
        if not self.quasi_identifiers:
            return (f"stage {self.kind}: the study names no quasi-identifier, so no k, l or t is measured",)
        after, required = (
            self.after,
            "" if self.k_required is None else f" (the study asks for {self.k_required})",
        )
        left = f"{self.rows_after} of {self.rows_before} patients take part"
        by = ", ".join(self.quasi_identifiers)
        if after.k is None or after.l is None or after.t is None:
            return (f"stage {self.kind} by {by}: {left}",)
        return (
            f"stage {self.kind} by {by}: {left}, in {after.classes} classes of patients who look alike",
            f"  k = {after.k}: patients in the smallest class{required}",
            f"  l = {after.l}: distinct outcomes or sensitive values in the class that has fewest",
            f"  t = {after.t:.3f}: largest distance of a class's outcomes from everybody's, between 0 and 1",
            "these figures are exact and for you alone; none of them ever leaves",
        )


def apply_stage(
    frame: pd.DataFrame, study: Study, kept: frozenset[Cell] | None = None, level: Level | None = None
) -> tuple[pd.DataFrame, StageReport]:
    """The rows that training sees, and the report.

    Args:
        frame: as `read_table` returns it.
        study: its stage, quasi-identifiers and cuts; stage `none` changes nothing and still measures, by the cuts
            where there are any and by the exact values of numbers without them.
        kept: the cells that a noisy threshold kept (`hospital_node.kept_set`); without them, as in `data check`,
            nothing is drawn and the report shows the table before suppression.
        level: that was drawn; without it the finest.
    """
    kind, quasi = study.stage.kind, study.dictionary.quasi_identifiers
    if level is not None:
        quasi = tuple(field.at_level(position) for field, position in zip(quasi, level, strict=True))
    codes = [quasi_codes(frame, field) for field in quasi]
    sizes = [int(code.max(initial=0)) + 1 for code in codes]
    classes = generalize(codes, sizes) if quasi else np.zeros(len(frame), dtype=np.int64)
    keep = np.ones(len(frame), dtype=bool)
    if kind == "drop" and study.stage.k is not None:
        keep = drop_small(classes, study.stage.k)
    elif kind == "threshold" and kept is not None:
        keep = np.array([cell in kept for cell in zip(*codes, strict=True)], dtype=bool)
    del codes
    if kind == "mondrian" and study.stage.k is not None:
        classes = mondrian(_matrix(frame, quasi), study.stage.k)
        frame = _replaced(frame, {field.name: _of_class(frame, field, classes) for field in quasi})
    elif kind in ("generalize", "drop", "threshold", "level"):
        frame = _replaced(frame, {field.name: _generalized(frame, field) for field in quasi})
    rest = frame if keep.all() else frame.loc[keep].reset_index(drop=True)
    before = _measured(frame, classes, study)
    report = StageReport(
        kind=kind,
        quasi_identifiers=tuple(field.name for field in quasi),
        k_required=study.stage.k,
        before=before,
        after=before if keep.all() else _measured(rest, generalize([classes[keep]], [len(frame) + 1]), study),
        rows_before=len(frame),
        rows_after=len(rest),
        level=level,
    )
    return rest, report


def _replaced(frame: pd.DataFrame, columns: dict[str, pd.Series]) -> pd.DataFrame:
    """The frame with these columns in place of its own; the others are shared, not copied."""
    return pd.DataFrame({str(name): columns.get(str(name), frame[name]) for name in frame}, copy=False)


def cell_counts(frame: pd.DataFrame, study: Study) -> dict[Cell, int]:
    """Patients in each cell of the study's quasi-identifiers that has any; exact, for a threshold's noise alone."""
    codes = np.column_stack([quasi_codes(frame, field) for field in study.dictionary.quasi_identifiers])
    found, counts = np.unique(codes, axis=0, return_counts=True)
    return {tuple(int(code) for code in cell): int(count) for cell, count in zip(found, counts, strict=True)}


def _matrix(frame: pd.DataFrame, quasi: tuple[Field, ...]) -> NDArray[np.float64]:
    """Quasi-identifiers as numbers; a missing cell lies below every value."""
    columns = [cells(frame, field) for field in quasi]
    lowest = [-1.0 if field.type == "category" else field.bounds[0] - 1.0 for field in quasi]
    filled = [np.where(np.isnan(c), low, c) for c, low in zip(columns, lowest, strict=True)]
    return np.column_stack(filled)


def _of_class(frame: pd.DataFrame, field: Field, classes: Codes) -> pd.Series:
    """The mean of a Mondrian class for a number, its most frequent value otherwise; missing stays missing."""
    column = frame[field.name]
    groups = column.groupby(classes)
    if field.is_number:
        return groups.transform("mean").where(column.notna())
    values = cells(frame, field)
    width = len(field.categories) or 2
    known = ~np.isnan(values)
    pairs = classes[known] * width + values[known].astype(np.int64)
    table = np.bincount(pairs, minlength=(int(classes.max(initial=0)) + 1) * width).reshape(-1, width)
    chosen = np.where(known, table.argmax(axis=1)[classes], -1)
    if field.type == "category":
        labels = pd.Categorical.from_codes(chosen.tolist(), categories=list(field.categories))
        return pd.Series(labels, index=frame.index)
    return pd.Series(np.where(known, chosen.astype(np.float64), np.nan), index=frame.index)


def quasi_codes(frame: pd.DataFrame, field: Field) -> Codes:
    """Interval, group or value of one quasi-identifier; missing cells are a class of their own."""
    values = cells(frame, field)
    if field.type == "category":
        group = np.array([*field.group_of_category, len(field.categories)], dtype=np.int64)
        index = np.where(np.isnan(values), len(field.categories), values).astype(np.int64)
        return group[index]
    if field.is_number and not field.cuts:
        _, codes = np.unique(values, return_inverse=True)
        return codes.astype(np.int64)
    return interval_codes(values, field.cut_points if field.is_number else (0.5,))


def _generalized(frame: pd.DataFrame, field: Field) -> pd.Series:
    """The public value that stands for each patient's interval or group; missing stays missing."""
    if field.type == "bool":
        return frame[field.name]
    codes = quasi_codes(frame, field)
    missing = np.isnan(cells(frame, field))
    if field.type == "category":
        group = np.array(field.group_of_category, dtype=np.int64)
        # The first category of a group stands for all of it.
        first = np.array(
            [int(np.flatnonzero(group == g)[0]) for g in range(int(group.max()) + 1)], dtype=np.int64
        )
        chosen = np.where(missing, -1, first[np.where(missing, 0, codes)])
        labels = pd.Categorical.from_codes(chosen.tolist(), categories=list(field.categories))
        return pd.Series(labels, index=frame.index)
    public: NDArray[np.float64] = np.append(representatives(field), np.nan)
    return pd.Series(public[codes], index=frame.index)


def exits(frame: pd.DataFrame, study: Study) -> tuple[Codes, Codes]:
    """Interval in which each patient's follow-up ends, and its event code."""
    time, event = outcome(frame, study.dictionary, study.horizon_days)
    return exit_interval(time, time_grid(study.horizon_days, study.intervals)), event


def _measured(frame: pd.DataFrame, classes: Codes, study: Study) -> Measures:
    """k, l and t of the outcome and the sensitive fields, in the study's own time intervals."""
    bins, event = exits(frame, study)
    return measure(classes, sensitive_codes(frame, study, bins, event), bins, event, study.intervals)


def sensitive_codes(frame: pd.DataFrame, study: Study, bins: Codes, event: Codes) -> Iterator[Codes]:
    """The outcome, then each sensitive field, as codes."""
    ends = bins * (study.dictionary.event.highest_event + 1)
    ends += event
    yield ends
    del ends
    for field in study.dictionary.sensitive:
        # By hash: sorting would take five times the column.
        codes, _ = pd.factorize(cells(frame, field), use_na_sentinel=False)
        yield codes.astype(np.int64, copy=False)
