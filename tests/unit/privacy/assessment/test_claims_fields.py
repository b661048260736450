"""Minimization in the assessment: what a study uses against what there was."""

import pytest

from privacy.assessment.claims_code import _fields
from privacy.assessment.pia_schema import Status
from privacy.studies.study import StudyError
from tests.study_files import study

USED = '"pid", "days", "dead", "age", "marker", "arm", "smoker"'


def test_used_against_available() -> None:
    without = _fields(study())
    assert without.status is Status.NOT_TESTED
    assert "uses 7 columns: pid, days" in without.text
    claim = _fields(
        study(('purpose = "test"', f'purpose = "test"\navailable = [{USED}, "religion", "weight"]'))
    )
    assert claim.status is Status.VERIFIED
    assert "uses 7 of 9 available columns" in claim.text
    assert claim.text.endswith("not used: religion, weight.")


def test_available_must_hold_what_is_used() -> None:
    with pytest.raises(StudyError, match="does not list the field"):
        study(('purpose = "test"', 'purpose = "test"\navailable = ["age"]'))
