"""OMOP: the flat table equals a plain re-computation, and a mapping that fails names the concept and no patient."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from hospital_node.cli import main
from hospital_node.sources import omop_tables
from hospital_node.sources.definition_file import parse_definition
from hospital_node.sources.facts import SourceError
from hospital_node.sources.flatten import flatten
from tests import omop_fixture as fixture
from tests.command_lines import run
from tests.oracles import naive_omop
from tests.oracles.same_rows import assert_same_rows

pytest.importorskip("duckdb", reason="the extra 'sources' is not installed")

CANARIES = ("zanzibar", "70007", "4711.25", "1947-11-19")
DEFINITION = parse_definition(fixture.COHORT, "cohort.toml")


@pytest.mark.parametrize(("seed", "suffix"), [(1, ".csv"), (2, ".csv"), (3, ".parquet")])
def test_the_table_is_that_of_a_plain_script(tmp_path: Path, seed: int, suffix: str) -> None:
    tables = fixture.population(seed=seed)
    expected = naive_omop.cohort(fixture.write(tables, tmp_path / "csv"))
    assert len(expected) > 20
    assert {row["event"] for row in expected} == {0, 1, 2}
    made = flatten(DEFINITION, fixture.write(tables, tmp_path / "source", suffix))
    assert_same_rows(made.table, expected)


def test_the_order_of_rows_and_parts_of_a_table_change_nothing(tmp_path: Path) -> None:
    tables = fixture.population(60)
    whole = flatten(DEFINITION, fixture.write(tables, tmp_path / "a")).table
    folder = fixture.write({name: rows[::-1] for name, rows in tables.items()}, tmp_path / "b")
    frame = pd.read_csv(folder / "measurement.csv", dtype=str)
    (folder / "measurement.csv").unlink()
    (folder / "measurement").mkdir()
    for part in range(3):
        frame.iloc[part::3].to_csv(folder / "measurement" / f"part-{part}.csv", index=False)
    pd.testing.assert_frame_equal(flatten(DEFINITION, folder).table, whole)


def rows_of(concept: int) -> Callable[[fixture.Rows], list[dict[str, Any]]]:
    return lambda tables: [row for row in tables["measurement"] if row["measurement_concept_id"] == concept]


def spoil(table: str, **cells: Any) -> Callable[[fixture.Rows], object]:
    """Every row of a table gets the cells."""
    return lambda tables: [row.update(cells) for row in tables[table]]


def spoil_one(table: str, **cells: Any) -> Callable[[fixture.Rows], object]:
    return lambda tables: tables[table][6].update(cells)


def without(table: str) -> Callable[[fixture.Rows], object]:
    return lambda tables: tables.pop(table)


def twice(tables: fixture.Rows) -> None:
    tables["person"].append({**tables["person"][6], "gender_concept_id": 8532, "year_of_birth": 1947})


def other_unit(tables: fixture.Rows) -> None:
    tables["concept"].append(
        {"concept_id": 4711, "concept_name": "x", "standard_concept": "S", "concept_code": "bar"}
    )
    spoil("measurement", unit_concept_id=4711)(tables)


def unknown_concept(tables: fixture.Rows) -> None:
    tables["concept"] = [row for row in tables["concept"] if row["concept_id"] != fixture.SYSTOLIC]


FAULTS: list[tuple[Callable[[fixture.Rows], object], str]] = [
    (
        other_unit,
        "concept 3004249 of include 1 (a blood pressure above 90) has unit 'bar' for which no conversion is declared",
    ),
    (
        spoil("measurement", unit_concept_id=0, unit_source_value="zanzibar"),
        "has a unit in a spelling of its own for which",
    ),
    (
        spoil("measurement", unit_concept_id=0, unit_source_value=None),
        "has no unit for which no conversion is declared",
    ),
    (spoil("measurement", operator_concept_id=4172704), "concept 3004249 has values with a comparison sign"),
    (
        spoil_one("measurement", value_as_number="zanzibar"),
        "concept 3004249 has a value_as_number that is no number in fewer than 10 rows",
    ),
    (
        spoil("observation", value_as_concept_id=99),
        "value concept 99 of field smoker has no category in value_map",
    ),
    (
        spoil("observation", value_as_concept_id=4711),
        "value a concept that the table 'concept' does not list of field smoker",
    ),
    (
        spoil_one("measurement", measurement_date="19.11.1947"),
        "measurement.measurement_date: is no date (YYYY-MM-DD) in fewer than 10 rows",
    ),
    (
        spoil_one("condition_occurrence", condition_start_date="1947-11"),
        "is a year or a month alone in fewer than 10 rows; say by [source] partial_dates",
    ),
    (
        spoil_one("condition_occurrence", condition_start_date=None),
        "condition_occurrence.condition_start_date: is empty in fewer than 10 rows of ",
    ),
    (
        spoil_one("death", person_id=4711),
        "death.person_id: names nobody in person in fewer than 10 rows; export both at once",
    ),
    (spoil_one("death", death_date="zanzibar"), "death.death_date: is no date"),
    (
        spoil("person", year_of_birth="zanzibar"),
        "person.year_of_birth (month_of_birth, day_of_birth): is no date",
    ),
    (twice, "person: lists a person twice with different content in fewer than 10 rows"),
    (
        lambda t: t["measurement"].append({**t["measurement"][0], "value_as_number": 4711.25}),
        "measurement: has a measurement_id with two contents",
    ),
    (without("death"), "holds no table 'death'"),
    (without("concept_ancestor"), "holds no table 'concept_ancestor', which says what is below a concept"),
    (without("measurement"), "holds no table 'measurement' (measurement.csv or measurement.parquet)"),
    (unknown_concept, "concept: does not list concept 3004249 of "),
    (
        lambda t: [row.pop("gender_concept_id") for row in t["person"]],
        "person: has no column 'gender_concept_id'",
    ),
    (
        spoil("observation_period", observation_period_end_date="1947-11-19"),
        "observation_period: ends before it starts",
    ),
    (without("person"), "holds no table 'person'"),
]


@pytest.mark.threat("FL-21", control="C-SCHEMA")
@pytest.mark.parametrize(("change", "sentence"), FAULTS, ids=[f[1][:40] for f in FAULTS])
def test_one_sentence_without_a_patient(
    tmp_path: Path, change: Callable[[fixture.Rows], object], sentence: str
) -> None:
    tables = fixture.population(25)
    tables["measurement"][5]["unit_source_value"] = "zanzibar"
    change(tables)
    folder = fixture.write(tables, tmp_path / "source")
    (tmp_path / "cohort.toml").write_text(fixture.COHORT)
    out = tmp_path / "out" / "flat.csv"
    ran = run(main, "data", "flatten", "--cohort", tmp_path / "cohort.toml", "--source", folder, "--out", out)
    assert ran.code == 2
    assert sentence in ran.error()
    assert not any(canary in ran.err for canary in CANARIES)
    assert not out.exists()


def test_a_broken_line_is_not_repeated(tmp_path: Path) -> None:
    folder = fixture.write(fixture.population(25), tmp_path)
    with (folder / "death.csv").open("a") as file:
        file.write('70007,"1947-11-19,zanzibar\n70008,1,2,3,zanzibar\n')
    with pytest.raises(SourceError, match="death: cannot be read as a table") as caught:
        flatten(DEFINITION, folder)
    assert caught.value.__context__ is None
    assert not any(canary in repr(caught.value) for canary in CANARIES)


def test_what_may_be_left_out_is_left_out(tmp_path: Path) -> None:
    tables = fixture.population(40)
    before = flatten(DEFINITION, fixture.write(tables, tmp_path / "a")).table
    extra = dict(tables["condition_occurrence"][0])
    tables["condition_occurrence"] += [
        {**extra, "condition_occurrence_id": 900_001, "person_id": 4711},
        {**extra, "condition_occurrence_id": 900_002, "condition_start_date": None},
        {**extra, "condition_occurrence_id": 900_003, "condition_start_date": "1999"},
    ]
    lenient = 'kind = "omop"\nundated = "drop"\nunresolved = "drop"\npartial_dates = "drop"'
    definition = parse_definition(fixture.COHORT.replace('kind = "omop"', lenient), "cohort.toml")
    pd.testing.assert_frame_equal(flatten(definition, fixture.write(tables, tmp_path / "b")).table, before)


def test_categories_that_share_a_concept_are_refused(tmp_path: Path) -> None:
    tables = fixture.population(10)
    tables["concept_ancestor"].append(
        {"ancestor_concept_id": fixture.INSULIN, "descendant_concept_id": fixture.METFORMIN + 1}
    )
    with pytest.raises(SourceError, match="field drug: concept 1503298 is below concepts of two categories"):
        flatten(DEFINITION, fixture.write(tables, tmp_path))


def test_duckdb_may_neither_spill_nor_fetch_nor_print(tmp_path: Path) -> None:
    fixture.write(fixture.population(3), tmp_path)
    with omop_tables.open_tables(tmp_path) as tables:
        for setting, value in (
            ("temp_directory", ""),
            ("autoinstall_known_extensions", False),
            ("autoload_known_extensions", False),
            ("enable_progress_bar", False),
        ):
            assert tables.query(f"SELECT current_setting('{setting}') AS s", "x")["s"].item() == value


def test_the_summary_is_buckets(tmp_path: Path) -> None:
    folder = fixture.write(fixture.population(), tmp_path / "source")
    (tmp_path / "cohort.toml").write_text(fixture.COHORT)
    out = tmp_path / "flat.parquet"
    command = ("data", "flatten", "--cohort", tmp_path / "cohort.toml", "--source", folder, "--out", out)
    body = run(main, *command, "--json").json()
    kinds = {step["patients"] for step in body["steps"]} | set(body["empty"].values())
    assert kinds == {"100 or more", "10 or more", "fewer than 10"}
    assert json.dumps(body).count("7000") == 0
    assert out.stat().st_mode & 0o777 == 0o600
    assert len(pd.read_parquet(out)) == len(flatten(DEFINITION, folder).table)
    said = run(main, *command).out
    assert "under observation at the index event: 100 or more patients" in said
    assert not any(str(row["person_id"]) in said for row in fixture.population()["person"])
