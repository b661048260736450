"""A node that is asked again, restarted or stopped midway: nothing leaves twice, and the ledger comes first."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest

from hospital_node import sum_store
from hospital_node.flower_link import FlowerTraining
from hospital_node.journal import Journal
from hospital_node.node_words import Outgoing
from hospital_node.record_log import RecordLog
from hospital_node.sum_store import SumStore
from privacy.studies import exchange
from secagg import coordinator as protocol
from secagg import hospital as arrows
from secagg.errors import WireError
from secagg.receipt import sign_receipt
from secagg.wire import codec
from secagg.wire.records import Abort, Receipt, ReceiptBody
from tests.consortium import HOSPITALS, Hand, World, offer, sha256
from tests.unit.hospital_node.rounds import kinds, refusal, second_round


@pytest.mark.threat("FL-15", control="C-LEDGER")
def test_the_same_order_again_gets_the_same_bytes_and_is_charged_once(hand: Hand) -> None:
    _, order = hand.order(1)
    first = hand.ask("a", order)
    assert kinds(first) == ["upload_header", "seals", "vector_chunk"]
    assert hand.ask("a", order) == first
    assert hand.world.ledger("a") == [("RESERVE", 1), ("SPENT", 1)]


@pytest.mark.parametrize("fault", [lambda chunk: chunk[:-9] + bytes(9), lambda chunk: bytes(len(chunk))])
def test_an_upload_whose_bytes_a_loss_of_power_took_is_not_sent_again(
    hand: Hand, monkeypatch: pytest.MonkeyPatch, fault: Callable[[bytes], bytes]
) -> None:
    """A file may keep its length and lose what was in it, where it had not reached the disk."""
    _, order = hand.order(1)
    *rest, chunk = hand.ask("a", order)
    monkeypatch.setattr(Journal, "replies", lambda *_: (*rest, fault(chunk)))
    assert "not on the hospital's disk any more" in refusal(hand.ask("a", order)).reason


def test_without_the_journal_a_second_upload_is_refused_rather_than_computed(
    hand: Hand, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, order = hand.order(1)
    hand.ask("a", order)
    monkeypatch.setattr(Journal, "replies", lambda *_: None)
    assert "round 1 is refused" in refusal(hand.ask("a", order)).reason
    assert hand.world.ledger("a") == [("RESERVE", 1), ("SPENT", 1)]


def test_the_same_round_with_another_content_is_stale(hand: Hand) -> None:
    _, order = hand.order(1)
    hand.ask("a", order)
    _, other = hand.order(1, settings=b"{}")
    told = refusal(hand.ask("a", other))
    assert (told.round, told.reason) == (
        1,
        "round 1 is refused, the next round is 2 or up to 1000 later; a retry is a new round with a higher number",
    )


def test_a_restarted_node_gives_the_stored_bytes_of_every_step(hand: Hand) -> None:
    world = hand.world
    state, order = hand.order(1)
    replies = {hospital: hand.ask(hospital, order) for hospital in HOSPITALS}

    def again(request: bytes) -> list[bytes]:
        world.restart("a")
        (answer,) = hand.ask("a", offer(world))
        assert kinds([answer]) == ["study_answer"]
        return hand.ask("a", request)

    assert again(order) == replies["a"]
    agreeing, requests = protocol.propose(hand.uploads(state, replies))
    agreed = {hospital: hand.ask(hospital, requests[hospital]) for hospital in HOSPITALS}
    assert again(requests["a"]) == agreed["a"]
    for hospital, (answer,) in agreed.items():
        agreeing = protocol.add_agreement(agreeing, hospital, answer)
    _, opening = protocol.request_open(agreeing)
    shares = hand.ask("a", opening["a"])
    assert again(opening["a"]) == shares
    # Everything of the round is still one vector, one set, one opening.
    assert again(order) == replies["a"]
    assert world.ledger("a") == [("RESERVE", 1), ("SPENT", 1)]


def test_replies_of_an_older_round_are_gone_with_its_secrets(hand: Hand) -> None:
    hand.world.with_policy(hand.world.nodes["a"], aborted_rounds_maximum=1)
    hand.world.nodes["a"].admitted = None
    hand.ask("a", offer(hand.world))
    _, first = hand.order(1)
    hand.ask("a", first)
    _, second = hand.order(2, model=exchange.model_bytes(np.zeros(hand.world.agreement.parameters)))
    assert kinds(hand.ask("a", second))[0] == "upload_header"
    assert "round 1 is refused" in refusal(hand.ask("a", first)).reason


def test_a_crash_between_spent_and_the_journal_sends_nothing_ever(
    hand: Hand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was charged and never left stays charged; the round is not computed a second time."""
    _, order = hand.order(1)
    with monkeypatch.context() as crash:
        crash.setattr(Journal, "commit", _crash)
        with pytest.raises(Crash):
            hand.ask("a", order)
    hand.world.restart("a")
    hand.ask("a", offer(hand.world))
    assert "a retry is a new round" in refusal(hand.ask("a", order)).reason
    assert hand.world.ledger("a") == [("RESERVE", 1), ("SPENT", 1)]


