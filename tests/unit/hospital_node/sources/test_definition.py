"""A cohort definition: read, or refused with one sentence that names the place and the remedy."""

from pathlib import Path

import pytest

from hospital_node.sources.definition_file import DefinitionError, load_definition, parse_definition
from tests.fhir_care_fixture import COHORT as LATE_FHIR
from tests.fhir_fixture import COHORT as FHIR
from tests.omop_fixture import COHORT as OMOP
from tests.omop_fixture import LATE as LATE_OMOP

WRONG: list[tuple[str, str, str, str]] = [
    (OMOP, "[source]", "[sauce]", "cohort.toml: unknown key 'sauce'; did you mean 'source'?"),
    (OMOP, 'kind = "omop"', 'kind = "omob"', "[source]: kind must be 'omop' or 'fhir'"),
    (
        OMOP,
        "maximum_days",
        "maximum_day",
        "[follow_up]: unknown key 'maximum_day'; did you mean 'maximum_days'?",
    ),
    (OMOP, 'take = "last"', 'tale = "last"', "field 'sbp': unknown key 'tale'; did you mean 'take'?"),
    (OMOP, 'take = "last"', 'take = "latest"', "field 'sbp': take must be 'last'"),
    (OMOP, "{kPa = 7.5}", "{kPa = {faktor = 7.5}}", "unknown key 'faktor'; did you mean 'factor'?"),
    (
        OMOP,
        'concepts = "sbp"\ntake',
        'concepts = "spb"\ntake',
        "field 'sbp': concepts names 'spb'; did you mean 'sbp'?",
    ),
    (
        OMOP,
        "codes = [381316]",
        'codes = ["I63"]',
        "[concepts.stroke] lists 'I63'; OMOP codes are concept ids",
    ),
    (OMOP, "code = 2", "code = 3", "codes are [1, 3]; they must be 1 to R without a gap"),
    (
        OMOP,
        "code = 2\ndeath = true",
        'code = 2\nfrom = "visit"\nconcepts = "stroke"',
        "no [[outcome]] has death = true: add it with a code of its own (a competing risk), or say",
    ),
    (OMOP, "maximum_days = 1500", 'death = "censor"', "contradicts the [[outcome]] with death = true"),
    (OMOP, "window = [-365, 0]", "window = [0, -365]", "field 'sbp': window ends before it starts"),
    (OMOP, "window = [-365, 0]", "window = [-365, 30]", "a covariate from the future would leak the outcome"),
    (OMOP, 'unit = "mm[Hg]"\nconvert = {kPa = 7.5}\n[[field]]', "[[field]]", "field 'sbp': unit is missing"),
    (OMOP, 'name = "age"', 'name = "pid"', "field 'pid' is defined twice"),
    (OMOP, 'from = "time"', 'from = "age"', "exactly one [[field]] has from = 'time'"),
    (
        OMOP,
        'from = "measurement"\nconcepts = "sbp"\ntake = "last"',
        'from = "condition"\nconcepts = "sbp"\ntake = "last"',
        "has no values; take 'any' or 'count'",
    ),
    (OMOP, "earliest = 2014-01-01", "earliest = 2031-01-01", "[index] latest is before earliest"),
    (OMOP, "minimum_age = 30", "minimum_age = -1", "[index]: minimum_age: input should be greater"),
    (FHIR, "administrative_end = 2021-06-30", "", "[follow_up] administrative_end is missing"),
    (
        FHIR,
        'which = "first_qualifying"',
        "prior_observation_days = 9",
        "needs observation periods, which only an OMOP source has",
    ),
    (
        FHIR,
        'from = "drug"',
        'from = "operation"',
        "field 'drug': from must be 'id', 'time', 'event', 'entry', 'age', 'gender', 'race', 'ethnicity', 'condition', 'drug', 'procedure'",
    ),
    (FHIR, 'from = "age"', 'from = "entry"', "field 'age': from = 'entry' needs the section [entry]"),
    (
        FHIR,
        "[follow_up]",
        '[entry]\nfrom = "visit"\n[follow_up]',
        "[entry] needs a [[field]] with from = 'entry'",
    ),
    (
        LATE_FHIR,
        'concepts = "ambulatory"\n[follow_up]',
        'concepts = "ambulance"\n[follow_up]',
        "[entry]: concepts names 'ambulance'; did you mean 'ambulatory'",
    ),
    (
        LATE_FHIR,
        'from = "visit"\nconcepts = "ambulatory"\n[follow_up]',
        'from = "visit"\n[follow_up]',
        "[entry] from = 'visit' needs concepts",
    ),
    (
        LATE_FHIR,
        'from = "visit"\nconcepts = "ambulatory"\n[follow_up]',
        'from = "periods"\n[follow_up]',
        "[entry] from = 'periods' needs observation periods, which only an OMOP source has",
    ),
    (
        LATE_FHIR,
        'from = "visit"\nconcepts = "ambulatory"\n[follow_up]',
        'from = "period"\n[follow_up]',
        "[entry]: from must be 'periods', 'condition'",
    ),
    (LATE_OMOP, "[entry]\n", '[entry]\nconcepts = "stroke"\n', "[entry] from = 'periods' takes no concepts"),
    (
        LATE_OMOP,
        "minimum_age = 30",
        "prior_observation_days = 180",
        "[index] prior_observation_days asks for the opposite, remove one",
    ),
    (
        LATE_OMOP,
        'name = "age"\nfrom = "age"',
        'name = "age"\nfrom = "entry"',
        "two [[field]]s have from = 'entry'",
    ),
    (
        FHIR,
        "http://loinc.org|8480-6",
        "8480-6",
        "[concepts.sbp] lists '8480-6'; FHIR codes are 'system|code'",
    ),
    (FHIR, 'map = {male = "m", female = "f"}', "", "needs map"),
    (FHIR, "[source]", "[source", "not valid TOML"),
]


@pytest.mark.parametrize(("text", "old", "new", "sentence"), WRONG, ids=[w[3][:40] for w in WRONG])
def test_one_sentence(text: str, old: str, new: str, sentence: str) -> None:
    assert old in text
    with pytest.raises(DefinitionError) as caught:
        parse_definition(text.replace(old, new, 1), "cohort.toml")
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_death_may_be_censored_when_the_file_says_so() -> None:
    said = OMOP.replace("[[outcome]]\ncode = 2\ndeath = true\n", "").replace(
        "maximum_days = 1500", 'death = "censor"'
    )
    assert parse_definition(said, "cohort.toml").follow_up.death == "censor"


@pytest.mark.parametrize("kind", ["omop", "fhir"])
def test_the_examples_are_definitions(kind: str) -> None:
    example = load_definition(Path(__file__).parents[4] / "deploy" / f"cohort_{kind}.toml")
    assert example.source.kind == kind


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match="cannot be read"):
        load_definition(tmp_path / "none.toml")
    (tmp_path / "latin.toml").write_bytes("[source]\n# é".encode("latin-1"))
    with pytest.raises(DefinitionError, match="is not UTF-8"):
        load_definition(tmp_path / "latin.toml")
