"""What privacy costs in accuracy: the same study at several epsilons, its noise, and, on tables that one holds, its C-index."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from privacy.guarantees.accounting import curve as delta_curve
from privacy.guarantees.plan import vectors
from privacy.studies.agreement import Agreement, build
from privacy.studies.refusals import StudyError
from privacy.studies.study import Study, study_from_json

if TYPE_CHECKING:
    from coordinator.progress import Progress

EPSILONS = (0.5, 1.0, 2.0, 3.0, 8.0)
NOT_MEASURED = (
    "no utility without tables: give --data with one table per hospital and held-out <hospital>.test.csv"
)


def at_epsilon(study: Study, epsilon: float) -> Study:
    """The study with another promise.

    Raises:
        StudyError: mode none, which promises nothing; or the study is wrong at this epsilon.
    """
    if study.epsilon is None:
        raise StudyError(study.id, "mode 'none' has no epsilon to vary; use 'local' or 'distributed'")
    body = study.to_json()
    part = "privacy" if study.noised else "stage"
    body[part] = {**body[part], "epsilon": epsilon}
    return study_from_json(body, study.id)


def utility_curve(
    study: Study, epsilons: Sequence[float], data: Path | None, report: Callable[[Progress], None]
) -> dict[str, Any]:
    """A JSON object with a point an epsilon, and epsilon over delta of the study as it is written.

    Args:
        study: as `load_study` returns it.
        epsilons: > 0 each.
        data: folder of tables as `simulate` takes it; None for the noise alone.
        report: progress of the simulations.

    Raises:
        StudyError: see `at_epsilon`.
        SimulationInputError, DataError: as `deploy.simulate.simulate`.
    """
    own = build(at_epsilon(study, study.epsilon or 0.0))
    assert own.plan is not None
    points = []
    for epsilon in sorted(set(epsilons)):
        chosen = at_epsilon(study, epsilon)
        point: dict[str, Any] = {"epsilon": epsilon, "noise": _noise(build(chosen)), "test": None}
        if data is not None:
            point |= _simulated(chosen, data, report)
        points.append(point)
    body: dict[str, Any] = {
        "study": study.id,
        "mode": study.mode,
        "delta": study.delta,
        "points": points,
        "delta_curve": [{"delta": d, "epsilon": e} for d, e in delta_curve(own.plan.charges)],
    }
    return body if data is not None else {**body, "utility": NOT_MEASURED}


def _noise(agreement: Agreement) -> list[dict[str, Any]]:
    """Of each release one hospital's noise multiplier and the deviation of a coordinate of the opened sum, in clips of a patient."""
    assert agreement.plan is not None
    return [
        {
            "release": release.name,
            "noise_multiplier": release.noise_multiplier,
            "sd_of_sum": release.expected_sd(agreement.n) / release.clip_l2,
        }
        for release in vectors(agreement.plan.charges)
    ]


def _simulated(study: Study, data: Path, report: Callable[[Progress], None]) -> dict[str, Any]:
    # Flower, pandas and the coordinator load only where somebody wants runs.
    from deploy.simulate import simulate

    with TemporaryDirectory(prefix="wardround-curve-") as folder:
        run = simulate(study, data, Path(folder), report, baselines=False)
        if run.failed is not None:
            return {"failed": str(run.failed)}
        return {"test": run.result.get("test")}
