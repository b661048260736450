"""A hospital's table: what is read, and one sentence without a patient's value for what is not."""

import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from hospital_node.table import DataError, read_covariates, read_table
from privacy.patients.dictionary import Dictionary
from tests.study_files import study, table, write_csv

# Values that no message may repeat; every spoiled table holds one where the fault is and one beside it.
CANARY, CANARY_ID, CANARY_NUMBER = "zanzibar", "P-CANARY-77", "73.219571"

DICTIONARY = study().dictionary


def spoiled(column: str, value: object, row: int = 7) -> pd.DataFrame:
    """A table with a canary patient, one of whose cells is wrong."""
    frame = table().astype(object)
    frame.loc[row, "pid"] = CANARY_ID
    frame.loc[row, "age"] = CANARY_NUMBER
    frame.loc[row, column] = value
    return frame


def everything_said(error: BaseException) -> str:
    """Message, repr, notes and traceback of an error and of all that it drags along."""
    said = [str(error), repr(error), *getattr(error, "__notes__", [])]
    said += traceback.format_exception(error, chain=True)
    for other in (error.__cause__, error.__context__):
        if other is not None:
            said.append(everything_said(other))
    return "\n".join(said)


def refuse(path: Path, dictionary: Dictionary = DICTIONARY, **options: Any) -> DataError:
    """The error of a table that must be refused, after the checks that hold for each."""
    with pytest.raises(DataError) as caught:
        read_table(path, dictionary, **options)
    said = everything_said(caught.value)
    for secret in (CANARY, CANARY_ID, CANARY_NUMBER, "4711"):
        assert secret not in said
    assert caught.value.__context__ is None
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)
    return caught.value


def test_types_and_order(tmp_path: Path) -> None:
    frame = read_table(write_csv(table(), tmp_path), DICTIONARY)
    assert list(frame.columns) == [field.name for field in DICTIONARY.fields]
    assert frame["age"].dtype == np.float64
    assert list(frame["arm"].cat.categories) == ["0", "1", "2"]
    assert set(frame["smoker"].unique()) == {0.0, 1.0}


def test_columns_in_another_order_and_a_byte_order_mark(tmp_path: Path) -> None:
    frame = table()
    path = tmp_path / "a.csv"
    frame[frame.columns[::-1]].to_csv(path, index=False, encoding="utf-8-sig")
    pd.testing.assert_frame_equal(
        read_table(path, DICTIONARY), read_table(write_csv(frame, tmp_path), DICTIONARY)
    )


def test_parquet_reads_the_same(tmp_path: Path) -> None:
    frame = table()
    expected = read_table(write_csv(frame, tmp_path), DICTIONARY)
    numbers = frame.assign(
        days=frame["days"].astype(float),
        dead=frame["dead"].astype(int),
        age=frame["age"].astype(float),
        marker=frame["marker"].astype(float),
        arm=frame["arm"].astype(float),
        smoker=frame["smoker"] == "1",
    )
    numbers.to_parquet(tmp_path / "a.parquet")
    pd.testing.assert_frame_equal(read_table(tmp_path / "a.parquet", DICTIONARY), expected)


@pytest.mark.parametrize("cell", ["", "NA", "n/a", "NaN", "-9", "-9.0"])
def test_declared_missing_cells(tmp_path: Path, cell: str) -> None:
    frame = read_table(write_csv(spoiled("marker", cell), tmp_path), DICTIONARY)
    assert np.flatnonzero(frame["marker"].isna()).tolist() == [7]


@pytest.mark.parametrize("cell", ["1.0", " 1 "])
def test_whole_numbers_that_software_wrote_as_floats(tmp_path: Path, cell: str) -> None:
    frame = read_table(write_csv(spoiled("arm", cell).assign(smoker=cell, dead=cell), tmp_path), DICTIONARY)
    assert frame.loc[7, "arm"] == "1"
    assert frame["smoker"].eq(1).all()


