"""The one file of the hospital that touches Flower's internals: calls a ClientApp without any of Flower's processes."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hospital_node.client_app import TAGS, make_client_app, silence_flower
from hospital_node.local_study import Answer, LocalStudy
from privacy.ledgers.release_tags import check_reply

if TYPE_CHECKING:
    from flwr.clientapp import ClientApp

RUN_ID = 1
ARRAY = "theta"


@dataclass(frozen=True, slots=True, repr=False)
class Tagged:
    """An answer with the name of the event that pays for it."""

    values: Answer
    event: str


class FlowerTraining:
    """A study's ClientApp and the one way to ask it for a task."""

    def __init__(self, study: LocalStudy, node: int) -> None:
        silence_flower()
        from flwr.supercore.task_identity import TaskIdentity

        TaskIdentity.run_id = RUN_ID
        TaskIdentity.node_id = node
        TaskIdentity.task_id = 0
        logging.getLogger("flwr").setLevel(logging.ERROR)
        self._node = node
        self._app: ClientApp = make_client_app(study)

    def run(self, task: str, theta: NDArray[np.float64], training_round: int) -> Tagged:
        """The task's answer as one flat vector: float64 for a model or counts, int64 for a noised statistic.

        Nothing else of the reply goes on, and a reply with any number that has no tag is refused as a whole.

        Args:
            task: of the study's recipe.
            theta: (parameters,) the round's common model; anything for the life table.
            training_round: 1 to `training.rounds`.

        Raises:
            UntaggedRelease: the reply holds a number that no event pays for and that is not declared public.
        """
        from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, RecordDict

        content = RecordDict(
            {
                "arrays": ArrayRecord({ARRAY: Array(theta)}),
                "config": ConfigRecord({"task": task, "round": training_round}),
            }
        )
        message = Message(content, self._node, "train")
        context = Context(
            run_id=RUN_ID, node_id=self._node, node_config={}, state=RecordDict(), run_config={}
        )
        reply = self._app(message, context)
        content = reply.content
        leaves = {
            f"{record}.{name}": value for record, part in content.items() for name, value in part.items()
        }
        tags = {str(path): tag for path, tag in content.config_records.get(TAGS, {}).items()}
        check_reply(
            {path: value for path, value in leaves.items() if not path.startswith(f"{TAGS}.")}, tags, task
        )
        answer: Answer = content.array_records["arrays"][ARRAY].numpy()
        return Tagged(answer, str(tags[f"arrays.{ARRAY}"]))
