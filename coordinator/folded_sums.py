"""Flower strategy of the recipes in which hospitals send statistics: Newton steps and Adam from securely aggregated noisy sums."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from flwr.app import ArrayRecord, Message, MetricRecord

from coordinator.grid import NOISE_SD, TASK
from coordinator.held_arrays import record_of, values_of
from coordinator.one_reply import OneReply
from privacy.recipes.fit import Fit, Statistic


class FoldedSums(OneReply):
    """Asks for one task after the other and folds each sum into the fit (`privacy.recipes.fit`).

    Messages and the course of the rounds are those of `OneReply`; only what a reply means differs: it is a sum over all hospitals, and there
    is exactly one.
    """

    def __init__(self, fit: Fit, next_task: Callable[[int], str | None], **settings: Any) -> None:
        """Take the fit behind the life table.

        Args:
            fit: nothing folded yet.
            next_task: what the round after a server round is for, None after the last.
            settings: FedAvg's.
        """
        super().__init__(**settings)
        self.fit = fit
        self._next_task = next_task

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """The next model to ask at; an aborted round has no reply and leaves the fit as it is."""
        for reply in replies:
            content = reply.content
            released = Statistic(
                values_of(content["arrays"]),
                float(str(content["metrics"][NOISE_SD])),
            )
            self.fit = self.fit.after(str(content["config"][TASK]), released)
        task = self._next_task(server_round)
        theta = self.fit.result if task is None else self.fit.ordered(task)
        return record_of(theta), None
