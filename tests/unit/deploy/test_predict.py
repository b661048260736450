from pathlib import Path

import numpy as np
import pytest

from deploy.predict import load_model, predict
from hospital_node.table import DataError
from privacy.studies.trained_model import ModelFileError
from tests.unit.privacy.studies.test_trained_model import MODEL


@pytest.fixture
def model_file(tmp_path: Path) -> Path:
    path = tmp_path / "model.json"
    path.write_bytes(MODEL.to_bytes())
    return path


def test_new_patients_get_curves_in_their_order(model_file: Path, tmp_path: Path) -> None:
    patients = tmp_path / "new.csv"
    patients.write_text("name,age\nx,80\ny,50\nz,20\n", encoding="utf-8")
    curves = predict(load_model(model_file), patients)
    assert list(curves.columns) == ["risk", "survival_10", "survival_40"]
    np.testing.assert_allclose(curves["risk"], [1, 0, -1], atol=1e-12)
    np.testing.assert_allclose(curves["survival_40"], np.exp(-0.4 * np.exp([1, 0, -1])), rtol=1e-12)


def test_times_may_be_chosen(model_file: Path, tmp_path: Path) -> None:
    patients = tmp_path / "new.csv"
    patients.write_text("age\n50\n", encoding="utf-8")
    curves = predict(load_model(model_file), patients, np.array([0.0, 25.0]))
    np.testing.assert_allclose(curves[["survival_0", "survival_25"]].to_numpy(), [[1, np.exp(-0.25)]])


def test_a_table_without_the_models_columns_is_refused(model_file: Path, tmp_path: Path) -> None:
    patients = tmp_path / "new.csv"
    patients.write_text("weight\n50\n", encoding="utf-8")
    with pytest.raises(DataError, match="age"):
        predict(load_model(model_file), patients)


def test_a_missing_model_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="cannot be read"):
        load_model(tmp_path / "none.json")
