"""One hospital's node, moved by a coordinator that may sign anything: orders, receipts, sessions, the end, and sets in mode none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hospital_node.ledger_store import LedgerStore
from hospital_node.node_words import Ended
from hospital_node.round_work import RoundWork
from privacy.ledgers import participation
from privacy.ledgers.ledger import Entry
from privacy.ledgers.ledger_export import read_sealed
from privacy.link.canonical import canonical, parse_canonical
from privacy.studies import exchange
from secagg.errors import WireError
from secagg.fixed_point import from_ring
from secagg.order import sign_order
from secagg.states import Advertised, Ready
from secagg.wire import codec
from secagg.wire.records import KeyList, LedgerExport, LedgerExportRequest, RoundOrder, SessionStart, StudyEnd
from tests.consortium import HOSPITALS, MODE_NONE, Hand, World, offer, receipt_with
from tests.unit.hospital_node.rounds import kinds, refusal, second_round


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
