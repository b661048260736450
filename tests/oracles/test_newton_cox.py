"""Without noise the weighted Newton recipe meets Cox regression on real data: every column, and the order of the patients."""

import tempfile
from functools import cache
from pathlib import Path

import numpy as np

from deploy import actg175
from deploy.baselines import CoxFit, fit_cox, pooled, train_alone
from deploy.scores import c_index
from hospital_node.cohort import Cohort, build_cohort
from hospital_node.entropy import DiscreteGaussian, OsEntropy
from hospital_node.local_study import LocalStudy
from hospital_node.table import read_table
from privacy.studies.agreement import Agreement, build
from privacy.studies.study import parse_study
from privacy.studies.trained_model import layout_of

CHANGES = {
    'mode = "local"\nepsilon = 3': 'mode = "none"',
    'recipe = "auto"\nstrategy = "fedavg"': 'recipe = "newton"',
    'kind = "generalize"\nk = 5': 'kind = "none"',
}


@cache
def everybody() -> tuple[Agreement, Cohort, CoxFit]:
    """All 2,139 patients of ACTG 175."""
    text = actg175.study_text()
    for old, new in CHANGES.items():
        assert old in text
        text = text.replace(old, new)
    agreement = build(parse_study(text, "ACTG175"))
    study = agreement.study
    with tempfile.TemporaryDirectory() as folder:
        actg175.write_demo(Path(folder))
        patients = pooled(
            [
                build_cohort(
                    read_table(Path(folder) / f"{hospital}{part}.csv", study.dictionary),
                    study.dictionary,
                    study.horizon_days,
                )
                for hospital in study.hospitals
                for part in ("", ".test")
            ]
        )
    return agreement, patients, fit_cox(patients)


def test_every_coefficient_is_within_three_tenths_of_a_standard_error() -> None:
    agreement, patients, cox = everybody()
    assert len(patients) == 2139
    study = LocalStudy.of(agreement, "north", patients, DiscreteGaussian(), OsEntropy())
    beta = layout_of(agreement).beta(train_alone(study, agreement))
    assert np.abs((beta - cox.log_hr) / cox.standard_error).max() < 0.3
    ours, theirs = c_index(patients, patients.x @ beta), c_index(patients, patients.x @ cox.log_hr)
    assert abs(ours - theirs) < 0.001
