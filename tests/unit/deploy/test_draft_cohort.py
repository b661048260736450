"""`wardround-study new --cohort`: a study that lint takes after the decisions and that the flat table fits."""

from pathlib import Path

import pytest

from deploy.study_cli import main
from hospital_node.check import check_table
from hospital_node.cli import main as hospital
from hospital_node.sources.against_study import check_against
from hospital_node.sources.definition_file import DefinitionError, parse_definition
from hospital_node.sources.flatten import flatten, write_table
from privacy.studies.study import parse_study
from tests import fhir_care_fixture, fhir_fixture, omop_fixture
from tests.command_lines import run

COHORTS = pytest.mark.parametrize("text", [omop_fixture.COHORT, fhir_fixture.COHORT], ids=["omop", "fhir"])
LATE = pytest.mark.parametrize("text", [omop_fixture.LATE, fhir_care_fixture.COHORT], ids=["omop", "fhir"])


def drafted(folder: Path, text: str) -> str:
    (folder / "cohort.toml").write_text(text)
    ran = run(main, "new", "--cohort", folder / "cohort.toml")
    assert (ran.code, ran.err) == (0, "")
    return ran.out


@COHORTS
def test_a_draft_is_a_study_with_the_names_and_types(tmp_path: Path, text: str) -> None:
    definition = parse_definition(text, "cohort.toml")
    study = parse_study(drafted(tmp_path, text), "draft.toml")
    open_ = next(remark for remark in study.remarks() if "'decide'" in remark)
    assert all(field.name in open_ for field in study.fields)
    check_against(definition, study, "cohort.toml")
    assert study.dictionary.event.highest_event == 2
    assert {f.name: f.type for f in study.fields} == {f.name: f.type for f in definition.field}
    sbp = next(f for f in study.fields if f.name == "sbp")
    assert (sbp.unit, sbp.minimum, sbp.maximum, sbp.source) == ("mm[Hg]", 0, 1, "")


@LATE
def test_a_late_entry_has_its_role_and_its_unit(tmp_path: Path, text: str) -> None:
    study = parse_study(drafted(tmp_path, text), "draft.toml")
    entry = study.dictionary.entry
    assert entry is not None
    assert entry.days_per_unit == 1.0
    check_against(parse_definition(text, "cohort.toml"), study, "cohort.toml")


def test_an_entry_that_the_definition_does_not_make_is_named(tmp_path: Path) -> None:
    draft = drafted(tmp_path, fhir_care_fixture.COHORT)
    bounds = 'role = "feature"\nminimum = 0\nmaximum = 9999\nsource = "the calendar"'
    draft = draft.replace('role = "entry"', bounds)
    definition = parse_definition(fhir_care_fixture.COHORT, "cohort.toml")
    with pytest.raises(
        DefinitionError, match="has from = 'entry' and the study's role feature; make them agree"
    ):
        check_against(definition, parse_study(draft, "draft.toml"), "cohort.toml")


def test_each_column_says_where_it_comes_from_and_whose_cell_is_empty(tmp_path: Path) -> None:
    said = drafted(tmp_path, omop_fixture.LATE)
    for sentence in (
        "# completed years at the index event\n[[field]]",
        "minimum = 30     # asked for by [index] of the cohort definition",
        "# patients without a date of birth",
        "# patients without a recorded gender, or with one that `map` does not list",
        "# last measurement of sbp, days -365 to 0 (0 is the day of the index event)\n[[field]]",
    ):
        assert sentence in said
    age = said[said.index('name = "age"') : said.index('name = "sex"')]
    assert "log1p" not in age
    assert "window" not in age


def decided(draft: str) -> str:
    """Public bounds, as a person would write them."""
    return draft.replace("maximum = 1     # decide", "maximum = 260").replace(
        'unit = "years"', 'unit = "years"'
    )


def test_the_flat_table_fits_and_the_command_checks_it(tmp_path: Path) -> None:
    study = decided(drafted(tmp_path, fhir_fixture.COHORT))
    (tmp_path / "study.toml").write_text(study)
    source = fhir_fixture.write(fhir_fixture.export(), tmp_path / "source")
    made = flatten(parse_definition(fhir_fixture.COHORT, "c"), source)
    write_table(made.table, tmp_path / "flat.parquet", source)
    checked = check_table(tmp_path / "flat.parquet", parse_study(study, "study.toml"))
    assert checked.fits, checked.findings
    command = ("data", "flatten", "--cohort", tmp_path / "cohort.toml", "--source", source)
    ran = run(hospital, *command, "--study", tmp_path / "study.toml", "--out", tmp_path / "flat.csv")
    assert (ran.code, ran.err) == (0, "")
    assert "patients fit the dictionary of cohort" in ran.out


DISAGREE: list[tuple[str, str, str]] = [
    ('"sbp"', '"sbpp"', "has no field 'sbpp', which the study declares; did you mean 'sbp'"),
    ('unit = "mm[Hg]"', 'unit = "kPa"', "field 'sbp': has unit 'mm[Hg]'; the study declares 'kPa'"),
    ('unit = "days"', 'unit = "months"', "field 'days': is in days; the study declares months"),
    ("maximum = 2 ", "maximum = 1 ", "has event codes up to 2; the study declares codes 0 to 1"),
    (
        'categories = ["m", "f"',
        'categories = ["m", "w"',
        "field 'sex': maps to 'f', which the study does not list",
    ),
    (
        'name = "diabetes"\ntype = "bool"',
        'name = "diabetes"\ntype = "category"\ncategories = ["0", "1"]',
        "is written as bool",
    ),
]


@pytest.mark.parametrize(("old", "new", "sentence"), DISAGREE, ids=[d[2][:30] for d in DISAGREE])
def test_a_study_that_disagrees_is_named_before_a_record_is_read(
    tmp_path: Path, old: str, new: str, sentence: str
) -> None:
    draft = drafted(tmp_path, fhir_fixture.COHORT)
    assert old in draft
    study = parse_study(draft.replace(old, new), "draft.toml")
    with pytest.raises(DefinitionError) as caught:
        check_against(parse_definition(fhir_fixture.COHORT, "cohort.toml"), study, "cohort.toml")
    assert sentence in str(caught.value)


def test_a_table_or_a_definition(tmp_path: Path) -> None:
    (tmp_path / "cohort.toml").write_text(fhir_fixture.COHORT)
    assert "either a table or --cohort" in run(main, "new").error()
    both = run(main, "new", tmp_path / "a.csv", "--cohort", tmp_path / "cohort.toml")
    assert (both.code, "either a table" in both.error()) == (2, True)
