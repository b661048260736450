"""A study of statistics without links: the hospitals' own vectors added in the ring, and the same in floating point for the gate.

The gate compares both under one noise: `Run.noise` is what was in the sums of the integers, in the values' unit, and the float reference adds
these very numbers. What is left of the difference is truncation and rounding, which a few runs tell.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hospital_node.cohort import Cohort
from hospital_node.entropy import DiscreteGaussian, OsEntropy
from hospital_node.local_study import LocalStudy
from hospital_node.statistics.tasks import Patients, rows_of
from privacy.noise.mechanisms import decode_release
from privacy.noise.noise_layers import spare_part
from privacy.recipes.fit import Fit, Statistic
from privacy.recipes.tasks import Task
from privacy.studies import exchange, next_model
from privacy.studies.agreement import Agreement
from privacy.studies.grid import FloatArray
from secagg.fixed_point import from_ring
from secagg.masks import Ring


def studies_of(agreement: Agreement, train: Mapping[str, Cohort]) -> dict[str, LocalStudy]:
    """Each hospital's side."""
    return {
        h: LocalStudy.of(agreement, h, cohort, DiscreteGaussian(), OsEntropy()) for h, cohort in train.items()
    }


@dataclass(frozen=True)
class Run:
    """One run of the integers.

    Attributes:
        fit: behind the last sum.
        noise: in the sum of each round, (length of its task,), in the values' unit; zeros without a plan.
    """

    fit: Fit
    noise: tuple[FloatArray, ...]


# So many noisy numbers of this standard deviation.
Noise = Callable[[float, int], FloatArray]


def independent(rng: np.random.Generator) -> Noise:
    """Continuous noise of its own."""
    return lambda sd, count: rng.normal(0.0, sd, count)


def replayed(run: Run) -> Noise:
    """The noise of a run of the integers, round by round."""
    rounds = iter(run.noise)

    def next_round(sd: float, count: int) -> FloatArray:
        noise = next(rounds)
        assert noise.shape == (count,), "the reference asks for another round than the integers had"
        return noise

    return next_round


def integer_path(agreement: Agreement, train: Mapping[str, Cohort]) -> Fit:
    """The fit from ring vectors; secure aggregation adds masks that cancel exactly and nothing else."""
    return integer_run(agreement, train, known_noise=False).fit


def integer_run(agreement: Agreement, train: Mapping[str, Cohort], *, known_noise: bool = True) -> Run:
    """The same, with the noise that was in it: every sum less the exact sum of the same integers, however the noise came about."""
    studies = studies_of(agreement, train)
    exact = {h: replace(study, plan=None) for h, study in studies.items()} if known_noise else {}
    noise: list[FloatArray] = []
    fit, theta = None, np.zeros(agreement.parameters)
    for number in range(1, exchange.total_rounds(agreement) + 1):
        task = exchange.task_at(agreement, number)
        if fit is not None:
            theta = exchange.parse_model(
                agreement, exchange.model_bytes(fit.ordered(task.name)), task.carries
            )
        total: Ring = np.zeros(agreement.dim, dtype=np.uint64)
        told: list[NDArray[np.int64]] = []
        for hospital, study in studies.items():
            total += exchange.statistic_vector(agreement, hospital, study.statistic(task.name, theta))
            layers = study.spare.take()
            if layers is not None:
                told.append(spare_part(layers, len(studies) - agreement.threshold))
        if agreement.study.spare_layers:
            total = exchange.without_spare_noise(agreement, total, told)
        fit = next_model.followed(
            agreement, fit, number, from_ring(total, agreement.modulus_bits), sorted(studies)
        )
        if known_noise:
            opened = from_ring(total, agreement.modulus_bits)[: task.length]
            without = sum((study.statistic(task.name, theta) for study in exact.values()), np.int64(0))
            noise.append(decode_release(opened - without, exchange.statistic_release(agreement, task)))
    assert fit is not None
    return Run(fit, tuple(noise))


def float_reference(agreement: Agreement, train: Mapping[str, Cohort], noise: Noise) -> Fit:
    """The same statistics as floats, with the noise of a run of the integers or with another one; it protects nobody."""
    studies = studies_of(agreement, train)
    layout = next(iter(studies.values())).model.layout

    def released(task: Task, theta: np.ndarray) -> Statistic:
        sd = 0.0 if agreement.plan is None else exchange.release_of(agreement, task).expected_sd(len(studies))
        total = np.zeros(task.length)
        for study in studies.values():
            patients = Patients.of(study.cohort, study.patients, study.grid_days)
            rows = rows_of(
                task.name,
                study.model,
                study.training,
                theta[: layout.dim],
                patients,
                theta[layout.dim :],
            )
            total += rows(slice(None)).sum(axis=0)
        return Statistic(total + noise(sd, task.length) if sd else total, sd)

    first, *rest = agreement.tasks
    fit = Fit.start(agreement.training, layout, released(first, np.zeros(layout.dim)))
    for task in rest:
        for _ in range(task.rounds):
            fit = fit.after(task.name, released(task, fit.ordered(task.name)))
    return fit
