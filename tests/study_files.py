"""A small study file and tables that fit it, for tests to spoil in one place at a time."""

from pathlib import Path

import numpy as np
import pandas as pd

from privacy.studies.study import Study, parse_study

STUDY = """
[study]
id = "small"
title = "A small study"
purpose = "test"
horizon_days = 1000
intervals = 10
n_public = {a = 400, b = 500, c = 600}

[cohort]
hospitals = ["a", "b", "c"]

[privacy]
mode = "local"
epsilon = 3
delta = 1e-5

[stage]
kind = "generalize"
k = 3

[model]
family = "piecewise_exponential"

[[field]]
name = "pid"
type = "category"
role = "id"
purpose = "tell patients apart"

[[field]]
name = "days"
type = "float"
role = "time"
unit = "days"
purpose = "follow-up"

[[field]]
name = "dead"
type = "int"
role = "event"
purpose = "death"

[[field]]
name = "age"
type = "float"
role = "quasi_identifier"
purpose = "prognostic"
minimum = 0
maximum = 100
source = "human life span"
cuts = [40, 60]

[[field]]
name = "marker"
type = "float"
role = "feature"
purpose = "prognostic"
minimum = 0
maximum = 1000
source = "range of the assay"
log1p = true
missing = {codes = [-9], constant = 10, indicator = true}

[[field]]
name = "arm"
type = "category"
role = ["feature", "sensitive"]
purpose = "treatment"
categories = ["0", "1", "2"]

[[field]]
name = "smoker"
type = "bool"
role = "feature"
purpose = "prognostic"
"""


def study(*changes: tuple[str, str]) -> Study:
    """The study with each (old, new) replaced; old must occur."""
    return parse_study(text(*changes), "small.toml")


def text(*changes: tuple[str, str]) -> str:
    """The file's text with each (old, new) replaced once; old must occur."""
    changed = STUDY
    for old, new in changes:
        assert old in changed, old
        changed = changed.replace(old, new, 1)
    return changed


def table(n: int = 60, seed: int = 1) -> pd.DataFrame:
    """Cells as text, as a CSV holds them; fits the study."""
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "pid": [f"P{i:05d}" for i in range(n)],
            "days": np.round(rng.uniform(1, 1500, n), 1).astype(str),
            "dead": rng.integers(0, 2, n).astype(str),
            "age": np.round(rng.uniform(20, 90, n), 2).astype(str),
            "marker": np.round(rng.uniform(0, 900, n), 2).astype(str),
            "arm": rng.integers(0, 3, n).astype(str),
            "smoker": rng.integers(0, 2, n).astype(str),
        }
    )


def write_csv(frame: pd.DataFrame, folder: Path, name: str = "a.csv") -> Path:
    """The table as a CSV file."""
    path = folder / name
    frame.to_csv(path, index=False)
    return path
