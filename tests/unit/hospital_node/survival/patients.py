"""Patients made for tests."""

import numpy as np

from hospital_node.cohort import Cohort
from privacy.studies.grid import time_grid

HORIZON_DAYS = 1000.0
INTERVALS = 10
GRID = time_grid(HORIZON_DAYS, INTERVALS)
COLUMNS = ("age", "weight", "arm=1")


def made_up_cohort(n: int, seed: int = 1) -> Cohort:
    """n patients whose risk rises with the first column."""
    rng = np.random.default_rng(seed)
    x = np.column_stack([rng.uniform(-1, 1, (n, 2)), rng.integers(0, 2, n)]).astype(np.float64)
    days = rng.exponential(900 * np.exp(-1.5 * x[:, 0]))
    leaves = rng.uniform(200, 1400, n)
    time = np.minimum(np.minimum(days, leaves), HORIZON_DAYS)
    return Cohort(x, np.maximum(time, 0.5), ((days <= leaves) & (days <= HORIZON_DAYS)).astype(np.int64))
