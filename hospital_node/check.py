"""`data check`: everything that is wrong or odd in a hospital's extract, one sentence each, before anything connects.

Errors keep the table out of a study. The further checks here are for the data manager's eyes: each compares one
figure of a column with what the study says in public, so that mixed-up units and codes are noticed. A node that takes
part does not run them, because a stop that depends on the data can be seen outside.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from hospital_node.cohort import days
from hospital_node.findings import Finding, about
from hospital_node.stage import StageReport, apply_stage
from hospital_node.table import CLIP_SHARE, clipped, examine
from privacy.patients.field import Field
from privacy.studies.study import Study

# Days of a spreadsheet's calendar between 1970 and 2070; no follow-up lasts 70 years.
_SERIAL_DATES = (25_569.0, 62_000.0)
# A whole cohort that ends within a twelfth of the horizon may have been counted in weeks, months or years, not days.
_SHORT, _LONG = 1 / 12, 12.0
# Among the longest followed, most are censored; so many events there are censorings under the wrong code.
_LATE_SHARE, _SWAPPED_SHARE, _SWAPPED_EXCESS = 0.1, 2 / 3, 0.25
# A drawing is paid for, so nothing is drawn here.
_DRAWN = {
    "threshold": "the stage is shown with every class: which ones stage threshold keeps is drawn and charged when the study starts, and fewer rows may take part",
    "level": "the stage is shown at the finest level: which one stage level uses is drawn and charged when the study starts",
}


@dataclass(frozen=True, slots=True, repr=False)
class Checked:
    """The outcome for one table; it never prints.

    Attributes:
        rows: patients in it.
        findings: errors first.
        raw: typed columns before clipping, NaN where a cell is missing or wrong.
        table: as a node would read it; None where an error keeps it out.
        stage: what the stage does to it, for the data manager alone; None with `table`.
    """

    rows: int
    findings: tuple[Finding, ...]
    raw: pd.DataFrame
    table: pd.DataFrame | None
    stage: StageReport | None

    @property
    def fits(self) -> bool:
        """Whether no error was found."""
        return self.table is not None


def check_table(
    path: Path, study: Study, *, drop_undeclared: bool = False, clip_share: float = CLIP_SHARE
) -> Checked:
    """Examine the table at `path` against the study.

    Args:
        path, drop_undeclared, clip_share: as `read_table` takes them.
        study: its dictionary, horizon and stage.

    Raises:
        DataError: the file is no table, or its first line does not fit the dictionary.
    """
    examined = examine(
        path,
        study.dictionary,
        study.dictionary.fields,
        drop_undeclared=drop_undeclared,
        clip_share=clip_share,
        hashed_ids=True,
    )
    errors = list(examined.findings)
    spoiled = {finding.column for finding in errors}
    further = list(_plausible(examined.table, study, spoiled))
    errors += [finding for finding in further if finding.severity == "error"]
    notes = [finding for finding in further if finding.severity == "note"]
    if errors:
        return Checked(len(examined.table), (*errors, *notes), examined.table, None, None)
    table = clipped(examined.table, study.dictionary.fields)
    _, report = apply_stage(table, study)
    if study.stage.kind in _DRAWN:
        notes.append(Finding("note", "", _DRAWN[study.stage.kind]))
    return Checked(len(table), tuple(notes), examined.table, table, report)


def _plausible(table: pd.DataFrame, study: Study, spoiled: set[str]) -> Iterator[Finding]:
    dictionary = study.dictionary
    for field in dictionary.fields:
        if field.name not in spoiled:
            yield from _column(field, table[field.name])
    time, event = dictionary.time, dictionary.event
    if time.name not in spoiled:
        yield from _follow_up(time, days(table, time), study.horizon_days)
    if not {time.name, event.name} & spoiled:
        yield from _codes(event, days(table, time), table[event.name].astype(np.float64).to_numpy())
    if dictionary.id is None:
        repeated = _equal_rows(table)
        if repeated:
            problem = f"rows are equal in every column {about(repeated)}; without an id column nobody can tell whether a patient is listed twice"
            yield Finding("note", "", problem)


def _column(field: Field, cells: pd.Series) -> Iterator[Finding]:
    name = field.name
    if field.is_covariate and _is_constant(cells):
        yield Finding(
            "note",
            name,
            "has the same value for every patient; nothing can be learned from it, check the extract",
        )
    if field.is_covariate and field.is_number:
        outside = int((~cells.between(*field.bounds) & cells.notna()).sum())
        if outside:
            yield Finding(
                "note",
                name,
                f"is outside the study's bounds {about(outside)}; such values count as the bound, check their unit",
            )
    if field.expected is not None and field.type != "category":
        low, high = field.expected
        middle = float(
            cells.dropna().eq(1).mean() if field.type == "bool" or "event" in field.role else cells.median()
        )
        if not low <= middle <= high:
            yield Finding("error", name, _unexpected(field))


def _is_constant(cells: pd.Series) -> bool:
    numbers = cells.cat.codes if cells.dtype == "category" else cells
    present = numbers[cells.notna()]
    return len(present) == 0 or bool(present.min() == present.max())


def _equal_rows(table: pd.DataFrame) -> int:
    """Rows that equal an earlier one, by 64-bit hashes: the rows themselves would not fit a set."""
    hashes = np.sort(pd.util.hash_pandas_object(table, index=False).to_numpy())
    return int((hashes[1:] == hashes[:-1]).sum())


def _unexpected(field: Field) -> str:
    if "event" in field.role:
        return "has an event for a share of patients outside the study's expected range; check whether 0 (censored) and 1 (event) are swapped"
    if field.type == "bool":
        return "is true for a share of patients outside the study's expected range; check whether 0 and 1 are swapped"
    return (
        f"has its median outside the study's expected range; check the unit ({field.unit or 'none declared'})"
    )


def _follow_up(field: Field, time: np.ndarray, horizon_days: float) -> Iterator[Finding]:
    middle = float(np.median(time))
    if _SERIAL_DATES[0] <= middle <= _SERIAL_DATES[1] and middle > 5 * horizon_days:
        yield Finding(
            "error",
            field.name,
            "looks like the day numbers by which a spreadsheet stores dates; export the days since the start of follow-up",
        )
    elif float(np.max(time)) < _SHORT * horizon_days:
        yield Finding(
            "note",
            field.name,
            f"ends for everybody within a twelfth of the study's horizon; check the unit (declared: {field.unit})",
        )
    elif middle > _LONG * horizon_days:
        yield Finding(
            "note",
            field.name,
            f"is for most patients more than twelve times the study's horizon; check the unit (declared: {field.unit})",
        )


def _codes(field: Field, time: np.ndarray, event: np.ndarray) -> Iterator[Finding]:
    some = event > 0
    share = float(some.mean())
    if share in (0.0, 1.0):
        which = "no event" if share == 0.0 else "an event for every patient"
        yield Finding("note", field.name, f"has {which}; check its codes: 0 is censored and 1 the event")
        return
    absent = [code for code in range(1, field.highest_event + 1) if not (event == code).any()]
    if absent:
        yield Finding(
            "note", field.name, f"has nobody with code {absent[0]}, which the study declares; check the codes"
        )
    late = time >= np.quantile(time, 1 - _LATE_SHARE)
    late_share = float(some[late].mean())
    early_share = float(some[~late].mean()) if (~late).any() else late_share
    if late_share > _SWAPPED_SHARE and late_share > early_share + _SWAPPED_EXCESS:
        yield Finding(
            "note",
            field.name,
            "has more events among the longest followed than before; check whether 0 (censored) and 1 (event) are swapped",
        )
