"""The rounds behind the model: one for each thing that [analysis] asks, none of which changes what was trained."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from coordinator.join import StudyFailed
from coordinator.outcome import Outcome
from privacy.analytics.evaluated import Evaluated
from privacy.recipes.fit import Statistic
from privacy.studies.agreement import Agreement
from privacy.studies.exchange import ExchangeError, fit_rounds, model_bytes, statistic, task_at, total_rounds


def analyze(
    agreement: Agreement, theta: NDArray[np.float64] | None, run_round: Callable[[int, bytes], Outcome]
) -> dict[str, Statistic]:
    """Runs the analysis and returns each released sum by the name of its task; an aborted one is missing.

    Args:
        agreement: the study's.
        theta: the trained model; None in a study without one.
        run_round: runs one round, (number, model) -> its outcome.

    Raises:
        StudyFailed: a sum is not what the agreement says, or a study that trains nothing got no answer at all.
    """
    evaluated = None if theta is None else Evaluated(theta, agreement.study.intervals)
    released: dict[str, Statistic] = {}
    reasons: list[str] = []
    for number in range(fit_rounds(agreement) + 1, total_rounds(agreement) + 1):
        task = task_at(agreement, number)
        carried = evaluated.ordered(task.name) if task.carries_model and evaluated is not None else None
        outcome = run_round(number, b"" if carried is None else model_bytes(carried))
        if outcome.total is None:
            reasons.append(outcome.reason)
            continue
        try:
            released[task.name] = statistic(agreement, task, outcome.total, outcome.answered)
        except ExchangeError as error:
            raise StudyFailed(str(error)) from error
        if evaluated is not None:
            evaluated = evaluated.after(task.name, released[task.name].values)
    if theta is None and not released:
        raise StudyFailed(f"no round of the analysis ended with a sum: {'; '.join(sorted(set(reasons)))}")
    return released
