"""The one file of the coordinator that touches Flower's internals; Flower reports nothing to anybody."""

from __future__ import annotations

import logging
import os

from privacy.link.transport_rules import grpc_environment

os.environ["FLWR_TELEMETRY_ENABLED"] = "0"
os.environ["FLWR_DISABLE_UPDATE_CHECK"] = "1"
# Flower imports grpc, which reads once which ciphers it may use.
os.environ.update(grpc_environment(os.environ))

from flwr.app import Context, RecordDict
from flwr.serverapp import Grid
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

__all__ = ["Context", "Grid", "Run", "adopt_identity", "empty_context"]

RUN_ID = 1
COORDINATOR_NODE = 1


def adopt_identity() -> None:
    """Tells Flower's message constructor who speaks; outside Flower's own processes nobody else does."""
    TaskIdentity.run_id = RUN_ID
    TaskIdentity.node_id = COORDINATOR_NODE
    TaskIdentity.task_id = 0
    logging.getLogger("flwr").setLevel(logging.ERROR)


def empty_context() -> Context:
    """What a ServerApp is called with; the study's settings travel in the agreement, not here."""
    return Context(run_id=RUN_ID, node_id=COORDINATOR_NODE, node_config={}, state=RecordDict(), run_config={})
