"""One hospital's node, moved by a coordinator that may sign anything."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest

from hospital_node import sums
from hospital_node.flower_link import FlowerTraining
from hospital_node.journal import Journal
from hospital_node.ledger_store import LedgerStore
from hospital_node.node_words import Ended, Outgoing
from hospital_node.round_work import RoundWork
from privacy.ledgers import participation
from privacy.ledgers.ledger import Entry
from privacy.ledgers.ledger_export import read_sealed
from privacy.link.canonical import canonical, parse_canonical
from privacy.studies import exchange, next_model
from secagg import coordinator as protocol
from secagg import hospital as arrows
from secagg.errors import WireError
from secagg.fixed_point import from_ring
from secagg.order import sign_order
from secagg.receipt import sign_receipt, without_sum
from secagg.states import Advertised, Ready
from secagg.wire import codec
from secagg.wire.records import (
    Abort,
    KeyList,
    LedgerExport,
    LedgerExportRequest,
    Receipt,
    ReceiptBody,
    RoundOrder,
    SessionStart,
    StudyEnd,
)
from tests.consortium import HOSPITALS, MODE_NONE, Hand, World, offer, receipt_with, sha256


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World.of(tmp_path)


@pytest.fixture
def hand(world: World) -> Hand:
    return Hand(world).join()


def kinds(messages: list[bytes]) -> list[str]:
    return [codec.unwrap(message)[0] for message in messages]


def refusal(messages: list[bytes]) -> Abort:
    """The one abort that came back."""
    (message,) = messages
    return codec.unpack("abort", Abort, message)


def start_of(hand: Hand, total: np.ndarray, members: tuple[str, ...]) -> np.ndarray:
    """The model that round 2 must order."""
    agreement = hand.world.agreement
    return next_model.start_model(agreement, from_ring(total, agreement.modulus_bits), members)


def second_round(hand: Hand) -> np.ndarray:
    """Runs the life table, hands out its receipt; returns the model that follows."""
    total, receipt, members = hand.round(1)
    for hospital in HOSPITALS:
        assert hand.ask(hospital, receipt) == []
    return start_of(hand, total, members)


# Replays and restarts


@pytest.mark.threat("FL-15", control="C-LEDGER")
def test_the_same_order_again_gets_the_same_bytes_and_is_charged_once(hand: Hand) -> None:
    _, order = hand.order(1)
    first = hand.ask("a", order)
    assert kinds(first) == ["upload_header", "seals", "vector_chunk"]
    assert hand.ask("a", order) == first
    assert hand.world.ledger("a") == [("RESERVE", 1), ("SPENT", 1)]


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

    def watched_training(*arguments: object) -> object:
        seen.append(("training", hand.world.ledger("a")))
        return train(*arguments)  # type: ignore[arg-type]

    def watched_mask(*arguments: object) -> object:
        seen.append(("masking", hand.world.ledger("a")))
        return mask(*arguments)  # type: ignore[arg-type]

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
    kept = node.admission.reports / "sums" / hand.world.agreement.hash / "1.model"
    write, commit, seen = sums._write, Journal.commit, []

    def writes(path: Path, data: bytes) -> None:
        time.sleep(0.2)
        if disk == "full":
            raise OSError("no space left on device")
        write(path, data)

    def commits(*arguments: Any, **named: Any) -> None:
        seen.append(kept.exists())
        commit(*arguments, **named)

    monkeypatch.setattr(sums, "_write", writes)
    monkeypatch.setattr(Journal, "commit", commits)
    _, order = hand.order(1)
    if disk == "full":
        with pytest.raises(OSError, match="no space"):
            hand.ask("a", order)
        assert seen == []
    else:
        assert hand.ask("a", order)
        assert seen == [True]


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
    assert not list(folder.glob("*.sum"))


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


# What a hospital does not do for a signature


def _trap(value: float) -> Callable[[np.ndarray], bytes]:
    def model(right: np.ndarray) -> bytes:
        wrong = right.copy()
        wrong[0] = value
        return exchange.model_bytes(wrong)

    return model


@pytest.mark.threat("FL-10", control="C-MODELPOLICY")
@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (_trap(1e9), "not finite or beyond 40"),
        (_trap(-41.0), "not finite or beyond 40"),
        (_trap(float("nan")), "not finite or beyond 40"),
        (_trap(float("inf")), "not finite or beyond 40"),
        (lambda right: exchange.model_bytes(right[:-1]), "parameters, the agreement says"),
        (lambda right: exchange.model_bytes(np.append(right, 0.0)), "parameters, the agreement says"),
        (lambda right: b"", "0 parameters, the agreement says"),
        (_trap(0.5), "the model of round 2 does not follow from the signed sum of round 1"),
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
    monkeypatch.setattr(RoundWork, "_expected", lambda *_: None)
    _, order = hand.order(2, model=_trap(0.5)(right))
    assert kinds(hand.ask("a", order))[0] == "upload_header"


def test_without_the_bound_huge_weights_would_be_trained_on(
    hand: Hand, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = second_round(hand)
    monkeypatch.setattr(RoundWork, "_expected", lambda *_: None)
    monkeypatch.setattr(
        exchange, "parse_model", lambda _, data, carries=0: np.frombuffer(data, dtype="<f8").copy()
    )
    _, order = hand.order(2, model=_trap(1e6)(right))
    assert kinds(hand.ask("a", order))[0] == "upload_header"


def test_under_plain_averaging_the_third_round_is_recomputed_from_the_second(hand: Hand) -> None:
    theta = second_round(hand)
    total, receipt, members = hand.round(2, exchange.model_bytes(theta))
    for hospital in HOSPITALS:
        hand.ask(hospital, receipt)
    agreement = hand.world.agreement
    follows = theta + exchange.mean_update(agreement, from_ring(total, 64), members)
    _, made_up = hand.order(3, model=exchange.model_bytes(follows + 1e-12))
    assert "does not follow from the signed sum of round 2" in refusal(hand.ask("b", made_up)).reason
    _, order = hand.order(3, model=exchange.model_bytes(follows))
    assert kinds(hand.ask("b", order))[0] == "upload_header"


def _other_settings(hand: Hand) -> bytes:
    settings = parse_canonical(exchange.order_settings(hand.world.agreement, 1))
    assert isinstance(settings, dict)
    settings["training"]["learning_rate"] = 7.5
    return canonical(settings)


@pytest.mark.threat("FL-09", control="C-MODELBIND")
def test_an_order_beside_the_agreement_is_refused(hand: Hand, monkeypatch: pytest.MonkeyPatch) -> None:
    _, order = hand.order(1, settings=_other_settings(hand))
    told = "the settings of round 1 are not those of the agreement"
    assert refusal(hand.ask("a", order)).reason == told
    _, order = hand.order(1, task="train", model=b"")
    assert refusal(hand.ask("a", order)).reason == "round 1 is not for the task 'train'"
    _, order = hand.order(1, model=b"12345678")
    assert refusal(hand.ask("a", order)).reason == "the round of life_table carries a model"
    assert hand.world.ledger("a") == []
    monkeypatch.setattr(RoundWork, "check_order", lambda *_: None)
    _, order = hand.order(1, settings=_other_settings(hand))
    assert kinds(hand.ask("a", order))[0] == "upload_header"


def test_a_round_beyond_the_study_is_refused(hand: Hand) -> None:
    _, order = hand.order(4, task="train", settings=b"{}")
    assert "the study has rounds 1 to 3" in refusal(hand.ask("a", order)).reason


@pytest.mark.parametrize("signer", ["a", "b"])
def test_an_order_that_the_coordinator_did_not_sign_is_refused(hand: Hand, signer: str) -> None:
    assert hand.session is not None
    told = RoundOrder(1, "life_table", b"", exchange.order_settings(hand.world.agreement, 1), 0, b"")
    key = hand.world.keys[signer].identity_private
    forged = sign_order(key, hand.session.desk.context, hand.session.participants, told)
    assert "the signature of the round order does not verify" in refusal(hand.ask("b", forged)).reason
    assert hand.world.ledger("b") == []


# Receipts and sessions


def test_a_receipt_whose_sum_was_changed_is_refused(hand: Hand) -> None:
    total, receipt, _ = hand.round(1)
    changed = total.copy()
    changed[0] ^= np.uint64(1)
    told = refusal(hand.ask("a", receipt_with(receipt, changed.tobytes())))
    assert "the sum is not the one that the receipt signs" in told.reason
    assert hand.ask("a", receipt) == []


def test_the_second_session_of_a_study_goes_on_above_its_highest_round(hand: Hand) -> None:
    hand.round(1)
    again = Hand(hand.world)
    with pytest.raises(AssertionError):
        again.join(first_round=1)
    assert "rounds up to 1 are over" in hand.world.refusals("a")[-1]
    Hand(hand.world).join(first_round=2)
    assert isinstance(hand.world.nodes["a"].state, Ready)


@pytest.mark.parametrize("part", ["study", "roster"])
def test_a_session_for_another_study_or_roster_is_refused(world: World, part: str) -> None:
    node = world.nodes["a"]
    list(node.on_message(offer(world)))
    study_hash, roster_hash = bytes.fromhex(world.agreement.hash), world.signed.roster.hash
    start = SessionStart(
        bytes(32) if part == "study" else study_hash,
        bytes(32) if part == "roster" else roster_hash,
        bytes(16),
    )
    told = refusal(list(node.on_message(codec.pack("session_start", start))))
    assert told.reason == "the session is for another study or roster than the accepted one"
    assert node.state is None


def test_the_key_list_again_after_a_restart_changes_nothing(hand: Hand) -> None:
    node = hand.world.restart("a")
    hand.ask("a", offer(hand.world))
    before = node.state
    assert isinstance(before, Ready)
    assert hand.ask("a", hand.key_list) == []
    assert node.state is before


def test_another_key_list_in_one_session_is_refused(hand: Hand) -> None:
    fewer = codec.unpack("key_list", KeyList, hand.key_list)
    other = codec.pack("key_list", KeyList(fewer.first_round, fewer.adverts[:3]))
    before = hand.world.nodes["a"].state
    assert "that no advert of this hospital asked for" in refusal(hand.ask("a", other)).reason
    assert hand.world.nodes["a"].state is before


def test_a_node_that_died_between_advert_and_key_list_takes_the_list_later(world: World) -> None:
    hand = Hand(world).join(told="bcd")
    node = world.restart("a")
    hand.ask("a", offer(world))
    assert isinstance(node.state, Advertised)
    assert hand.ask("a", hand.key_list) == []
    assert isinstance(node.state, Ready)
    _, receipt, members = hand.round(1)
    assert members == HOSPITALS
    assert hand.ask("a", receipt) == []


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("key_list", "a key list came that no advert"),
        ("round_order", "has not accepted a study"),
        ("agree_request", "nothing of this hospital waits"),
        ("open_request", "has agreed to no set"),
        ("receipt", "outside a session"),
        ("session_start", "has not accepted a study"),
        ("hello", "does not take this kind"),
        ("shares", "does not take this kind"),
    ],
)
def test_a_message_out_of_place_is_refused_with_the_reason(world: World, kind: str, reason: str) -> None:
    payload = codec.encode(SessionStart(bytes(32), bytes(32), bytes(16))) if kind == "session_start" else b""
    assert reason in refusal(list(world.nodes["a"].on_message(codec.wrap(kind, payload)))).reason
    assert world.nodes["a"].state is None


@pytest.mark.parametrize("garbage", [b"", b"\x00", b"\xff" * 40, b"\x0a\x05ab"])
def test_garbage_is_an_abort_and_the_node_goes_on(hand: Hand, garbage: bytes) -> None:
    assert kinds(hand.ask("a", garbage)) == ["abort"]
    _, order = hand.order(1)
    assert kinds(hand.ask("a", order))[0] == "upload_header"


def test_the_first_words_name_the_study_once_there_is_one(world: World) -> None:
    (hello,) = world.nodes["a"].on_connect()
    assert world.agreement.hash not in hello.hex()
    Hand(world).join()
    (hello,) = world.nodes["a"].on_connect()
    assert world.agreement.hash in hello.hex()


@pytest.mark.parametrize(("status", "rounds", "code"), [("done", 3, 0), ("done", 1, 3), ("failed", 3, 3)])
def test_the_end_of_the_study_is_the_nodes_exit_code(hand: Hand, status: str, rounds: int, code: int) -> None:
    theta = second_round(hand)
    for number in range(2, rounds + 1):
        total, receipt, members = hand.round(number, exchange.model_bytes(theta))
        for hospital in HOSPITALS:
            hand.ask(hospital, receipt)
        theta = theta + exchange.mean_update(hand.world.agreement, from_ring(total, 64), members)
    assert hand.ask("a", codec.pack("study_end", StudyEnd(status, "why"))) == []
    assert hand.world.nodes["a"].ended == Ended(status, "why", code)


def test_a_study_that_never_began_is_not_done(world: World) -> None:
    assert list(world.nodes["a"].on_message(codec.pack("study_end", StudyEnd("done", "")))) == []
    assert world.nodes["a"].ended == Ended("done", "", 3)


def test_the_ledger_is_exported_signed(hand: Hand) -> None:
    _, order = hand.order(1)
    hand.ask("a", order)
    study_hash = bytes.fromhex(hand.world.agreement.hash)
    (answer,) = hand.ask("a", codec.pack("ledger_export_request", LedgerExportRequest(study_hash)))
    jsonl = codec.unpack("ledger_export", LedgerExport, answer).jsonl
    seal = read_sealed(jsonl, hand.world.keys["a"].identity_public)
    assert [entry.record.kind for entry in seal.entries] == ["RESERVE", "SPENT", "CLOSE"]
    assert (seal.study_hash, seal.final, seal.highest_round) == (study_hash.hex(), True, 1)


@pytest.mark.threat("FL-15", control="C-LEDGER")
def test_behind_the_final_ledger_nothing_of_the_study_is_released(hand: Hand) -> None:
    theta = second_round(hand)
    request = LedgerExportRequest(bytes.fromhex(hand.world.agreement.hash))
    hand.ask("a", codec.pack("ledger_export_request", request))
    _, order = hand.order(2, model=exchange.model_bytes(theta))
    for _ in range(2):
        assert "after the study was closed" in refusal(hand.ask("a", order)).reason
        hand.world.restart("a")
        hand.ask("a", offer(hand.world))
    assert kinds(hand.ask("b", order))[0] == "upload_header"


@pytest.mark.threat("FL-24", control="C-LEAST")
def test_the_ledger_leaves_for_the_accepted_study_alone_and_with_leave(world: World) -> None:
    right = LedgerExportRequest(bytes.fromhex(world.agreement.hash))
    node = world.nodes["a"]

    def asked(request: LedgerExportRequest) -> str:
        return refusal(list(node.on_message(codec.pack("ledger_export_request", request)))).reason

    assert "has not accepted a study" in asked(right)
    Hand(world).join()
    assert "another study" in asked(LedgerExportRequest(bytes(32)))
    node.approve = lambda outgoing: outgoing.step != "ledger"
    assert "did not let the ledger" in asked(right)
    assert world.ledger("a") == []


@pytest.mark.threat("FL-24", control="C-LEAST")
def test_nothing_that_the_node_says_of_itself_holds_a_secret_or_a_patient(hand: Hand) -> None:
    world = hand.world
    second_round(hand)
    node = world.nodes["a"]
    assert isinstance(node.state, Ready)
    said = repr(node) + repr(node.state) + repr(world.node_events)
    secret = world.keys["a"].identity_private.reveal()
    chains = [chain.reveal() for chain in node.state.chains.values()]
    for hidden in (secret, *chains):
        assert hidden.hex() not in said
        assert repr(hidden)[2:-1] not in said
    assert "P00001" not in said


# Sets in mode none


@pytest.mark.threat("FL-04", control="C-RANK")
def test_without_noise_no_set_is_summed_that_singles_a_hospital_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All four, then three of them at the same model: the difference would be the fourth's vector."""
    world = World.of(tmp_path, *MODE_NONE)
    for node in world.nodes.values():
        world.with_policy(node, aborted_rounds_maximum=3)
    hand = Hand(world).join()
    theta = exchange.model_bytes(second_round(hand))
    _, receipt, _ = hand.round(2, theta)
    for hospital in HOSPITALS:
        hand.ask(hospital, receipt)
        # The set is remembered by the ledger, whatever became of the process.
        world.with_policy(world.restart(hospital), aborted_rounds_maximum=3)
        hand.ask(hospital, offer(world))
    with pytest.raises(WireError, match="abort"):
        hand.round(3, theta, who="abc")
    assert "gives away what one hospital sent" in world.refusals("a")[-1]
    with monkeypatch.context() as off:
        off.setattr(participation, "isolates", lambda *_: False)
        hand.round(3, theta, who="abc")


