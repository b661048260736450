"""What [analysis] may ask: vectors, bounds, groups by public levels, and one sentence for what it may not."""

from math import sqrt

import numpy as np
import pytest

from privacy.analytics.asks import MOMENTS, RISK_TABLE
from privacy.analytics.expected import expected_noise
from privacy.analytics.groups import NOBODY, Groups, level_codes, levels
from privacy.guarantees.plan import DpPlan
from privacy.studies.agreement import build, from_bytes
from privacy.studies.refusals import StudyError
from privacy.studies.study import Study, study_from_json
from tests.study_files import study

MODEL = '[model]\nfamily = "piecewise_exponential"'
DISTRIBUTED = ('mode = "local"', 'mode = "distributed"')


def asking(analysis: str, *changes: tuple[str, str], model: bool = False) -> Study:
    """The small study with an analysis, without a model unless asked for."""
    section = (
        f"[analysis]\n{analysis}\n{MODEL}" if model else f'[analysis]\n{analysis}\n[model]\nfamily = "none"'
    )
    return study((MODEL, section), *changes)


def query(text: str) -> str:
    return f"[[analysis.query]]\n{text}\n"


def test_each_kind_has_its_vector_and_its_bound() -> None:
    asked = asking(
        'kaplan_meier = true\nkaplan_meier_by = ["arm"]\n'
        + query('kind = "count"\nby = ["age", "smoker"]')
        + query('kind = "mean"\nfield = "marker"\nby = ["arm"]')
        + query('kind = "histogram"\nfield = "arm"')
        + query('kind = "histogram"\nfield = "age"')
        + query('kind = "quantile"\nfield = "marker"\nbins = 30')
    )
    found = [(ask.kind, ask.length, ask.clip_l2) for ask in asked.asks]
    assert found == [
        ("survival", 20, 1.0),
        ("survival", 60, 1.0),
        ("count", 6, 1.0),
        ("mean", 6, sqrt(1.5)),
        ("histogram", 3, 1.0),
        ("histogram", 3, 1.0),
        ("quantile", 30, 1.0),
    ]
    assert asked.asks[-2].edges == (0, 40, 60, 100)
    log_scale = np.log1p(asked.asks[-1].edges)
    np.testing.assert_allclose(np.diff(log_scale), np.diff(log_scale)[0])


def test_late_entry_adds_a_histogram_and_costs_sqrt_2() -> None:
    entry = '[[field]]\nname = "came"\ntype = "float"\nrole = "entry"\nunit = "days"\npurpose = "x"\n'
    (ask,) = asking("kaplan_meier = true", ("[[field]]", entry + "[[field]]")).asks
    assert (ask.length, ask.clip_l2) == (30, sqrt(2))


def test_the_whole_plan_is_calibrated_and_every_ask_is_one_release_of_it() -> None:
    alone = build(asking('kaplan_meier_by = ["arm"]\n' + query('kind = "count"')))
    assert alone.plan is not None
    first, second = alone.plan.releases
    assert (first.name, second.name) == ("survival-1", "count-1")
    # All of mu^2, in equal parts.
    assert first.noise_multiplier == second.noise_multiplier
    together = build(
        asking(
            query('kind = "count"'),
            DISTRIBUTED,
            ("delta = 1e-5", "delta = 1e-5\nevaluation_share = 0.2"),
            model=True,
        )
    )
    assert together.plan is not None
    mu2 = {r.name: r.steps / r.noise_multiplier**2 for r in together.plan.releases}
    total = sum(mu2.values())
    assert mu2["count-1"] / total == pytest.approx(0.1, rel=1e-3)
    assert (mu2[MOMENTS] + mu2[RISK_TABLE]) / total == pytest.approx(0.2, rel=1e-3)
    assert from_bytes(together.to_bytes()).hash == together.hash


def test_dp_sgd_pays_for_the_analysis_out_of_the_same_epsilon() -> None:
    plain, asked = (
        build(study((MODEL, f"{a}{MODEL}\nsample_rate = 1.0\nrounds = 2"))).plan
        for a in ("", "[analysis]\nkaplan_meier = true\n")
    )
    assert isinstance(plain, DpPlan)
    assert isinstance(asked, DpPlan)
    assert asked.release("train").noise_multiplier > plain.release("train").noise_multiplier
    assert [r.name for r in asked.releases] == ["life_table", "train", "survival-1"]


