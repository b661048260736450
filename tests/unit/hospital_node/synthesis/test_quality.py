"""The report and its gate: a copy passes, each fault fails its own limit, and a stop is a stated decision."""

import json
import stat

import numpy as np
import pandas as pd
import pytest

from hospital_node.cohort import build_cohort
from hospital_node.home import Home
from hospital_node.synthesis.quality import Quality, quality
from hospital_node.synthesis.ranking import concordance, cox, kaplan_meier
from hospital_node.synthesis.rows import typed
from privacy.studies.study import Study
from tests.study_files import study, table
from tests.unit.hospital_node.synthesis.test_synthesize import home as home
from tests.unit.hospital_node.synthesis.test_synthesize import kinds, synthesize

STUDY: Study = study()


def patients(n: int = 1200, seed: int = 1) -> pd.DataFrame:
    """Typed rows whose age shortens lives."""
    frame = table(n, seed)
    rng = np.random.default_rng(seed)
    age = frame["age"].astype(float)
    frame["days"] = np.round(rng.exponential(600 * np.exp(-(age - 55) / 25)) + 1, 1)
    frame["dead"] = (rng.random(n) < 0.8).astype(int)
    frame["marker"] = frame["marker"].astype(float)
    frame["age"], frame["smoker"] = age, frame["smoker"].astype(int)
    return typed(frame, STUDY.dictionary)


def compared(made: pd.DataFrame) -> Quality:
    real = patients()
    return quality(real, made, STUDY, lambda train: made.iloc[: len(train)].reset_index(drop=True))


def test_other_patients_of_the_same_kind_pass() -> None:
    found = compared(patients(4000, seed=2))
    assert found.passed, found.to_json()["limits"]
    assert max(distance for _, distance in found.marginals) < 0.08
    assert found.correlation[1] < 0.1


@pytest.mark.threat("FL-26", control="C-HOLDOUT")
def test_the_report_finds_out_a_synthesizer_that_copies() -> None:
    real = patients(1200)
    copying = quality(real, patients(1200, seed=2), STUDY, lambda train: train)
    honest = quality(real, patients(1200, seed=2), STUDY, lambda train: patients(len(train), seed=3))
    caught, clear = ({a.name: a for a in found.attacks} for found in (copying, honest))
    assert list(caught) == [
        "closest record",
        "calibrated density ratio",
        "singling out",
        "linkage",
        "attribute arm",
    ]
    # Who is attacked is a quarter of those behind the copy, and so is what a guess about one of them can hit.
    assert all(a.low > a.chance + (0.0 if a.name == "singling out" else 0.1) for a in caught.values())
    assert all(attack.low < attack.chance + 0.05 for attack in clear.values())


@pytest.mark.parametrize("fault", ["times", "events", "ranking", "column"])
def test_each_fault_is_seen_where_it_is(fault: str) -> None:
    made = patients(4000, seed=2)
    if fault == "times":
        made["days"] *= 1.3
    elif fault == "events":
        made["dead"] = made["dead"].where(np.arange(len(made)) % 5 > 0, 0.0)
    elif fault == "ranking":
        made["age"] = 100 - made["age"]
    else:
        made["smoker"] = 1.0
    found = compared(made)
    kept = [limit.passed for limit in found.limits]
    if fault == "column":
        assert dict(found.marginals)["smoker"] > 0.4
        return
    assert not found.passed
    assert not kept[{"times": 0, "events": 1, "ranking": 2}[fault]]


def test_cox_and_concordance_agree_with_lifelines() -> None:
    from lifelines import CoxPHFitter, KaplanMeierFitter
    from lifelines.utils import concordance_index

    cohort = build_cohort(patients(300), STUDY.dictionary, STUDY.horizon_days)
    beta = cox(cohort.x, cohort.time, cohort.event)
    frame = pd.DataFrame(cohort.x).assign(time=cohort.time, event=cohort.event)
    frame = frame.loc[:, frame.nunique() > 1]
    fitted = CoxPHFitter(penalizer=1e-3).fit(frame, "time", "event").params_
    assert beta[fitted.index.astype(int)] == pytest.approx(fitted.to_numpy(), abs=0.03)
    risk = cohort.x @ beta
    assert concordance(cohort.time, cohort.event, risk) == pytest.approx(
        concordance_index(cohort.time, -risk, cohort.event)
    )
    at = np.linspace(0, 999, 50)
    curve = KaplanMeierFitter().fit(cohort.time, cohort.event).survival_function_at_times(at)
    assert kaplan_meier(cohort.time, cohort.event, at) == pytest.approx(curve.to_numpy())


def test_nothing_to_rank_is_not_measured_and_not_passed() -> None:
    real = patients(200)
    real["dead"] = 0.0
    found = quality(real, real, STUDY, lambda train: train)
    assert found.c_index == (None, None)
    assert not found.passed


@pytest.mark.threat("FL-26", control="C-DPSYNTH")
@pytest.mark.parametrize("name", ["quality.html", "quality.json"])
def test_a_report_that_fails_stops_nothing_unless_the_policy_said_so(home: Home, name: str) -> None:
    path = home.root.parent / name
    ran = synthesize(home, "--epsilon", 0.2, "--report", path, "--json")
    assert ran.code == 0, ran.err
    assert ran.json()["gate_passed"] is False
    assert (home.root.parent / "synthetic.csv").exists()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    told = path.read_text()
    assert "must not leave" in told.lower()
    assert "measure" in told
    for value in ("P00003", "P00007"):
        assert value not in told
    charged = kinds(home)
    assert charged == ["RESERVE"] * 4 + ["SPENT"] * 4


@pytest.mark.threat("FL-26", control="C-DPSYNTH")
def test_a_policy_that_stops_holds_the_table_back_and_says_what_that_tells(home: Home) -> None:
    home.policy.write_text(home.policy.read_text() + 'synthetic_gate = "stop"\n', encoding="utf-8")
    out, report = home.root.parent / "synthetic.csv", home.root.parent / "quality.json"
    assert synthesize(home, "--epsilon", 0.2).code == 2
    assert kinds(home) == []
    stopped = synthesize(home, "--epsilon", 0.2, "--report", report)
    assert stopped.code == 1
    assert "stays charged" in stopped.error()
    assert not out.exists()
    assert not out.with_name("synthetic.csv.json").exists()
    assert json.loads(report.read_text())["passed"] is False
    assert kinds(home) == ["RESERVE"] * 4 + ["SPENT"] * 4


def test_a_table_behind_a_stop_says_that_its_existence_tells_something() -> None:
    from privacy.synthesis.request import SynthesisRequest

    open_, gated = (SynthesisRequest.dp(STUDY, 1.0, 1e-5, gated=gated) for gated in (False, True))
    assert open_.hash == gated.hash
    told = [any("outside the number" in said for said in r.guarantee.assumptions) for r in (open_, gated)]
    assert told == [False, True]
