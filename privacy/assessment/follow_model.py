"""The model that the signed sums of a study give: what the coordinator did with them, done again."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from privacy.assessment.evidence import Evidence
from privacy.assessment.recompute_rounds import RoundFacts, parameters
from privacy.recipes.fit import SAME_MODEL
from privacy.recipes.intervals import Estimate
from privacy.studies.agreement import Agreement
from privacy.studies.exchange import fit_rounds, mean_update, statistic, task_at
from privacy.studies.grid import FloatArray
from privacy.studies.next_model import begin_fit, start_model
from secagg.fixed_point import from_ring
from secagg.wire import codec
from secagg.wire.records import Receipt


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


def follow_model(evidence: Evidence, agreement: Agreement, rounds: Sequence[RoundFacts]) -> FollowedModel:
    """Fold the sums in the receipts as the study's recipe says, one after the other.

    Raises:
        ExchangeError, ValueError: the sums are not what the agreement says.
    """
    averages = agreement.training.recipe in ("dp_sgd", "full_batch")
    if averages and agreement.training.strategy != "fedavg":
        return FollowedModel(
            told=f"the strategy {agreement.training.strategy} keeps state that only the coordinator has"
        )
    rounds = [item for item in rounds if item.record.round <= fit_rounds(agreement)]
    expected = range(1, fit_rounds(agreement) + 1)
    lacking = (item.record.status == "done" and not shows_sum(item) for item in rounds)
    if [item.record.round for item in rounds] != list(expected) or any(lacking):
        return FollowedModel()
    first = 1 + int(agreement.training.life_table)
    table, members = None, tuple[str, ...]()
    if first == 2:
        table, members = released_sum(evidence, agreement, rounds[0]), rounds[0].record.answered
        if table is None:
            return FollowedModel()
    theta, fit = start_model(agreement, table, members), begin_fit(agreement, table, members)
    bound = agreement.training.parameter_clip
    models = deque[FloatArray](maxlen=agreement.training.average_last)
    for item in rounds[first - 1 :]:
        total = released_sum(evidence, agreement, item)
        if fit is None:
            theta = theta if total is None else theta + mean_update(agreement, total, item.record.answered)
            models.append(np.clip(theta, -bound, bound))
        elif total is not None:
            task = task_at(agreement, item.record.round)
            fit = fit.after(task.name, statistic(agreement, task, total, item.record.answered))
    if fit is not None:
        return FollowedModel(fit.result, fit.estimate, tolerance=SAME_MODEL)
    return FollowedModel(np.asarray(np.mean(models, axis=0), dtype=np.float64))


def shows_sum(item: RoundFacts) -> bool:
    """Whether the round has a receipt that holds and carries its sum."""
    return not item.problem and item.has_sum


def released_sum(evidence: Evidence, agreement: Agreement, item: RoundFacts) -> NDArray[np.int64] | None:
    """The ring integers that a verified receipt carries, read from the evidence again; None without them."""
    data = evidence.receipt(item.record.round) if shows_sum(item) else None
    if data is None:
        return None
    params = parameters(agreement)
    total = codec.unpack_views("receipt", Receipt, data).sum
    return from_ring(np.frombuffer(total, dtype=params.ring), params.modulus_bits)
