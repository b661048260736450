"""Flower's averaging where there is one reply: what `SecureGrid` answers is the mean over the hospitals already."""

from __future__ import annotations

from collections.abc import Iterable

from flwr.app import ArrayRecord, ConfigRecord, Message, MessageType, MetricRecord, RecordDict
from flwr.serverapp.strategy import FedAvg

from coordinator.flower_link import Grid


class OneReply(FedAvg):  # type: ignore[misc]  # flwr is checked as Any
    """FedAvg whose mean over one reply is that reply, to the bit, and whose one message stands for all hospitals.

    Flower's optimizers are subclasses of FedAvg and hand to it by `super()`: a class of one of them and of this one, in this order, averages
    here and optimizes there.
    """

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """One message: all hospitals get the same, and SecureGrid runs one round for however many there are."""
        config["server-round"] = server_round
        content = RecordDict({self.arrayrecord_key: arrays, self.configrecord_key: config})
        return [Message(content, next(iter(grid.get_node_ids())), MessageType.TRAIN)]

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """The reply's arrays; an aborted round has no reply. Metrics of single hospitals do not exist.

        Raises:
            ValueError: more than one reply.
        """
        messages = list(replies)
        if not messages:
            return None, None
        (only,) = messages
        return only.content[self.arrayrecord_key], None
