"""Flower on top of the secure sum: one reply, nothing of single hospitals, strategies by name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, RecordDict
from flwr.serverapp.strategy import FedAdagrad, FedAdam, FedAvg, FedAvgM, FedYogi
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from coordinator.flower_link import adopt_identity
from coordinator.grid import Answer, NotOnThisGrid, SecureGrid
from coordinator.held_arrays import ARRAY, HeldArray, record_of, values_of
from coordinator.strategies import SERVER_TAU, make_strategy
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
    assert isinstance(strategy, kind)
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


STOCK: dict[str, Any] = {
    "fedavg": lambda rate: FedAvg(),
    "fedavgm": lambda rate: FedAvgM(server_learning_rate=rate, server_momentum=0.9),
    "fedadam": lambda rate: FedAdam(eta=rate, tau=SERVER_TAU),
    "fedyogi": lambda rate: FedYogi(eta=rate, tau=SERVER_TAU),
    "fedadagrad": lambda rate: FedAdagrad(eta=rate, tau=SERVER_TAU),
}


def course(strategy: Any, start: ArrayRecord, means: list[np.ndarray | None]) -> list[bytes]:
    """The models that a strategy orders when rounds answer with these means; None for an aborted one."""
    ordered: list[bytes] = []

    def train_round(theta: np.ndarray, server_round: int) -> Answer | None:
        mean = means[server_round - 1]
        return None if mean is None else Answer(mean, 1800, 0.0, "train")

    def keep(server_round: int, arrays: ArrayRecord) -> None:
        ordered.append(np.asarray(arrays[ARRAY].numpy()).tobytes())

    strategy.start(SecureGrid(4, train_round), start, num_rounds=len(means), evaluate_fn=keep)
    return ordered


@settings(max_examples=15, deadline=None)
@given(st.data())
@pytest.mark.parametrize("name", list(STOCK))
def test_the_strategies_are_flowers_own_to_the_bit(name: str, data: st.DataObject) -> None:
    """Flower's classes over records of Flower's, against ours over values that are held."""
    adopt_identity()
    vectors = arrays(np.float64, 5, elements=st.floats(-1e6, 1e6))
    start = data.draw(vectors)
    means = data.draw(st.lists(st.none() | vectors, min_size=1, max_size=4))
    rate = data.draw(st.sampled_from([1.0, 0.3]))
    text = f"rounds = 2\nstrategy = '{name}'\nserver_learning_rate = {rate}"
    training = resolve_training(small_study(("rounds = 2", text)))
    stock = STOCK[name](rate)
    stock.fraction_evaluate = 0.0
    stock.min_available_nodes = stock.min_train_nodes = 4
    ours = course(make_strategy(training, 4), record_of(start), means)
    assert ours == course(stock, ArrayRecord({ARRAY: Array(start)}), means)


def test_two_replies_are_no_mean() -> None:
    """What would be added twice is refused: a grid that shows single hospitals is none of ours."""
    adopt_identity()
    grid = SecureGrid(4, lambda theta, server_round: Answer(theta + 1.0, 1800, 0.0, "train"))
    (reply,) = grid.send_and_receive(messages(grid))
    strategy: Any = make_strategy(resolve_training(small_study()), 4)
    with pytest.raises(ValueError, match="unpack"):
        strategy.aggregate_train(1, [reply, reply])


def test_a_held_array_is_an_array_to_flower_and_nobody_writes_to_it() -> None:
    held, stock = HeldArray(THETA.copy()), Array(THETA)
    assert (held.dtype, held.shape, held.stype, held.data) == (
        stock.dtype,
        stock.shape,
        stock.stype,
        stock.data,
    )
    record = record_of(THETA.copy())
    assert record.count_bytes() == len(stock.data) + len(ARRAY)
    assert ArrayRecord({ARRAY: held})[ARRAY] == stock, "a copy of Flower's is one of Flower's"
    np.testing.assert_array_equal(values_of(ArrayRecord({ARRAY: stock})), THETA)
    with pytest.raises(ValueError, match="read-only"):
        values_of(record)[0] = 0.0
    assert not hasattr(held, "size")


@pytest.mark.parametrize("name", ["krum", "multikrum", "bulyan", "fedmedian", "fedtrimmedavg", "fedawg"])
def test_strategies_that_need_single_updates_are_refused_by_name(name: str) -> None:
    with pytest.raises(StudyError, match="strategy"):
        small_study(("rounds = 2", f"rounds = 2\nstrategy = '{name}'"))
