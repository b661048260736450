"""`[model] trial` of a study file, and what the public rule makes of it."""

import pytest

from privacy.studies.agreement import build
from privacy.studies.refusals import StudyError
from privacy.studies.study import Study, parse_study
from tests.bench.trial import study_text

EQUAL = {"0": 1.0, "1": 1.0, "2": 2.0}
FEATURE = """
[[field]]
name = "age"
type = "float"
role = "feature"
purpose = "p"
minimum = 0
maximum = 100
"""


def trial(*changes: tuple[str, str], more: str = "") -> Study:
    text = study_text("distributed", 1.0, EQUAL, 430) + more
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    return parse_study(text, "trial.toml")


def test_the_recipe_follows_from_the_section_and_asks_for_the_arms_alone() -> None:
    agreement = build(trial())
    assert agreement.training.recipe == "trial"
    assert agreement.training.allocation == (0.25, 0.25, 0.5)
    assert [(task.name, task.length, task.clip_l2) for task in agreement.tasks] == [
        ("life_table", 20, 1.0),
        ("trial", 3, 1.0),
    ]
    assert sum(task.share for task in agreement.tasks) == pytest.approx(1.0)


def test_an_arm_may_be_a_yes_or_no() -> None:
    changes = (
        ('type = "category"\nrole = "feature"', 'type = "bool"\nrole = "feature"'),
        ('categories = ["0", "1", "2"]\n', ""),
    )
    two = trial(*changes, ('"1" = 1, "2" = 2', '"1" = 2'))
    assert two.allocation == pytest.approx((1 / 3, 2 / 3))


@pytest.mark.parametrize(
    ("changes", "more", "said"),
    [
        ((('arm = "arm"', 'arm = "weight"'),), "", "must be a field of type"),
        ((), FEATURE, "takes the arm alone, and 'age' is a feature too"),
        ((('"2" = 2', '"3" = 2'),), "", "a part for each of 0, 1, 2"),
        ((('"2" = 2', '"2" = 0'),), "", "greater than 0"),
        ((('trial = {', 'recipe = "newton"\ntrial = {'),), "", "goes with trial"),
        ((('trial = {arm = "arm", allocation = {"0" = 1, "1" = 1, "2" = 2}}', 'recipe = "trial"'),), "", "goes with trial"),
        ((('trial = {', 'clip_l2 = 2\ntrial = {'),), "", "proved for one number"),
        ((('trial = {', 'strategy = "fedadam"\ntrial = {'),), "", "is a strategy itself"),
        ((('trial = {', 'family = "mlp"\ntrial = {'),), "", "family = 'piecewise_exponential'"),
        ((('categories = ["0", "1", "2"]', 'categories = ["0", "1", "2"]\nmissing = {codes = ["9"]}'),), "", "no missing cells"),
    ],
)  # fmt: skip
def test_what_a_trial_cannot_be(changes: tuple[tuple[str, str], ...], more: str, said: str) -> None:
    with pytest.raises(StudyError, match=said):
        trial(*changes, more=more)
