"""The hospital's tasks as a Flower ClientApp, for whoever knows Flower: arrays in, arrays out.

A message carries one flat float64 array (the model; ignored by the life table) and a config with "task" and "round". The
reply carries one flat array under the same name, float64 for models and counts, int64 for noised statistics (a float would round the
sum of noise shares), a config "tags" that names the event which pays for each array or says "public" (`privacy.ledgers.release_tags`), and "num-examples": the declared size, never a row count, for training; 1 for sums over patients, whose mean
times the number of hospitals is the sum.
"""

import os
from typing import TYPE_CHECKING

import numpy as np

from hospital_node.local_study import Answer, LocalStudy
from privacy.ledgers.release_tags import PUBLIC
from privacy.link.transport_rules import grpc_environment
from privacy.studies.grid import FloatArray

if TYPE_CHECKING:
    from flwr.app import ArrayRecord
    from flwr.clientapp import ClientApp


TAGS = "tags"


class TaskError(ValueError):
    """A message that asks for something this hospital does not do."""


def silence_flower() -> None:
    """Switch off Flower's telemetry and update check, and TLS 1.2 in the grpc that it imports; both read the environment once."""
    os.environ.update(grpc_environment(os.environ))
    os.environ["FLWR_TELEMETRY_ENABLED"] = "0"
    os.environ["FLWR_DISABLE_UPDATE_CHECK"] = "1"


def make_client_app(study: LocalStudy) -> "ClientApp":
    """The ClientApp of one hospital in one study.

    Raises (from the app's train function):
        TaskError: the config names no task of ours, or the message does not hold exactly one array.
        LayoutError, TrainingMismatchError, PlanError: see `LocalStudy.train`.
    """
    silence_flower()
    from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
    from flwr.clientapp import ClientApp

    app = ClientApp()

    @app.train()  # type: ignore[untyped-decorator]  # Flower is not followed
    def train(message: Message, context: Context) -> Message:
        name, theta = _only_array(message.content["arrays"])
        config = message.content["config"]
        answer: Answer
        match config.get("task"):
            case "life_table" if not study.sends_statistics:
                answer, weight = study.life_table(), 1
            case "train" if not study.sends_statistics:
                answer, weight = study.train(theta, int(str(config["round"]))), study.n_public
            case str(task) if task in study.statistics:
                answer, weight = study.statistic(task, theta), 1
            case _:
                raise TaskError("the order asks for a task that this study's recipe does not have; refuse it")
        content = RecordDict(
            {
                "arrays": ArrayRecord({name: Array(answer)}),
                "metrics": MetricRecord({"num-examples": weight}),
                TAGS: ConfigRecord(
                    {f"arrays.{name}": study.paid_by(str(config["task"])), "metrics.num-examples": PUBLIC}
                ),
            }
        )
        return Message(content, reply_to=message)

    return app


def _only_array(arrays: "ArrayRecord") -> tuple[str, FloatArray]:
    if len(arrays) != 1:
        raise TaskError(f"the order holds {len(arrays)} arrays where a model is one; refuse it")
    name, array = next(iter(arrays.items()))
    return name, np.asarray(array.numpy(), dtype=np.float64)
