"""The model that a round orders: bounded, and the one that follows from the signed sums, whatever the coordinator leaves out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hospital_node.sum_store import SumStore
from hospital_node.sums import Sums
from privacy.studies import exchange, next_model
from secagg.fixed_point import from_ring
from secagg.receipt import VerifiedReceipt, without_sum
from secagg.wire.records import RoundOrder
from tests.consortium import HOSPITALS, Hand, offer
from tests.unit.hospital_node.rounds import kinds, lenient, refusal, second_round, trap


@pytest.mark.threat("FL-10", control="C-MODELPOLICY")
@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (trap(1e9), "not finite or beyond 40"),
        (trap(-41.0), "not finite or beyond 40"),
        (trap(float("nan")), "not finite or beyond 40"),
        (trap(float("inf")), "not finite or beyond 40"),
        (lambda right: exchange.model_bytes(right[:-1]), "parameters, the agreement says"),
        (lambda right: exchange.model_bytes(np.append(right, 0.0)), "parameters, the agreement says"),
        (lambda right: b"", "0 parameters, the agreement says"),
        (trap(0.5), "the model of round 2 does not follow from the signed sum of round 1"),
    ],
)
def test_a_trap_model_is_refused_before_anything_is_charged(
    hand: Hand, model: Callable[[np.ndarray], bytes], reason: str
) -> None:
    right = second_round(hand)
    charged = hand.world.ledger("a")
    _, order = hand.order(2, model=model(right))
    assert reason in refusal(hand.ask("a", order)).reason
    assert hand.world.ledger("a") == charged
    # The round is not used up: the order that follows from the sum is served.
    _, order = hand.order(2, model=exchange.model_bytes(right))
    assert kinds(hand.ask("a", order))[0] == "upload_header"


def test_without_the_recomputation_the_made_up_model_would_be_trained_on(
    hand: Hand, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = second_round(hand)
    monkeypatch.setattr(Sums, "match", lambda *_: None)
    _, order = hand.order(2, model=trap(0.5)(right))
    assert kinds(hand.ask("a", order))[0] == "upload_header"


def test_without_the_bound_huge_weights_would_be_trained_on(
    hand: Hand, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = second_round(hand)
    monkeypatch.setattr(Sums, "match", lambda *_: None)
    monkeypatch.setattr(
        exchange, "parse_model", lambda _, data, carries=0: np.frombuffer(data, dtype="<f8").copy()
    )
    _, order = hand.order(2, model=trap(1e6)(right))
    assert kinds(hand.ask("a", order))[0] == "upload_header"


def third_model(hand: Hand) -> np.ndarray:
    """Two rounds whose receipts everybody has; the model that follows."""
    theta = second_round(hand)
    total, receipt, members = hand.round(2, exchange.model_bytes(theta))
    for hospital in HOSPITALS:
        hand.ask(hospital, receipt)
    return theta + exchange.mean_update(hand.world.agreement, from_ring(total, 64), members)


def test_under_plain_averaging_the_third_round_is_recomputed_from_the_second(hand: Hand) -> None:
    follows = third_model(hand)
    _, made_up = hand.order(3, model=exchange.model_bytes(follows + 1e-12))
    assert "does not follow from the signed sum of round 2" in refusal(hand.ask("b", made_up)).reason
    _, order = hand.order(3, model=exchange.model_bytes(follows))
    assert kinds(hand.ask("b", order))[0] == "upload_header"


def test_a_model_that_follows_is_computed_again_after_a_restart(hand: Hand) -> None:
    """It is not stored: what it follows from is."""
    follows = third_model(hand)
    node = hand.world.nodes["b"]
    assert node.work is not None
    # Written behind its back.
    node.work.sums._store.wait()
    folder = node.admission.reports / "sums" / hand.world.agreement.hash
    assert sorted(SumStore(folder).names()) == ["1.model", "1.sum", "2.follows", "2.sum"]
    hand.world.restart("b")
    hand.ask("b", offer(hand.world))
    _, made_up = hand.order(3, model=exchange.model_bytes(follows + 1e-12))
    assert "does not follow from the signed sum of round 2" in refusal(hand.ask("b", made_up)).reason
    _, order = hand.order(3, model=exchange.model_bytes(follows))
    assert kinds(hand.ask("b", order))[0] == "upload_header"


def test_a_model_that_follows_but_for_its_last_digit_is_stored(
    hand: Hand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where linear algebra is in it, a model is taken that is almost the expected one; what is computed again is the expected one."""
    model = exchange.model_bytes(np.nextafter(second_round(hand), np.inf))
    monkeypatch.setattr(
        next_model,
        "match_expected",
        lambda *arguments: next_model.match(*arguments[:2], arguments[1] + 1e-9, evaluates=True),
    )
    _, order = hand.order(2, model=model)
    assert kinds(hand.ask("b", order))[0] == "upload_header"
    folder = hand.world.nodes["b"].admission.reports / "sums" / hand.world.agreement.hash
    assert SumStore(folder).get("2.model") == model
    assert SumStore(folder).get("2.follows") is None