FAULTS: list[tuple[str, object, str]] = [
    ("days", "0", "column 'days' is zero or negative in fewer than 10 rows"),
    ("days", "-4711", "column 'days' is zero or negative"),
    ("days", CANARY, "column 'days' is not a number in fewer than 10 rows"),
    ("days", "4711-02-03", "has a date where a number is declared"),
    ("days", "4711,5", "has a decimal comma"),
    ("days", "inf", "is not a number"),
    ("days", "", "column 'days' is empty in fewer than 10 rows; fill it, or leave those patients out"),
    ("dead", "2", "has a code other than 0 and 1 in fewer than 10 rows"),
    ("dead", "0.5", "is not a whole number"),
    ("dead", CANARY, "is not a whole number"),
    ("age", "", "or have `missing` declared"),
    ("age", CANARY, "is not a number"),
    ("arm", CANARY, "has a category that the study does not list in fewer than 10 rows"),
    ("arm", "", "is empty"),
    ("smoker", CANARY, "is not 0/1, true/false or yes/no"),
    ("pid", "P00003", "column 'pid' repeats a patient in fewer than 10 rows"),
    ("pid", "", "is empty"),
]


@pytest.mark.threat("FL-21", control="C-SCHEMA")
@pytest.mark.parametrize(("column", "cell", "sentence"), FAULTS, ids=[f"{f[0]}={f[1]}" for f in FAULTS])
def test_one_sentence_for_a_wrong_cell(tmp_path: Path, column: str, cell: object, sentence: str) -> None:
    error = refuse(write_csv(spoiled(column, cell), tmp_path))
    assert sentence in str(error)
    assert error.column == column


@pytest.mark.threat("FL-28", control="C-UNIT")
def test_a_patient_listed_twice_is_refused(tmp_path: Path) -> None:
    frame = spoiled("marker", "5")
    assert "keep one row for each patient" in str(
        refuse(write_csv(pd.concat([frame, frame.iloc[[7]]]), tmp_path))
    )


def test_counts_are_buckets(tmp_path: Path) -> None:
    frame = table(250)
    frame.loc[:120, "days"] = "-1"
    assert "in 100 rows or more" in str(refuse(write_csv(frame, tmp_path)))


def test_few_outliers_count_as_the_bound_and_a_wrong_unit_is_refused(tmp_path: Path) -> None:
    frame = spoiled("age", "4711")
    assert read_table(write_csv(frame, tmp_path), DICTIONARY).loc[7, "age"] == 100.0
    assert "outside the study's bounds" in str(refuse(write_csv(frame, tmp_path), clip_share=0.0))
    months = frame.assign(age=(frame["age"].astype(float) * 12).astype(str))
    assert "check the unit" in str(refuse(write_csv(months, tmp_path)))


def test_dates_of_a_parquet_file_are_no_numbers(tmp_path: Path) -> None:
    frame = table().assign(days=pd.Timestamp("1973-02-19"))
    frame.to_parquet(tmp_path / "a.parquet")
    assert "has a date where a number is declared" in str(refuse(tmp_path / "a.parquet"))


HEADERS: list[tuple[Callable[[pd.DataFrame], pd.DataFrame], str]] = [
    (lambda f: f.drop(columns="age"), "column 'age' is missing; add it"),
    (lambda f: f.drop(columns=["age", "marker"]), "column 'age' is missing, as is marker; add them"),
    (lambda f: f.rename(columns={"age": "Age"}), "column 'age' is missing (is it 'Age'?)"),
    (lambda f: f.assign(postcode="4711"), "does not declare (postcode); remove"),
    (lambda f: f.iloc[:0], "holds no patient"),
]


@pytest.mark.parametrize(("change", "sentence"), HEADERS, ids=[h[1][:20] for h in HEADERS])
def test_one_sentence_for_a_wrong_column(
    tmp_path: Path, change: Callable[[pd.DataFrame], pd.DataFrame], sentence: str
) -> None:
    assert sentence in str(refuse(write_csv(change(spoiled("marker", "5")), tmp_path)))


