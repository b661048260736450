"""Fields and how they become columns; public numbers only."""

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from privacy.patients.dictionary import Dictionary, Field
from privacy.studies.refusals import StudyError
from tests.study_files import study

TIME: dict[str, Any] = {"name": "t", "type": "float", "role": "time", "purpose": "p"}
EVENT: dict[str, Any] = {"name": "e", "type": "int", "role": "event", "purpose": "p"}
AGE: dict[str, Any] = {
    "name": "age",
    "type": "float",
    "role": "feature",
    "purpose": "p",
    "minimum": 0,
    "maximum": 100,
}


def test_columns_follow_the_fields() -> None:
    dictionary = study().dictionary
    assert dictionary.columns() == ("age", "marker", "marker=missing", "arm=1", "arm=2", "smoker")
    assert dictionary.n_columns == 6
    assert dictionary.unsourced() == ()


def test_every_covariate_role_is_a_column() -> None:
    roles = ["feature", "quasi_identifier", "sensitive"]
    fields = [TIME, EVENT, *(AGE | {"name": role, "role": role} for role in roles)]
    assert Dictionary(fields=[Field(**f) for f in fields]).columns() == tuple(roles)


def test_encoding_by_hand() -> None:
    dictionary = study().dictionary
    cells = {
        "age": np.array([0.0, 75.0, 120.0]),
        "marker": np.array([0.0, np.nan, 1000.0]),
        "arm": np.array([0.0, 1.0, 2.0]),
        "smoker": np.array([1.0, 0.0, 1.0]),
    }
    filled = 2 * np.log1p(10) / np.log1p(1000) - 1
    expected = [[-1, -1, 0, 0, 0, 1], [0.5, filled, 1, 1, 0, 0], [1, 1, 0, 0, 1, 1]]
    np.testing.assert_allclose(dictionary.encode(cells), expected, atol=1e-15)


@pytest.mark.parametrize(
    ("missing", "expected"),
    [({"indicator": True}, 0.0), (25, -0.5), ({"constant": 25.0}, -0.5), ([-9], 0.0)],
)
def test_constants_for_missing_cells(missing: object, expected: float) -> None:
    fields = [Field(**f) for f in (TIME, EVENT, AGE | {"missing": missing})]
    assert Dictionary(fields=fields).encode({"age": np.array([np.nan])})[0, 0] == expected


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"maximum": None}, "needs minimum and maximum"),
        ({"minimum": 100}, "minimum must be below maximum"),
        ({"minimum": -1, "log1p": True}, "minimum above -1"),
        ({"cuts": [50, 40]}, "cuts must ascend"),
        ({"cuts": [50, 400]}, "between minimum and maximum"),
        ({"role": ["feature", "time"]}, "excludes other roles"),
        ({"role": ["feature", "feature"]}, "listed twice"),
        ({"categories": ["a", "b"]}, "categories are for type 'category'"),
        ({"type": "category", "minimum": None, "maximum": None}, "closed list"),
        ({"type": "category", "categories": ["a", "b"]}, "are for numbers"),
        ({"type": "bool"}, "are for numbers"),
        ({"missing": 400}, "outside minimum and maximum"),
        ({"missing": "x"}, "not a number"),
    ],
)
def test_contradictions_are_refused(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        Field(**(AGE | change))


def test_groups_of_categories_cover_each_once() -> None:
    base = {
        "name": "c",
        "type": "category",
        "role": "quasi_identifier",
        "purpose": "p",
        "categories": [1, 2, 3],
    }
    assert Field(**base, cuts=[["3"], [1, 2]]).group_of_category == (1, 1, 0)
    with pytest.raises(ValidationError, match="exactly once"):
        Field(**base, cuts=[[1, 2], [2, 3]])


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ([EVENT, AGE], "exactly one"),
        ([TIME, TIME | {"name": "u"}, EVENT, AGE], "exactly one"),
        ([TIME, EVENT], "nothing to learn from"),
        ([TIME, EVENT, AGE, AGE], "declared twice"),
    ],
)
def test_a_dictionary_is_complete(fields: list[dict[str, Any]], sentence: str) -> None:
    with pytest.raises(StudyError, match=sentence):
        Dictionary(fields=[Field(**f) for f in fields])


def test_times_in_other_units() -> None:
    assert Field(**(TIME | {"unit": "Months"})).days_per_unit == 30.4375
    with pytest.raises(ValidationError, match="days, weeks, months or years"):
        Field(**(TIME | {"unit": "hours"}))
