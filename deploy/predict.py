"""Survival curves of new patients from a finished model: `wardround-study predict model.json patients.csv`."""

from pathlib import Path

import numpy as np
import pandas as pd

from hospital_node.cohort import design_matrix
from hospital_node.table import read_covariates
from privacy.studies.grid import FloatArray
from privacy.studies.trained_model import ModelFileError, TrainedModel


def load_model(path: Path) -> TrainedModel:
    """The model in a `model.json`.

    Raises:
        ModelFileError: it cannot be read or is no such file.
    """
    try:
        return TrainedModel.from_bytes(path.read_bytes())
    except OSError as error:
        raise ModelFileError(f"{path}: cannot be read: {error.strerror}") from None


def predict(model: TrainedModel, patients: Path, times_days: FloatArray | None = None) -> pd.DataFrame:
    """One row per patient of the file, in its order: log relative hazard and survival at each time.

    Args:
        model: as `load_model` returns it.
        patients: `.csv` or `.parquet` with the model's columns; others are ignored.
        times_days: when to read the curves; the ends of the model's intervals by default.

    Returns:
        columns "risk" (higher: earlier event) and "survival_<days>".

    Raises:
        DataError: the table cannot be read or does not fit the model's dictionary.
    """
    times = model.times_days[1:] if times_days is None else np.asarray(times_days, dtype=np.float64)
    x = design_matrix(read_covariates(patients, model.dictionary), model.dictionary)
    curves = pd.DataFrame(model.survival(x, times), columns=[f"survival_{days:g}" for days in times])
    curves.insert(0, "risk", model.risk(x))
    return curves
