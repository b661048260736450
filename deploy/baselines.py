"""What a federated model is compared with: Cox on pooled data, and each hospital alone. Simulation and demo only.

They need what no party of a real study has: all patients in one place, or a test set that nobody pays for.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from deploy.scores import c_index
from hospital_node.cohort import Cohort
from hospital_node.entropy import Entropy
from hospital_node.local_study import LocalStudy
from privacy.noise.mechanisms import Sampler, decode_release
from privacy.recipes.fit import Fit, Statistic
from privacy.studies.agreement import Agreement
from privacy.studies.grid import FloatArray
from privacy.studies.layout import Layout
from privacy.studies.life_table import baseline
from privacy.studies.trained_model import layout_of

# Keeps the coefficient of a column that separates events from censorings finite; far too small to be seen elsewhere.
_RIDGE = 1e-5


@dataclass(frozen=True, slots=True)
class CoxFit:
    """Cox regression, Efron's ties.

    Attributes:
        log_hr: (d,) log hazard ratio per unit of each column; 0 for a column that is constant in the data.
        standard_error: (d,); NaN for such a column.
        cumulative_hazard: (m,) at covariates 0.
        event_days: (m,) times at which it steps.
    """

    log_hr: FloatArray
    standard_error: FloatArray
    cumulative_hazard: FloatArray
    event_days: FloatArray

    def survival(self, x: FloatArray, times_days: FloatArray) -> FloatArray:
        """Probability to be free of the event, shape (n, len(times_days)); Breslow's baseline."""
        position = np.searchsorted(self.event_days, times_days, side="right") - 1
        hazard = np.where(position >= 0, self.cumulative_hazard[np.maximum(position, 0)], 0.0)
        return np.asarray(np.exp(-np.exp(x @ self.log_hr)[:, None] * hazard), dtype=np.float64)


def fit_cox(patients: Cohort) -> CoxFit:
    """Cox regression by lifelines on the columns of the design matrix."""
    from lifelines import CoxPHFitter

    columns = patients.x.shape[1]
    varying = np.flatnonzero(np.ptp(patients.x, axis=0) > 0)
    table = pd.DataFrame(patients.x[:, varying], columns=[f"x{j}" for j in varying])
    table["time"], table["event"] = patients.time, patients.event
    entry = None
    if patients.entry is not None:
        table["entry"], entry = patients.entry, "entry"
    fit = CoxPHFitter(penalizer=_RIDGE).fit(table, "time", "event", entry_col=entry)
    log_hr, standard_error = np.zeros(columns), np.full(columns, np.nan)
    log_hr[varying] = fit.params_.to_numpy()
    standard_error[varying] = fit.standard_errors_.to_numpy()
    # lifelines centers the columns; its baseline is that of a patient with mean covariates.
    at_mean = fit.baseline_cumulative_hazard_.iloc[:, 0]
    shift = float(np.exp(-log_hr @ patients.x.mean(axis=0)))
    return CoxFit(
        log_hr, standard_error, at_mean.to_numpy() * shift, at_mean.index.to_numpy(dtype=np.float64)
    )


def pooled(cohorts: Sequence[Cohort]) -> Cohort:
    """All patients in one place, in the order of the hospitals."""
    entries = [cohort.entry for cohort in cohorts if cohort.entry is not None]
    return Cohort(
        x=np.concatenate([cohort.x for cohort in cohorts]),
        time=np.concatenate([cohort.time for cohort in cohorts]),
        event=np.concatenate([cohort.event for cohort in cohorts]),
        entry=np.concatenate(entries) if entries else None,
    )


@dataclass(frozen=True, slots=True)
class Baselines:
    """Scores of the alternatives on the pooled held-out patients.

    Attributes:
        cox: fitted on all training patients.
        cox_c_index: its C-index.
        local_c_index: for each hospital the C-index of the model it trains alone, under the same plan.
    """

    cox: CoxFit
    cox_c_index: float
    local_c_index: Mapping[str, float]

    @property
    def local_mean(self) -> float:
        """Mean C-index of the hospitals alone."""
        return float(np.mean(list(self.local_c_index.values())))


def compute_baselines(
    agreement: Agreement,
    raw: Mapping[str, Cohort],
    staged: Mapping[str, Cohort],
    test: Sequence[Cohort],
    sampler: Sampler,
    entropy: Entropy,
) -> Baselines:
    """Pooled Cox and every hospital alone, scored on all held-out patients.

    Args:
        agreement: the study's; with a plan, each hospital alone spends exactly what it spends in the federation.
        raw: each hospital's training patients before the stage, for Cox: the best that pooling could do.
        staged: the same behind the stage, for each hospital alone.
        test: held-out patients of any number of hospitals.
        sampler: noise of the hospitals alone.
        entropy: their Poisson samples.
    """
    held_out = pooled(test)
    cox = fit_cox(pooled(list(raw.values())))
    layout = layout_of(agreement)
    alone = {
        hospital: c_index(held_out, _alone(agreement, layout, hospital, cohort, held_out, sampler, entropy))
        for hospital, cohort in staged.items()
    }
    return Baselines(cox, c_index(held_out, held_out.x @ cox.log_hr), alone)


def _alone(
    agreement: Agreement,
    layout: Layout,
    hospital: str,
    cohort: Cohort,
    held_out: Cohort,
    sampler: Sampler,
    entropy: Entropy,
) -> FloatArray:
    """Risk of the held-out patients by a hospital's own model: where nothing noises the rounds its own Cox regression."""
    if agreement.noising is None:
        return np.asarray(held_out.x @ fit_cox(cohort).log_hr, dtype=np.float64)
    study = LocalStudy.of(agreement, hospital, cohort, sampler, entropy)
    return layout.risk(train_alone(study, agreement), held_out.x)


def train_alone(study: LocalStudy, agreement: Agreement) -> FloatArray:
    """The model a hospital gets by the study's own rounds without anybody else, shape (dim,)."""
    if study.sends_statistics:
        return _fold_alone(study, agreement)
    layout, training = layout_of(agreement), agreement.training
    intervals = agreement.study.intervals
    released = study.life_table()
    models = [layout.start(baseline(released[:intervals], released[intervals:]))]
    for number in range(1, training.rounds + 1):
        models.append(study.train(models[-1], number))
    return np.asarray(np.mean(models[-training.average_last :], axis=0), dtype=np.float64)


def _fold_alone(study: LocalStudy, agreement: Agreement) -> FloatArray:
    """Alone, a hospital has nobody to share the noise with and adds all of it."""
    alone = replace(study, statistics={name: replace(r, shares=1) for name, r in study.statistics.items()})
    layout = layout_of(agreement)

    def released(task: str, theta: FloatArray) -> Statistic:
        release = alone.statistics[task]
        values = decode_release(alone.statistic(task, theta), release)
        return Statistic(values, 0.0 if agreement.noising is None else release.noise_sd(1))

    table = released("life_table", np.zeros(layout.dim))
    fit = Fit.start(agreement.training, layout, table)
    for task in (task for task in agreement.tasks[1:] if task.part == "fit"):
        for _ in range(task.rounds):
            fit = fit.after(task.name, released(task.name, fit.ordered(task.name)))
    return fit.result