def test_undeclared_columns_are_dropped_when_asked(tmp_path: Path) -> None:
    path = write_csv(table().assign(postcode="4711"), tmp_path)
    assert "postcode" not in read_table(path, DICTIONARY, drop_undeclared=True).columns


def test_a_first_line_that_is_a_patient_is_never_repeated(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    frame = pd.concat([spoiled("marker", "5").iloc[[7]], table()])
    frame.to_csv(path, index=False, header=False)
    assert "names none of the study's columns" in str(refuse(path))


TEXTS: list[tuple[bytes, str]] = [
    (b"", "is empty"),
    (f"pid;days;dead\n{CANARY};1;1\n".encode(), "does not separate its cells by commas"),
    (
        f"pid,days,dead,age,marker,arm,smoker\n{CANARY},1,1,50,5,1,0,9,9\n".encode(),
        "more cells than the first line",
    ),
    (f"pid,days\nA,1\nB,1,{CANARY}\n".encode(), "more cells than the first line"),
    (f"pid,days,age,age\n{CANARY},1,1,1\n".encode(), "column 'age' is there twice"),
    (f"pid,days\n{CANARY}\xe9,1\n".encode("latin-1"), "is not UTF-8"),
    (f"pid,days\n{CANARY},1\n".encode("utf-16"), "is UTF-16"),
]


@pytest.mark.parametrize(("content", "sentence"), TEXTS, ids=[t[1][:20] for t in TEXTS])
def test_one_sentence_for_a_file_that_is_no_table(tmp_path: Path, content: bytes, sentence: str) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    assert sentence in str(refuse(path))


def test_other_files(tmp_path: Path) -> None:
    assert "cannot be read: No such file" in str(refuse(tmp_path / "none.csv"))
    for name, content in (("a.xlsx", b"PK"), ("a.parquet", CANARY.encode())):
        (tmp_path / name).write_bytes(content)
        assert "a." in str(refuse(tmp_path / name))


ENTRY = (
    '[[field]]\nname = "age"',
    '[[field]]\nname = "seen"\ntype = "float"\nrole = "entry"\nunit = "weeks"\npurpose = "p"\n\n[[field]]\nname = "age"',
)


@pytest.mark.parametrize(
    ("entry", "sentence"), [("-1", "is negative"), ("10.0", "is not before the follow-up time")]
)
def test_entry_lies_before_the_end_of_follow_up(tmp_path: Path, entry: str, sentence: str) -> None:
    dictionary = study(ENTRY).dictionary
    frame = table().assign(seen="0", days="70")
    assert len(read_table(write_csv(frame, tmp_path), dictionary)) == 60
    frame.loc[7, "seen"] = entry
    assert sentence in str(refuse(write_csv(frame, tmp_path), dictionary))


def test_new_patients_have_covariates_only(tmp_path: Path) -> None:
    frame = table()[["age", "marker", "arm", "smoker"]].assign(note="x")
    assert list(read_covariates(write_csv(frame, tmp_path), DICTIONARY).columns) == [
        "age",
        "marker",
        "arm",
        "smoker",
    ]


@pytest.mark.parametrize(
    "cell", [[1, 2], {"name": "Jane Doe"}, b"Jane\xff"], ids=["list", "structure", "bytes"]
)
def test_a_parquet_column_of_no_single_values_is_refused_in_a_sentence(tmp_path: Path, cell: object) -> None:
    dictionary = study().dictionary
    for field in dictionary.fields:
        frame = table()
        frame[field.name] = pd.Series([cell] * len(frame))
        path = tmp_path / "odd.parquet"
        frame.to_parquet(path)
        with pytest.raises(DataError, match="holds lists, structures or bytes") as caught:
            read_table(path, dictionary)
        assert "Jane" not in str(caught.value)