def test_a_study_without_a_model_survives_its_json() -> None:
    asked = asking(query('kind = "mean"\nfield = "age"\nwhere = {smoker = true, age = [0, 40]}'))
    assert study_from_json(asked.to_json(), "copy") == asked
    assert not asked.has_model
    assert from_bytes(build(asked).to_bytes()).study == asked


def test_price_tells_the_noise_of_each_answer_beforehand() -> None:
    (told,) = expected_noise(build(asking(query('kind = "mean"\nfield = "age"'), DISTRIBUTED)))
    release = build(asking(query('kind = "mean"\nfield = "age"'), DISTRIBUTED)).plan
    assert release is not None
    assert told["noise_sd"] == pytest.approx(release.releases[0].noise_sd(3) * 50 / 1500)
    (divided,) = expected_noise(
        build(
            asking(query('kind = "mean"\nfield = "age"\nby = ["arm"]\nwhere = {smoker = true}'), DISTRIBUTED)
        )
    )
    assert divided["noise_sd"] == pytest.approx(3 * told["noise_sd"])
    assert "if each of 3 groups were 1/3 of the declared patients if all met the condition" in divided["unit"]


def test_groups_are_public_levels_and_missing_is_nobody() -> None:
    fields = {field.name: field for field in study().fields}
    assert levels(fields["age"]) == ("0 to 40", "40 to 60", "60 to 100")
    np.testing.assert_array_equal(
        level_codes(fields["age"], np.array([0.0, 39.9, 40.0, 100.0, np.nan])), [0, 0, 1, 2, NOBODY]
    )
    groups = Groups((fields["arm"], fields["smoker"]), ((fields["age"], (40.0, 100.0)),))
    cells = {
        "arm": np.array([2.0, 0.0, np.nan, 1.0]),
        "smoker": np.array([1.0, 0.0, 1.0, 1.0]),
        "age": np.array([100.0, 39.0, 50.0, np.nan]),
    }
    np.testing.assert_array_equal(groups.codes(cells, 4), [5, NOBODY, NOBODY, NOBODY])
    assert groups.labels[5] == {"arm": "2", "smoker": "true"}


FAULTS = [
    ("", "needs [analysis]"),
    ("log_rank = true", "name them in kaplan_meier_by"),
    ('kaplan_meier_by = ["marker"]', "needs its public cuts"),
    ('kaplan_meier_by = ["pid"]', "no covariate"),
    (query('kind = "mean"'), "needs a field"),
    (query('kind = "count"\nfield = "age"'), "leave field out"),
    (query('kind = "mean"\nfield = "arm"'), "for numbers"),
    (query('kind = "count"\nbins = 3'), "bins is for"),
    (query('kind = "mean"\nfield = "age"\nwhere = {arm = "9"}'), "not one of its categories"),
    (query('kind = "mean"\nfield = "age"\nwhere = {age = [60, 40]}'), "from below to"),
    (query('kind = "mean"\nfield = "age"\nwhere = {smoker = "yes"}'), "true or false"),
    (query('kind = "count"\nname = "train"'), "belongs to a release"),
    (2 * query('kind = "count"\nname = "x"'), "occurs twice"),
    (query('kind = "count"\nfeild = "x"'), "did you mean 'field'"),
]


@pytest.mark.parametrize(("analysis", "told"), FAULTS, ids=[told for _, told in FAULTS])
def test_what_cannot_be_asked_is_one_sentence(analysis: str, told: str) -> None:
    with pytest.raises(StudyError) as caught:
        asking(analysis)
    assert told in str(caught.value)


def test_shares_must_leave_room_and_pay_for_something() -> None:
    for privacy, told in (
        ("evaluation_share = 0.5", "has none"),
        ("analysis_share = 0.0", "leaves nothing"),
    ):
        with pytest.raises(StudyError, match=told):
            asking("kaplan_meier = true", ("delta = 1e-5", f"delta = 1e-5\n{privacy}"))
    with pytest.raises(StudyError, match="less than a tenth"):
        asking("kaplan_meier = true", ("delta = 1e-5", "delta = 1e-5\nevaluation_share = 0.85"), model=True)
    with pytest.raises(StudyError, match="asks nothing"):
        study(("delta = 1e-5", "delta = 1e-5\nanalysis_share = 0.2"))