def test_a_model_that_could_not_be_checked_is_stored(hand: Hand, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sum before it did not reach this hospital, which follows the study from the model that it was told."""
    right = second_round(hand)
    node = hand.world.nodes["b"]
    assert node.work is not None
    monkeypatch.setattr(node.work.sums, "_last", None)
    other = trap(0.25)(right)
    _, order = hand.order(2, model=other)
    assert kinds(hand.ask("b", order))[0] == "upload_header"
    folder = node.admission.reports / "sums" / hand.world.agreement.hash
    assert SumStore(folder).get("2.model") == other
    assert SumStore(folder).get("2.follows") is None


@pytest.mark.threat("FL-09", control="C-MODELBIND")
def test_an_unfinished_round_leaves_the_model_as_it_was(hand: Hand) -> None:
    right = second_round(hand)
    lenient(hand)
    _, order = hand.order(2, model=exchange.model_bytes(right))
    assert kinds(hand.ask("a", order))[0] == "upload_header"
    _, made_up = hand.order(3, model=trap(0.5)(right))
    assert "does not follow from the signed sum of round 1" in refusal(hand.ask("a", made_up)).reason
    _, order = hand.order(3, model=exchange.model_bytes(right))
    assert kinds(hand.ask("a", order))[0] == "upload_header"


@pytest.mark.threat("FL-09", control="C-MODELBIND")
@pytest.mark.parametrize("rounds", [1, 2])
def test_a_restart_does_not_forget_what_the_next_model_follows_from(hand: Hand, rounds: int) -> None:
    right = second_round(hand)
    if rounds == 2:
        total, receipt, members = hand.round(2, exchange.model_bytes(right))
        hand.world.restart("a")
        hand.ask("a", offer(hand.world))
        hand.ask("a", receipt)
        right = right + exchange.mean_update(hand.world.agreement, from_ring(total, 64), members)
    hand.world.restart("a")
    hand.ask("a", offer(hand.world))
    _, made_up = hand.order(rounds + 1, model=trap(0.5)(right))
    assert "does not follow from the signed sum" in refusal(hand.ask("a", made_up)).reason
    _, order = hand.order(rounds + 1, model=exchange.model_bytes(right))
    assert kinds(hand.ask("a", order))[0] == "upload_header"


@pytest.mark.threat("FL-09", control="C-MODELBIND")
def test_a_receipt_without_its_sum_is_refused(hand: Hand) -> None:
    _, receipt, _ = hand.round(1)
    assert "without its sum" in refusal(hand.ask("a", without_sum(receipt))).reason
    assert hand.ask("a", receipt) == []


@pytest.mark.threat("FL-09", control="C-MODELBIND")
def test_before_the_first_receipt_the_model_is_the_public_start(hand: Hand) -> None:
    lenient(hand)
    start = next_model.start_model(hand.world.agreement, None, ())
    _, made_up = hand.order(2, model=trap(0.5)(start))
    assert "does not follow from the public start" in refusal(hand.ask("a", made_up)).reason
    _, order = hand.order(2, model=exchange.model_bytes(start))
    assert kinds(hand.ask("a", order))[0] == "upload_header"


def test_what_an_order_should_carry_is_not_taken_for_what_another_one_should(hand: Hand) -> None:
    """Only of a model that follows the store says "it follows"; an order that continues an unknown receipt has none."""
    right = second_round(hand)
    work, agreement = hand.world.nodes["a"].require_work(), hand.world.agreement
    settings = exchange.order_settings(agreement, 2)
    known = RoundOrder(2, "train", exchange.model_bytes(right), settings, 1, b"")
    unknown = replace(known, previous_round=0)
    assert work.check_order(known, right)
    assert not work.check_order(unknown, right)
    work.sums.ordered(unknown, follows=False)()
    assert not [name for name in work.sums._store.names() if name == "2.follows"]


def test_a_sum_with_other_weights_is_not_kept(
    hand: Hand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where nothing reads it yet: kept, it would be refused again at every start."""
    theta, seen = second_round(hand), list[VerifiedReceipt]()
    _, receipt, _ = hand.round(2, exchange.model_bytes(theta))
    receive = Sums.receive
    monkeypatch.setattr(
        Sums, "receive", lambda sums, verified: (seen.append(verified), receive(sums, verified))
    )
    hand.ask("a", receipt)
    other = Sums(tmp_path / "other", hand.world.agreement)
    with pytest.raises(exchange.ExchangeError, match="the weights sum to 0"):
        receive(other, replace(seen[0], sum=bytes(len(seen[0].sum))))
    assert (other.receipted, other._store.names()) == (set(), [])
    receive(other, seen[0])
    assert other._store.names() == ["2.sum"]
