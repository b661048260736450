"""Each patient's row of an ask: what is summed over patients; the bounds are in `privacy.analytics.asks`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hospital_node.statistics.sums import Rows
from hospital_node.statistics.tables import moment_rows
from privacy.analytics.asks import MEAN_WEIGHT, RISK_BINS, Ask
from privacy.analytics.evaluation import bins_asked
from privacy.analytics.groups import NOBODY, level_codes, levels
from privacy.patients.field import Field
from privacy.recipes.recalibration import LARGEST_PREDICTOR
from privacy.studies.grid import FloatArray, IntArray

if TYPE_CHECKING:
    import pandas as pd

    from hospital_node.cohort import Cohort


@dataclass(frozen=True, slots=True, repr=False)
class Asked:
    """A hospital's patients as an analysis sees them; it never prints.

    Attributes:
        cells: for each field that is asked about (n,) numbers, 0/1 or category indices; NaN where missing.
        exit_interval: (n,) in [0, K). event: (n,) 1 for the event.
        entry_interval: (n,) in [0, exit_interval]; None without left truncation.
        intervals: K.
    """

    cells: Mapping[str, FloatArray]
    exit_interval: IntArray
    event: IntArray
    entry_interval: IntArray | None
    intervals: int

    def __len__(self) -> int:
        """Number of patients; a secret of the hospital."""
        return len(self.event)

    @classmethod
    def of(cls, cells: Mapping[str, FloatArray], cohort: Cohort, grid_days: FloatArray) -> Asked:
        """The cohort on the grid, beside the cells of its table."""
        left = cohort.exit_interval(grid_days)
        came = None
        if cohort.entry is not None:
            began = np.searchsorted(grid_days, cohort.entry, side="right") - 1
            # Who came and left within one interval was there for it.
            came = np.minimum(np.clip(began, 0, len(grid_days) - 2), left).astype(np.int64)
        return cls(cells, left, cohort.event, came, len(grid_days) - 1)


def asked_cells(frame: pd.DataFrame, asks: tuple[Ask, ...]) -> dict[str, FloatArray]:
    """The columns that the asks are about, from a table after its stage."""
    # pandas takes a second to import; the type alone is needed above.
    from hospital_node.cohort import cells

    wanted: dict[str, Field] = {}
    for ask in asks:
        of_ask = [*ask.groups.by, *(condition for condition, _ in ask.groups.where)]
        if ask.field is not None:
            of_ask.append(ask.field)
        wanted |= {each.name: each for each in of_ask}
    return {name: cells(frame, each) for name, each in wanted.items()}


def rows_of_ask(ask: Ask, patients: Asked, theta: FloatArray, risk: Callable[[slice], FloatArray]) -> Rows:
    """The rows of an ask's sum, asked for by slices of patients.

    Args:
        ask: what is asked.
        patients: all of the hospital's.
        theta: the round's model; read by the evaluation alone.
        risk: linear predictors of a slice; called by the evaluation alone.
    """
    if ask.kind == "predictor_moments":
        return lambda chosen: moment_rows(risk(chosen))
    if ask.kind == "risk_table":
        return lambda chosen: _one_hot(
            _exits(patients, chosen, _bins(theta, risk(chosen)), RISK_BINS), ask.length
        )
    group = ask.groups.codes(patients.cells, len(patients))
    match ask.kind:
        case "survival":
            return lambda chosen: _survival_rows(ask, patients, group, chosen)
        case "count":
            return lambda chosen: _one_hot(group[chosen], ask.length)
        case "mean":
            return lambda chosen: _mean_rows(ask, patients, group, chosen)
        case _:
            return lambda chosen: _one_hot(_binned(ask, patients, group)[chosen], ask.length)


def _survival_rows(ask: Ask, patients: Asked, group: IntArray, chosen: slice) -> FloatArray:
    """One exit cell a patient, and one entry cell where observation may begin late: (group, event | censoring | entry, interval)."""
    k, parts = patients.intervals, 2 if patients.entry_interval is None else 3
    own = group[chosen]
    left = np.where(patients.event[chosen] == 1, 0, k) + patients.exit_interval[chosen]
    rows = _one_hot(np.where(own == NOBODY, NOBODY, own * parts * k + left), ask.length)
    if patients.entry_interval is not None:
        came = 2 * k + patients.entry_interval[chosen]
        rows += _one_hot(np.where(own == NOBODY, NOBODY, own * parts * k + came), ask.length)
    return rows


def _exits(patients: Asked, chosen: slice, bin_: IntArray, bins: int) -> IntArray:
    """Cell (event | censoring, bin, interval) of each patient."""
    cell = bin_ * patients.intervals + patients.exit_interval[chosen]
    return np.asarray(np.where(patients.event[chosen] == 1, 0, bins * patients.intervals) + cell)


def _bins(theta: FloatArray, risk: FloatArray) -> IntArray:
    held = np.clip(np.nan_to_num(risk), -LARGEST_PREDICTOR, LARGEST_PREDICTOR)
    return np.searchsorted(bins_asked(theta), held).astype(np.int64)


def _mean_rows(ask: Ask, patients: Asked, group: IntArray, chosen: slice) -> FloatArray:
    """(a, z) in the patient's group, zero for who is in none or has no recorded value."""
    assert ask.field is not None
    low, high = ask.field.bounds
    value, own = patients.cells[ask.field.name][chosen], group[chosen]
    known = (own != NOBODY) & ~np.isnan(value)
    scaled = np.clip((value - (low + high) / 2) / ((high - low) / 2), -1.0, 1.0)
    rows = np.zeros((len(own), ask.length))
    index = np.flatnonzero(known)
    rows[index, 2 * own[index]] = MEAN_WEIGHT
    rows[index, 2 * own[index] + 1] = scaled[index]
    return rows


def _binned(ask: Ask, patients: Asked, group: IntArray) -> IntArray:
    """Cell (group, bin) of each patient; NOBODY without a recorded value."""
    assert ask.field is not None
    value = patients.cells[ask.field.name]
    if ask.edges:
        bins = len(ask.edges) - 1
        bin_ = np.searchsorted(np.asarray(ask.edges[1:-1]), value, side="right")
        bin_ = np.where(np.isnan(value), NOBODY, bin_)
    else:
        bins, bin_ = len(levels(ask.field)), level_codes(ask.field, value)
    return np.where((group == NOBODY) | (bin_ == NOBODY), NOBODY, group * bins + bin_).astype(np.int64)


def _one_hot(cell: IntArray, cells: int) -> FloatArray:
    """One row a patient, (n, cells); zeros for NOBODY."""
    rows = np.zeros((len(cell), cells))
    index = np.flatnonzero(cell != NOBODY)
    rows[index, cell[index]] = 1.0
    return rows
