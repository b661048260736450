"""Flower's view of the consortium: a Grid whose one reply is what the securely aggregated sum says."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NoReturn

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from numpy.typing import NDArray

from coordinator.flower_link import COORDINATOR_NODE, RUN_ID, Grid, Run
from coordinator.held_arrays import record_of, values_of

NOISE_SD = "noise-sd"
TASK = "task"
FIRST_HOSPITAL_NODE = COORDINATOR_NODE + 1


class NotOnThisGrid(Exception):
    """A call of Flower's that would show single hospitals' replies."""

    def __init__(self, call: str) -> None:
        super().__init__(
            f"SecureGrid has no {call}: only the sum over hospitals exists; use send_and_receive"
        )


@dataclass(frozen=True, slots=True)
class Answer:
    """What a strategy gets to see of one round.

    Attributes:
        values: the mean of the new parameters, or the sum of a statistic in its own unit.
        weight: declared size of the answering hospitals together.
        noise_sd: of each value; 0 where the recipe does not ask.
        task: what the round was for.
    """

    values: NDArray[np.float64]
    weight: int
    noise_sd: float
    task: str


# Runs one round: (parameters, server round) -> its answer, None if it was aborted.
TrainRound = Callable[[NDArray[np.float64], int], Answer | None]


class SecureGrid(Grid):  # type: ignore[misc]  # flwr is checked as Any
    """Carries a strategy's training messages over the secure aggregation.

    A strategy sends the same parameters to every hospital; the grid runs one round and answers with one reply that holds the mean, weighted by
    the declared sizes, or the sum of a statistic. Which hospitals answered is in the round's record and never changes what a strategy sees.
    """

    def __init__(self, hospitals: int, train_round: TrainRound) -> None:
        self._hospitals = hospitals
        self._train_round = train_round
        self._run = Run.create_empty(RUN_ID)

    def set_run(self, run: Run) -> None:
        self._run = run

    @property
    def run(self) -> Run:
        return self._run

    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self) -> Iterable[int]:
        """One node per hospital on the roster, connected or not: who answers is decided by the round."""
        return range(FIRST_HOSPITAL_NODE, FIRST_HOSPITAL_NODE + self._hospitals)

    def push_messages(self, messages: Iterable[Message]) -> NoReturn:
        raise NotOnThisGrid("push_messages")

    def pull_messages(self, message_ids: Iterable[str]) -> NoReturn:
        raise NotOnThisGrid("pull_messages")

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        """One secure round for all messages, which carry the same content; no message, no round."""
        sent = list(messages)
        if not sent:
            return []
        records = tuple(sent[0].content.values())
        theta = values_of(next(record for record in records if isinstance(record, ArrayRecord)))
        config = next(record for record in records if isinstance(record, ConfigRecord))
        server_round = config["server-round"]
        if not isinstance(server_round, int):
            raise TypeError("Flower's server-round is an integer")
        answer = self._train_round(theta, server_round)
        if answer is None:
            return []
        reply = RecordDict(
            {
                "arrays": record_of(answer.values),
                "metrics": MetricRecord({"num-examples": answer.weight, NOISE_SD: answer.noise_sd}),
                "config": ConfigRecord({TASK: answer.task}),
            }
        )
        return [Message(reply, reply_to=sent[0])]
