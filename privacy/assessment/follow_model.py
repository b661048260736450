"""The model that the signed sums of a study give: what the coordinator did with them, done again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from privacy.assessment.recompute_rounds import RoundFacts, parameters
from privacy.recipes.fit import SAME_MODEL
from privacy.recipes.intervals import Estimate
from privacy.studies.agreement import Agreement
from privacy.studies.exchange import fit_rounds, mean_update, statistic, task_at
from privacy.studies.grid import FloatArray
from privacy.studies.next_model import begin_fit, start_model
from secagg.fixed_point import from_ring


@dataclass(frozen=True, slots=True)
class FollowedModel:
    """What follows from the receipts.

    Attributes:
        theta: final parameters, (dim,); None where they do not follow.
        estimate: coefficients with their errors, where the recipe has them.
        told: why only the coordinator can know the model; "" where it follows or a sum is missing.
        tolerance: how far another machine's linear algebra may be away, 0 for plain sums.
    """

    theta: FloatArray | None = None
    estimate: Estimate | None = None
    told: str = ""
    tolerance: float = 0.0


def follow_model(agreement: Agreement, rounds: Sequence[RoundFacts]) -> FollowedModel:
    """Fold the sums in the receipts as the study's recipe says.

    Raises:
        ExchangeError, ValueError: the sums are not what the agreement says.
    """
    averages = agreement.training.recipe in ("dp_sgd", "full_batch")
    if averages and agreement.training.strategy != "fedavg":
        return FollowedModel(
            told=f"the strategy {agreement.training.strategy} keeps state that only the coordinator has"
        )
    rounds = [item for item in rounds if item.record.round <= fit_rounds(agreement)]
    sums = {
        item.record.round: released_sum(agreement, item) for item in rounds if item.record.status == "done"
    }
    expected = range(1, fit_rounds(agreement) + 1)
    if [item.record.round for item in rounds] != list(expected) or any(s is None for s in sums.values()):
        return FollowedModel()
    known = {number: total for number, total in sums.items() if total is not None}
    answered = {item.record.round: item.record.answered for item in rounds}
    first = 1 + int(agreement.training.life_table)
    if first == 2 and 1 not in known:
        return FollowedModel()
    table, members = (known.get(1), answered[1]) if first == 2 else (None, ())
    theta, fit = start_model(agreement, table, members), begin_fit(agreement, table, members)
    if fit is not None:
        for number in expected[first - 1 :]:
            if number in known:
                task = task_at(agreement, number)
                fit = fit.after(task.name, statistic(agreement, task, known[number], answered[number]))
        return FollowedModel(fit.result, fit.estimate, tolerance=SAME_MODEL)
    models, bound = [], agreement.training.parameter_clip
    for number in expected[first - 1 :]:
        if number in known:
            theta = theta + mean_update(agreement, known[number], answered[number])
        models.append(np.clip(theta, -bound, bound))
    mean = np.mean(models[-agreement.training.average_last :], axis=0)
    return FollowedModel(np.asarray(mean, dtype=np.float64))


def released_sum(agreement: Agreement, item: RoundFacts) -> NDArray[np.int64] | None:
    """The ring integers that a verified receipt carries; None without them."""
    if item.problem or item.receipt is None or not item.receipt.sum:
        return None
    params = parameters(agreement)
    return from_ring(np.frombuffer(item.receipt.sum, dtype=params.ring), params.modulus_bits)
