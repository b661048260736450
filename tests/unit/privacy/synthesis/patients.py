"""Patients of the small study as arrays, with a marker that shortens lives."""

from dataclasses import dataclass

import numpy as np

from privacy.patients.dictionary import Dictionary
from privacy.studies.grid import FloatArray, IntArray
from privacy.synthesis.statistics import outcome_cell
from tests.study_files import study

DICTIONARY: Dictionary = study().dictionary
INTERVALS = 10


@dataclass(frozen=True)
class Drawn:
    """x (n, d), cell (n,) of `outcome_cell`."""

    x: FloatArray
    cell: IntArray


def drawn(n: int, seed: int = 0, effect: float = 0.0) -> Drawn:
    """n patients; the hazard of each is exp(effect times the marker's scaled value)."""
    rng = np.random.default_rng(seed)
    cells = {
        "age": rng.uniform(0, 100, n),
        "marker": np.expm1(rng.uniform(0, np.log1p(1000), n)),
        "arm": rng.integers(0, 3, n).astype(float),
        "smoker": (rng.random(n) < 0.3).astype(float),
    }
    cells["marker"][rng.random(n) < 0.1] = np.nan
    x = DICTIONARY.encode(cells)
    marker = DICTIONARY.columns().index("marker")
    time = rng.exponential(np.exp(-effect * x[:, marker])) * INTERVALS / 2
    left = rng.uniform(0, 2 * INTERVALS, n)
    ends = np.minimum(np.minimum(time, left), INTERVALS)
    event = ((time <= left) & (time < INTERVALS)).astype(np.int64)
    interval = np.clip(ends.astype(np.int64), 0, INTERVALS - 1)
    return Drawn(x, outcome_cell(interval, event, ends >= INTERVALS, INTERVALS))