class Crash(BaseException):
    """The process is gone."""


def _crash(*_: object, **__: object) -> NoReturn:
    raise Crash


# The ledger comes first


def test_the_round_is_reserved_before_training_and_spent_before_anything_leaves(
    hand: Hand, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, list[tuple[str, int]]]] = []
    train, mask = FlowerTraining.run, arrows.upload

    def watched_training(*arguments: Any) -> object:
        seen.append(("training", hand.world.ledger("a")))
        return train(*arguments)

    def watched_mask(*arguments: Any) -> object:
        seen.append(("masking", hand.world.ledger("a")))
        return mask(*arguments)

    monkeypatch.setattr(FlowerTraining, "run", watched_training)
    monkeypatch.setattr(arrows, "upload", watched_mask)
    _, order = hand.order(1)
    leaving = hand.world.nodes["a"].on_message(order)
    next(leaving)
    assert seen == [("training", [("RESERVE", 1)]), ("masking", [("RESERVE", 1)])]
    assert hand.world.ledger("a") == [("RESERVE", 1), ("SPENT", 1)]
    study_hash = bytes.fromhex(hand.world.agreement.hash)
    assert hand.world.nodes["a"].journal.replies(study_hash, order) is not None


@pytest.mark.parametrize("disk", ["slow", "full"])
def test_the_ordered_model_is_on_the_disk_before_the_answer_is(
    hand: Hand, monkeypatch: pytest.MonkeyPatch, disk: str
) -> None:
    """After a restart the next model is checked against it: an answer whose order nobody kept could not be followed up."""
    node = hand.world.nodes["a"]
    log = node.admission.reports / "sums" / hand.world.agreement.hash / sum_store.LOG
    write, commit, seen = SumStore._write, Journal.commit, []

    def writes(store: SumStore, *arguments: Any) -> None:
        # A node that waits for its disk does not mind; one that does not has answered by then.
        time.sleep(0.2)
        if disk == "full":
            raise OSError("no space left on device")
        write(store, *arguments)

    def commits(*arguments: Any, **named: Any) -> None:
        seen.append(RecordLog(log).names())
        commit(*arguments, **named)

    monkeypatch.setattr(SumStore, "_write", writes)
    monkeypatch.setattr(Journal, "commit", commits)
    _, order = hand.order(1)
    if disk == "full":
        with pytest.raises(OSError, match="no space"):
            hand.ask("a", order)
        assert seen == []
    else:
        assert hand.ask("a", order)
        assert seen == [["1.model"]]


@pytest.mark.parametrize(("cut", "reason"), [(3, "another length"), (-8, "another length"), (0, "declared")])
def test_a_signed_sum_that_cannot_be_one_is_refused_and_not_kept(hand: Hand, cut: int, reason: str) -> None:
    """Kept, it would stop this hospital's node at every start of the study."""
    hand.round(1)
    assert hand.session is not None
    held = codec.unpack("receipt", Receipt, hand.last_receipt)
    body = codec.decode(ReceiptBody, held.signed.body)
    total = held.sum[:cut] if cut else bytes([7]) * len(held.sum)
    identity = hand.world.keys["coordinator"].identity_private
    forged = replace(body, sum_sha256=sha256(total))
    receipt = sign_receipt(identity, hand.session.desk.context, forged, total)
    assert reason in refusal(hand.ask("a", receipt)).reason
    folder = hand.world.nodes["a"].admission.reports / "sums" / hand.world.agreement.hash
    assert SumStore(folder).names() == ["1.model"]


@pytest.mark.parametrize("arrow", ["training", "masking"])
def test_a_crash_while_computing_leaves_the_round_reserved(
    hand: Hand, monkeypatch: pytest.MonkeyPatch, arrow: str
) -> None:
    _, order = hand.order(1)
    with monkeypatch.context() as crash:
        if arrow == "training":
            crash.setattr(FlowerTraining, "run", _crash)
        else:
            crash.setattr(arrows, "upload", _crash)
        with pytest.raises(Crash):
            hand.ask("a", order)
    assert hand.world.ledger("a") == [("RESERVE", 1)]
    # Nothing left, so the same reservation pays for the restarted round.
    hand.world.restart("a")
    hand.ask("a", offer(hand.world))
    assert kinds(hand.ask("a", order))[0] == "upload_header"
    assert hand.world.ledger("a") == [("RESERVE", 1), ("SPENT", 1)]


