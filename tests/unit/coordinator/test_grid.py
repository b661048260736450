"""Flower on top of the secure sum: one reply, nothing of single hospitals, strategies by name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, RecordDict
from flwr.serverapp.strategy import FedAdagrad, FedAdam, FedAvg, FedAvgM, FedYogi

from coordinator.flower_link import adopt_identity
from coordinator.grid import ARRAY, Answer, NotOnThisGrid, SecureGrid
from coordinator.strategies import make_strategy
from privacy.studies.refusals import StudyError
from privacy.studies.training import resolve_training
from tests.consortium import small_study

THETA = np.array([1.0, -2.0, 3.5])


def messages(grid: SecureGrid, server_round: object = 1) -> list[Message]:
    """What a strategy sends: the same parameters to everybody."""
    adopt_identity()
    content = RecordDict(
        {
            "arrays": ArrayRecord({ARRAY: Array(THETA)}),
            "config": ConfigRecord({"server-round": server_round}),
        }
    )
    return [grid.create_message(content, "train", node, "1") for node in grid.get_node_ids()]


def test_a_round_answers_with_one_mean_whoever_took_part() -> None:
    asked: list[tuple[np.ndarray, int]] = []

    def train_round(theta: np.ndarray, server_round: int) -> Answer:
        asked.append((theta, server_round))
        return Answer(theta + 1.0, 1800, 0.0, "train")

    grid = SecureGrid(4, train_round)
    (reply,) = grid.send_and_receive(messages(grid, 7))
    np.testing.assert_array_equal(reply.content.array_records["arrays"][ARRAY].numpy(), THETA + 1)
    assert reply.content.metric_records["metrics"]["num-examples"] == 1800
    # Four messages, one round.
    assert len(asked) == 1
    assert asked[0][1] == 7
    np.testing.assert_array_equal(asked[0][0], THETA)


def test_an_aborted_round_has_no_reply_and_no_message_no_round() -> None:
    grid = SecureGrid(4, lambda theta, server_round: None)
    assert list(grid.send_and_receive(messages(grid))) == []
    assert list(grid.send_and_receive([])) == []


@pytest.mark.threat("FL-01", control="C-SECAGG")
def test_calls_that_would_show_single_hospitals_do_not_exist() -> None:
    grid = SecureGrid(4, lambda theta, server_round: None)
    with pytest.raises(NotOnThisGrid, match="no push_messages"):
        grid.push_messages([])
    with pytest.raises(NotOnThisGrid, match="no pull_messages"):
        grid.pull_messages(["1"])


def test_there_is_a_node_for_every_hospital_of_the_roster() -> None:
    assert len(list(SecureGrid(4, lambda theta, server_round: None).get_node_ids())) == 4


def test_a_round_number_that_is_none_is_an_error() -> None:
    grid = SecureGrid(4, lambda theta, server_round: None)
    with pytest.raises(TypeError, match="integer"):
        list(grid.send_and_receive(messages(grid, "one")))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("fedavg", FedAvg),
        ("fedavgm", FedAvgM),
        ("fedadam", FedAdam),
        ("fedyogi", FedYogi),
        ("fedadagrad", FedAdagrad),
    ],
)
def test_strategies_by_the_names_of_the_study_file(name: str, kind: Any) -> None:
    training = resolve_training(small_study(("rounds = 2", f"rounds = 2\nstrategy = '{name}'")))
    strategy: Any = make_strategy(training, 4)
    assert type(strategy) is kind
    assert strategy.fraction_evaluate == 0.0
    # One reply stands for four hospitals, and the strategy takes its mean as it is.
    adopt_identity()
    grid = SecureGrid(4, lambda theta, server_round: Answer(theta + 1.0, 1800, 0.0, "train"))
    sent = strategy.configure_train(1, ArrayRecord({ARRAY: Array(THETA)}), ConfigRecord(), grid)
    arrays, _ = strategy.aggregate_train(1, grid.send_and_receive(sent))
    assert arrays is not None
    moved = arrays[ARRAY].numpy() - THETA
    assert np.all(moved > 0)
    if name == "fedavg":
        np.testing.assert_array_equal(moved, np.ones(3))


@pytest.mark.parametrize("name", ["krum", "multikrum", "bulyan", "fedmedian", "fedtrimmedavg", "fedawg"])
def test_strategies_that_need_single_updates_are_refused_by_name(name: str) -> None:
    with pytest.raises(StudyError, match="strategy"):
        small_study(("rounds = 2", f"rounds = 2\nstrategy = '{name}'"))
