"""The study file: what is read, and one sentence for what is not."""

from pathlib import Path

import pytest

from privacy.studies.study import NotBuilt, RefusedModel, StudyError, load_study, parse_study, study_from_json
from tests.study_files import STUDY, study, text


def test_defaults_by_rule() -> None:
    read = study(("delta = 1e-5\n", ""))
    assert read.hospitals == ("a", "b", "c")
    assert (read.colluding, read.threshold, read.minimum_answers) == (1, 3, 3)
    assert read.delta == 1 / (100 * 1500)
    assert read.strategy == "fedavg"
    assert read.sensitivity_rows == 1
    assert read.remarks() == ()


def test_sections_with_defaults_may_be_left_out() -> None:
    start, rest = STUDY.split("[cohort]")
    least = start + "[privacy]\nepsilon = 1\n" + rest[rest.index("[[field]]") :]
    read = parse_study(least, "least.toml")
    assert (read.mode, read.stage.kind, read.model.family) == ("local", "none", "piecewise_exponential")
    assert read.hospitals == ("a", "b", "c")
    assert read.delta == pytest.approx(6.67e-6, rel=1e-3)


def test_mode_none_has_no_numbers() -> None:
    read = study(('mode = "local"', 'mode = "none"'))
    assert (read.epsilon, read.delta, read.strategy) == (None, None, "fedadam")
    assert any("nothing is guaranteed" in remark for remark in read.remarks())


def test_drop_costs_k_rows() -> None:
    assert study(('"generalize"', '"drop"')).sensitivity_rows == 3


def test_round_trip_through_json() -> None:
    read = study()
    assert study_from_json(read.to_json(), "copy") == read


FAULTS = [
    (("epsilon = 3", "epsilom = 3"), "[privacy]: unknown key 'epsilom'; did you mean 'epsilon'?"),
    (("[cohort]", "[cohorts]"), "unknown key 'cohorts'; did you mean 'cohort'?"),
    (("unit =", "units ="), "field 'days': unknown key 'units'; did you mean 'unit'?"),
    (("codes =", "code ="), "field 'marker': unknown key 'code'; did you mean 'codes'?"),
    (("horizon_days = 1000\n", ""), "[study]: 'horizon_days' is missing"),
    (('purpose = "death"\n', ""), "field 'dead': 'purpose' is missing"),
    (('purpose = "death"', 'purpose = " "'), "field 'dead': purpose must match"),
    (("[study]", "[study"), "not valid TOML"),
    (("a = 400", "a = 400.5"), "[study]: n_public.a must be a valid integer"),
    (("epsilon = 3", "epsilon = -3"), "[privacy]: epsilon must be greater than 0"),
    (("epsilon = 3", "epsilon = nan"), "[privacy]: epsilon must be a finite number"),
    (("epsilon = 3", ""), "needs epsilon"),
    (('["a", "b", "c"]', '["a", "b"]'), "at least three"),
    (('["a", "b", "c"]', '["a", "b", "d"]'), "no size for hospital 'd'"),
    (("n_public = {", "n_public = {z = 1, "), "names 'z', which is not in [cohort] hospitals"),
    (('"c"]', '"c"]\nthreshold = 2'), "with 3 hospitals and colluding = 1 it is 3 to 3"),
    (('"c"]', '"c"]\ncolluding = 2'), "at most 1"),
    (('"c"]', '"c"]\nminimum_answers = 4'), "must be 3 to 3"),
    (("cuts = [40, 60]\n", ""), "needs its public cuts"),
    (('"quasi_identifier"', '"feature"'), "needs a field with role 'quasi_identifier'"),
    (('kind = "generalize"\nk = 3', 'kind = "drop"'), "needs k"),
    (("k = 3", "k = 3\nepsilon = 1"), "leave out epsilon and delta"),
    (('role = "id"', 'role = "idd"'), "role must be 'id'"),
    (('"piecewise_exponential"', '"piecewise"'), "did you mean 'piecewise_exponential'?"),
    (('"piecewise_exponential"', '"piecewise_exponential"\nstrategy = "krum"'), "secure aggregation hides"),
    (('"piecewise_exponential"', '"piecewise_exponential"\nhidden = [4]'), "hidden is for family = 'mlp'"),
    (('"piecewise_exponential"', '"mlp"\nrecipe = "newton"'), "take recipe = 'adam'"),
    (
        ('"piecewise_exponential"', '"piecewise_exponential"\nrecipe = "newton"\nclip_l2 = 1'),
        "proved for one number",
    ),
    (('"piecewise_exponential"', '"mlp"\nrecipe = "adam"\nstrategy = "fedadam"'), "leave strategy out"),
    (('"piecewise_exponential"', '"mlp"\nrecipe = "adam"\nlocal_steps = 2'), "recipe = 'adam' has none"),
    (("[model]", '[analysis]\nmetrics = ["cindex"]\n[model]'), "did you mean 'c_index'?"),
    (("horizon_days = 1000", "horizon_days = true"), "horizon_days must be a valid number"),
]


@pytest.mark.parametrize(("change", "sentence"), FAULTS, ids=[fault[1][:40] for fault in FAULTS])
def test_one_sentence_for_a_fault(change: tuple[str, str], sentence: str) -> None:
    with pytest.raises(StudyError) as caught:
        study(change)
    message = str(caught.value)
    assert message.startswith("small.toml: ")
    assert sentence in message
    assert "\n" not in message
    assert caught.value.exit_code == 2


NOT_BUILT = [
    ('"piecewise_exponential"', '"weibull_aft"'),
    ('"piecewise_exponential"', '"module"'),
    ('"piecewise_exponential"', '"mlp"\nstrategy = "fedprox"'),
    ("[model]", '[analysis]\ncox = "stratified"\n[model]'),
]


@pytest.mark.parametrize("change", NOT_BUILT, ids=[change[1][:30] for change in NOT_BUILT])
def test_what_is_not_built_exits_2(change: tuple[str, str]) -> None:
    with pytest.raises(NotBuilt, match="not built yet") as caught:
        study(change)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("family", ["cox", "deepsurv"])
def test_a_loss_that_couples_patients_is_refused_under_dp(family: str) -> None:
    with pytest.raises(RefusedModel, match="couples patients") as caught:
        study(('"piecewise_exponential"', f'"{family}"'))
    assert caught.value.exit_code == 1


def test_cox_without_dp_is_only_not_built() -> None:
    with pytest.raises(NotBuilt):
        study(('"piecewise_exponential"', '"cox"'), ('"local"', '"none"'))


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "s.toml"
    path.write_text("\ufeff" + text(), encoding="utf-8")
    assert load_study(path) == study()
    path.write_bytes(text().encode("utf-16"))
    with pytest.raises(StudyError, match="not UTF-8"):
        load_study(path)
    with pytest.raises(StudyError, match="cannot be read"):
        load_study(tmp_path / "none.toml")


def test_a_sum_that_would_wrap_is_refused_when_the_study_is_written() -> None:
    with pytest.raises(StudyError, match="64-bit sum"):
        study(('mode = "local"', 'mode = "distributed"'), ("a = 400", "a = 2100000"))


def test_sampling_at_hospitals_is_refused_in_mode_distributed() -> None:
    with pytest.raises(StudyError, match=r"needs .privacy. mode = 'local'"):
        study(('mode = "local"', 'mode = "distributed"'), ("[model]", '[model]\nrecipe = "dp_sgd"'))
