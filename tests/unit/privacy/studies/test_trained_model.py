import json

import numpy as np
import pytest

from privacy.patients.dictionary import Dictionary
from privacy.patients.field import Field
from privacy.studies.layout import Layout
from privacy.studies.trained_model import ModelFileError, TrainedModel

FIELDS = (
    Field(name="days", type="float", role=("time",), purpose="follow-up", unit="days"),
    Field(name="event", type="int", role=("event",), purpose="death", minimum=0, maximum=1),
    Field(
        name="age", type="float", role=("feature",), purpose="risk", minimum=20, maximum=80, source="protocol"
    ),
)
DICTIONARY = Dictionary(fields=FIELDS)
LAYOUT = Layout(2, DICTIONARY.columns())
MODEL = TrainedModel("ab" * 32, LAYOUT, DICTIONARY, np.array([0.0, 10.0, 40.0]), np.log([0.1, 0.3, np.e]))


def test_curves_follow_the_piecewise_constant_hazard() -> None:
    curves = MODEL.survival(np.array([[0.0], [1.0]]), np.array([0.0, 5.0, 10.0, 25.0, 40.0, 99.0]))
    hazard = np.array([0.0, 0.05, 0.1, 0.25, 0.4, 0.4])
    np.testing.assert_allclose(curves, np.exp(-np.outer([1.0, np.e], hazard)), rtol=1e-12)


@pytest.mark.parametrize("hidden", [(), (3,)])
def test_the_file_holds_the_whole_model(hidden: tuple[int, ...]) -> None:
    layout = Layout(2, DICTIONARY.columns(), hidden)
    theta = np.random.default_rng(0).normal(size=layout.dim)
    model = TrainedModel("ab" * 32, layout, DICTIONARY, MODEL.times_days, theta)
    again = TrainedModel.from_bytes(model.to_bytes())
    assert (again.layout, again.dictionary, again.study_hash) == (layout, DICTIONARY, "ab" * 32)
    np.testing.assert_array_equal(again.theta, theta)
    assert again.to_bytes() == model.to_bytes()


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"extra": 1},
        {"parameters": [0.0]},
        {"parameters": ["a", "b", "c"]},
        {"times_days": [0, 40, 10]},
        {"fields": []},
        {"names": ["x", "y", "z"]},
        {"hidden": [0]},
        {"hidden": [True]},
        {"family": "mlp"},
    ],
)
def test_a_file_whose_parts_contradict_each_other_is_refused(change: dict[str, object]) -> None:
    body = json.loads(MODEL.to_bytes()) | change
    with pytest.raises(ModelFileError, match=r"model\.json"):
        TrainedModel.from_bytes(json.dumps(body, sort_keys=True, separators=(",", ":")).encode())


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b"\xff\xfe"])
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(ModelFileError, match=r"model\.json"):
        TrainedModel.from_bytes(data)