@pytest.mark.threat("FL-15", control="C-LEDGER")
def test_without_noise_a_round_is_permitted_with_what_another_process_wrote_a_moment_ago(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process of the hospital begins rounds of this study between the node's look and its note."""
    world = World.of(tmp_path, *MODE_NONE)
    hand = Hand(world).join()
    _, order = hand.order(1)
    node, note = world.nodes["a"], LedgerStore.note

    def raced(self: LedgerStore, **arguments: Any) -> Entry:
        path = tmp_path / "state" / "a" / "ledger.db"
        if not any(entry.record.round for entry in self.entries()):
            with LedgerStore(path, world.keys["a"].identity_private, world.clock) as rival:
                for number in (5, 6, 7):
                    note(rival, **{**arguments, "round_number": number, "permit": lambda _: None})
        return note(self, **arguments)

    monkeypatch.setattr(LedgerStore, "note", raced)
    assert "aborted_rounds_maximum" in refusal(list(node.on_message(order))).reason
    assert [number for _, number in world.ledger("a")] == [5, 6, 7]


# The model follows, whatever the coordinator leaves out


def lenient(hand: Hand, hospital: str = "a") -> None:
    """A new process with room for lost rounds."""
    hand.world.with_policy(hand.world.restart(hospital), aborted_rounds_maximum=3)
    hand.ask(hospital, offer(hand.world))


@pytest.mark.threat("FL-09", control="C-MODELBIND")
def test_an_unfinished_round_leaves_the_model_as_it_was(hand: Hand) -> None:
    right = second_round(hand)
    lenient(hand)
    _, order = hand.order(2, model=exchange.model_bytes(right))
    assert kinds(hand.ask("a", order))[0] == "upload_header"
    _, made_up = hand.order(3, model=_trap(0.5)(right))
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
    _, made_up = hand.order(rounds + 1, model=_trap(0.5)(right))
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
    _, made_up = hand.order(2, model=_trap(0.5)(start))
    assert "does not follow from the public start" in refusal(hand.ask("a", made_up)).reason
    _, order = hand.order(2, model=exchange.model_bytes(start))
    assert kinds(hand.ask("a", order))[0] == "upload_header"


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
