"""SDV's Gaussian copula by stratum of the outcome, run in a process of its own; no guarantee, whatever its page says.

One fit for those with the event, one for those who left, one for those who stayed to the horizon, sampled in proportion: a single
fit lets event share and Kaplan-Meier curve drift.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd

from hospital_node.cohort import design_matrix, outcome
from hospital_node.synthesis.rows import table_of
from privacy.studies.grid import FloatArray, time_grid
from privacy.studies.study import Study
from privacy.synthesis.attributes import attributes, columns_of
from privacy.synthesis.generate import SyntheticPatients

WORKER = Path(__file__).with_name("sdv_worker.py")
# Square root of the share of the horizon, the scale of the study's grid: exits crowd early, where a normal has no room.
_TIME = "root"
# A copula of fewer has no correlations to learn; they are drawn with replacement from nothing at all.
SMALLEST_STRATUM = 20
PATIENCE_S = 3600.0


class SdvProblem(Exception):
    """SDV is not there, or ended without a table. Its own words may hold patients' values and are not repeated."""

    exit_code: ClassVar[int] = 2


def check_installed(command: Sequence[str] | None = None) -> None:
    """Refuse before anything is charged.

    Raises:
        SdvProblem: the extra is missing.
    """
    if command is None and find_spec("sdv") is None:
        raise SdvProblem(
            "engine sdv is not installed; read its license (BUSL-1.1), then install the extra 'sdv', or use --engine dp"
        )


def sdv_table(
    frame: pd.DataFrame, study: Study, patients: int, command: Sequence[str] | None = None
) -> pd.DataFrame:
    """A synthetic table in the dictionary's own units.

    Args:
        frame: as `read_table` returns it.
        study: its dictionary, horizon and grid.
        patients: rows to sample.
        command: of a Python that has sdv, pandas and numpy; this one unless given.

    Raises:
        SdvProblem: not installed, a stratum with too few patients, or no answer.
    """
    check_installed(command)
    x = design_matrix(frame, study.dictionary)
    time, event = outcome(frame, study.dictionary, study.horizon_days)
    stratum = np.where(event == 1, 1, np.where(time >= study.horizon_days, 2, 0))
    present = [code for code in (0, 1, 2) if (stratum == code).any()]
    if any((stratum == code).sum() < SMALLEST_STRATUM for code in present):
        raise SdvProblem(
            f"fewer than {SMALLEST_STRATUM} patients have an event, leave early, or stay to the horizon; too few for SDV"
        )
    columns = _columns(x, time, study)
    share = np.array([(stratum == code).mean() for code in present])
    rows = np.diff(np.round(np.cumsum(np.concatenate([[0.0], share])) * patients)).astype(int)
    asked = [(code, int(count)) for code, count in zip(present, rows, strict=True) if count > 0]
    request: dict[str, object] = {
        "strata": [
            {
                "columns": {name: values[stratum == code].tolist() for name, values in columns.items()},
                "rows": count,
            }
            for code, count in asked
        ],
        "kinds": {name: "number" if name in _bounds(study) else "category" for name in columns},
        "bounds": _bounds(study),
    }
    made = [_answered(part) for part in _run(request, command or (sys.executable, "-P"))]
    code = np.repeat([code for code, _ in asked], [count for _, count in asked])
    found = {name: np.concatenate([part[name] for part in made]) for name in columns}
    order = np.random.default_rng().permutation(len(code))
    return table_of(_patients({name: v[order] for name, v in found.items()}, code[order], study), study)


def _columns(x: FloatArray, time: FloatArray, study: Study) -> dict[str, FloatArray]:
    """Attributes as the model's scaled numbers or codes, and the root of time; nothing is missing in them."""
    columns = {_TIME: np.sqrt(time / study.horizon_days)}
    for position, attribute in enumerate(attributes(study.dictionary)):
        own = x[:, attribute.span]
        if attribute.kind == "category":
            level = np.where(own.max(axis=1, initial=0.0) > 0.5, own.argmax(axis=1) + 1, 0)
            columns[f"a{position}"] = level.astype(np.float64)
        else:
            columns[f"a{position}"] = own[:, 0]
    return columns


def _bounds(study: Study) -> dict[str, list[float]]:
    numbers = [i for i, a in enumerate(attributes(study.dictionary)) if a.kind == "number"]
    return {_TIME: [0.0, 1.0]} | {f"a{i}": [-1.0, 1.0] for i in numbers}


def _answered(part: object) -> dict[str, FloatArray]:
    if not isinstance(part, dict):
        raise SdvProblem("SDV's process answered something else than a table; install the pinned version")
    return {str(name): np.asarray(values, dtype=np.float64) for name, values in part.items()}


def _patients(found: dict[str, FloatArray], code: np.ndarray, study: Study) -> SyntheticPatients:
    grid = time_grid(study.horizon_days, study.intervals)
    values = tuple(found[f"a{position}"] for position in range(len(attributes(study.dictionary))))
    time = study.horizon_days * np.where(code == 2, 1.0, np.square(found[_TIME]))
    interval = np.clip(np.searchsorted(grid, time, side="left") - 1, 0, study.intervals - 1)
    start, end = grid[interval], grid[interval + 1]
    return SyntheticPatients(
        values=values,
        x=np.concatenate(
            [columns_of(a, v) for a, v in zip(attributes(study.dictionary), values, strict=True)], axis=1
        ),
        exit_interval=interval.astype(np.int64),
        event=(code == 1).astype(np.int64),
        within=np.clip((time - start) / (end - start), 0.0, 1.0),
    )


def _run(request: dict[str, object], python: Sequence[str]) -> list[object]:
    """The worker's answer. Patients go through pipes only; SDV's own files go to a folder that is removed."""
    with tempfile.TemporaryDirectory() as scratch:
        environment = os.environ | {"HOME": scratch, "XDG_DATA_HOME": scratch, "OMP_NUM_THREADS": "1"}
        try:
            done = subprocess.run(
                [*python, str(WORKER)],
                input=json.dumps(request),
                capture_output=True,
                text=True,
                check=False,
                env=environment,
                timeout=PATIENCE_S,
            )
        except subprocess.TimeoutExpired:
            done = None
    if done is None or done.returncode != 0:
        ended = "did not end in an hour" if done is None else f"ended with code {done.returncode}"
        raise SdvProblem(
            f"SDV's process {ended} and left no table; its output is not shown, it may hold patients' values"
        )
    answer = json.loads(done.stdout)
    return answer if isinstance(answer, list) else []
