"""The demo's data: real patients, fixed cut, never a column from after baseline."""

from pathlib import Path

import pandas as pd

from deploy.actg175 import HOSPITALS, read_source, split, study_text, write_demo
from hospital_node.cohort import build_cohort
from hospital_node.stage import apply_stage
from hospital_node.table import read_table
from privacy.ledgers.policy_file import parse_policy
from privacy.studies.study import load_study, parse_study


def test_every_patient_is_at_one_hospital() -> None:
    source, hospitals = read_source(), split(read_source())
    assert len(source) == 2139
    assert source["cens"].sum() == 521
    rows = pd.concat([part for cut in hospitals.values() for part in (cut.train, cut.test)])
    assert sorted(rows.index) == list(source.index)
    for cut in hospitals.values():
        share = len(cut.test) / (len(cut.test) + len(cut.train))
        assert abs(share - 0.2) < 0.005
        assert abs(cut.test["cens"].mean() - cut.train["cens"].mean()) < 0.01


def test_hospitals_are_age_bands_with_some_mixing() -> None:
    ages = {name: cut.train["age"] for name, cut in split(read_source()).items()}
    means = [ages[name].mean() for name in HOSPITALS]
    assert means == sorted(means)
    assert 0.05 < (ages["north"] >= 30).mean() < 0.25


def test_the_cut_is_fixed_and_another_seed_is_another() -> None:
    first, again, other = split(read_source()), split(read_source()), split(read_source(), seed=1)
    pd.testing.assert_frame_equal(first["east"].test, again["east"].test)
    assert list(first["east"].test.index) != list(other["east"].test.index)


def test_only_what_was_known_at_baseline() -> None:
    columns = set(split(read_source())["west"].train.columns)
    later = {"cd420", "cd496", "r", "cd820", "offtrt", "treat", "zprior", "pidnum", "Unnamed: 0"}
    assert not columns & later


def test_the_study_fits_its_tables(tmp_path: Path) -> None:
    write_demo(tmp_path)
    study = load_study(tmp_path / "study.toml")
    assert study.hospitals == tuple(sorted(HOSPITALS))
    assert study.dictionary.unsourced() == ()
    assert study.remarks() == ()
    for hospital in study.hospitals:
        frame = read_table(tmp_path / f"{hospital}.csv", study.dictionary)
        staged, report = apply_stage(frame, study)
        assert report.before.k is not None
        assert report.before.k >= 5
        assert build_cohort(staged, study.dictionary, study.horizon_days).event.sum() == frame["cens"].sum()
        read_table(tmp_path / f"{hospital}.test.csv", study.dictionary)
        policy = parse_policy((tmp_path / f"{hospital}.policy.toml").read_text(), "policy.toml")
        assert study.purpose in policy.purposes


def test_bounds_are_not_the_patients_extremes() -> None:
    # A bound equal to the smallest or largest value would give one patient away.
    source = read_source()
    for field in parse_study(study_text(), "study.toml").dictionary.covariates:
        if field.is_number and field.name not in ("age", "karnof"):
            assert field.maximum is not None
            assert field.maximum > source[field.name].max()