def test_what_the_operator_declines_stays_reserved_and_never_leaves(hand: Hand) -> None:
    asked: list[Outgoing] = []

    def no(outgoing: Outgoing) -> bool:
        asked.append(outgoing)
        return False

    hand.world.nodes["a"].approve = no
    _, order = hand.order(1)
    told = refusal(hand.ask("a", order))
    assert told.reason == "the operator of a did not let the upload of round 1 leave"
    assert hand.world.ledger("a") == [("RESERVE", 1)]
    # The refusal left: no loss of power takes the charge back.
    assert hand.world.nodes["a"].ledger.durability() == ("wal", 2)
    assert asked[0].step == "upload"
    assert "ledger entry life_table, noise multiplier" in asked[0].text


@pytest.mark.parametrize("step", ["agree", "open"])
def test_a_later_step_is_shown_before_it_leaves_too(hand: Hand, step: str) -> None:
    world = hand.world
    world.nodes["a"].approve = lambda outgoing: outgoing.step != step
    # What reaches the coordinator in the place of the answer is the abort.
    with pytest.raises(WireError, match="abort"):
        hand.round(1)
    assert any(f"did not let the {step} of round 1 leave" in line for line in world.refusals("a"))
    assert world.ledger("a") == [("RESERVE", 1), ("SPENT", 1)]


def test_an_abort_is_in_the_ledger_once_and_the_round_stays_charged(hand: Hand) -> None:
    _, order = hand.order(1)
    hand.ask("a", order)
    abort = codec.pack("abort", Abort(1, "too few", ""))
    assert hand.ask("a", abort) == hand.ask("a", abort) == []
    assert hand.world.ledger("a") == [("RESERVE", 1), ("SPENT", 1), ("ABORT", 1)]


def test_an_abort_of_a_round_that_never_began_charges_nothing(hand: Hand) -> None:
    assert hand.ask("a", codec.pack("abort", Abort(5, "who knows", ""))) == []
    assert hand.world.ledger("a") == []


@pytest.mark.threat("FL-15", control="C-LEDGER")
def test_a_coordinator_that_aborts_and_aborts_is_not_served_for_ever(hand: Hand) -> None:
    _, order = hand.order(1)
    hand.ask("a", order)
    hand.ask("a", codec.pack("abort", Abort(1, "oh", "")))
    model = exchange.model_bytes(np.zeros(hand.world.agreement.parameters))
    _, next_order = hand.order(2, model=model)
    assert "aborted_rounds_maximum" in refusal(hand.ask("a", next_order)).reason
    assert ("RESERVE", 2) not in hand.world.ledger("a")
    # The limit is what refuses: a policy with room for one lets the round pass.
    hand.world.restart("a")
    hand.world.with_policy(hand.world.nodes["a"], aborted_rounds_maximum=1)
    hand.ask("a", offer(hand.world))
    assert kinds(hand.ask("a", next_order))[0] == "upload_header"


@pytest.mark.threat("FL-15", control="C-LEDGER")
def test_rounds_that_are_left_lying_are_lost_and_counted(tmp_path: Path) -> None:
    hand = Hand(World.of(tmp_path, ("rounds = 2", "rounds = 4"))).join()
    model = exchange.model_bytes(second_round(hand))
    # That the finished round came to nothing is the coordinator's word against its own receipt.
    hand.ask("a", codec.pack("abort", Abort(1, "oh", "")))
    assert ("ABORT", 1) not in hand.world.ledger("a")
    for number in (2, 3):
        _, order = hand.order(number, model=model)
        assert kinds(hand.ask("a", order))[0] == "upload_header"
    _, order = hand.order(4, model=model)
    assert refusal(hand.ask("a", order)).reason.endswith("refuses the round by aborted_rounds_maximum")


@pytest.mark.threat("FL-15", control="C-LEDGER")
def test_a_lost_journal_does_not_bring_rounds_back(hand: Hand) -> None:
    world = hand.world
    second_round(hand)
    world.nodes["a"].journal.close()
    for file in (world.root / "state" / "a").glob("journal.db*"):
        file.unlink()
    world.restart("a")
    with pytest.raises(AssertionError):
        Hand(world).join(first_round=1)
    assert "rounds up to 1 are over" in world.refusals("a")[-1]
