"""The register in a running study."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from datetime import date
from pathlib import Path
from types import FrameType

import pytest

from hospital_node.consent_round import forget_former, respect_consent
from hospital_node.consent_store import RegisterPlace
from hospital_node.home import Home
from hospital_node.node import Node
from privacy.link.canonical import sha256_hex
from tests.consortium import MODE_NONE, Hand, World, offer
from tests.unit.hospital_node.consents import DUO, WITHDRAW, consenting, opened, register


def patients(node: Node) -> int:
    assert node.admitted is not None
    return len(node.admitted.local.cohort)


@pytest.mark.threat("FL-37", control="C-OPTOUT")
def test_a_withdrawal_takes_effect_before_the_next_round(tmp_path: Path, place: RegisterPlace) -> None:
    world = World.of(tmp_path, DUO)
    register(place, 30)
    node = consenting(world, "a", place)
    hand = Hand(world).join()
    assert patients(node) == 30
    hand.round(1)
    reports = node.admission.reports
    assert (reports / "small.stage.json").exists()
    assert list((reports / "releases").iterdir())
    with opened(place) as store:
        store.add([("P00003", WITHDRAW), ("P00011", WITHDRAW)], b"")
    _, order = hand.order(2, model=b"")
    # The order is refused for its model: consent is asked of no order that the agreement does not allow.
    hand.ask("a", order)
    assert patients(node) == 30
    respect_consent(node, "00", 2)
    assert patients(node) == 28
    # They are deleted when the round's answer has left; a node that dies before it finds the mark again.
    assert (reports / "small.stage.json").exists()
    forget_former(node)
    first, second = (e.record.note for e in node.ledger.entries() if e.kind == "NOTE")
    records = {path.stem: json.loads(path.read_bytes()) for path in (reports / "consent").glob("*/*.json")}
    (digest,) = [word for word in second.split() if word in records]
    record = records[digest]
    assert sha256_hex((next((reports / "consent").glob(f"*/{digest}.json"))).read_bytes()) == digest
    assert record["affected_rounds"] == [1]
    assert record["action"].startswith("stop:")
    with opened(place) as store:
        assert record["withdrawn"] == sorted(store.key.pseudonym(p) for p in ("P00003", "P00011"))
    # What the coordinator is given looks the same whether or not somebody left: a hash, and no number of patients.
    hidden = [re.sub(r"[0-9a-f]{64}", "HASH", note).replace("round 2", "round 1") for note in (first, second)]
    assert hidden[0] == hidden[1] == "consent: the register was asked before round 1; record HASH stays here"
    assert not (reports / "small.stage.json").exists()
    assert not list((reports / "releases").iterdir())
    respect_consent(node, "00", 3)
    assert len([e for e in node.ledger.entries() if e.kind == "NOTE"]) == 3
    (again,) = [
        json.loads(path.read_bytes())
        for path in (reports / "consent").glob("*/*.json")
        if path.stem not in records
    ]
    assert (again["round"], again["withdrawn"], again["affected_rounds"]) == (3, [], [])


def steps(node: Node, round_number: int) -> list[str]:
    """The project's functions in the order in which the question before a round first enters them."""
    entered: dict[str, None] = {}

    def enter(frame: FrameType, event: str, _: object) -> None:
        module = str(frame.f_globals.get("__name__", ""))
        # How a single statement is read depends on the statement, and takes microseconds.
        ours = module.split(".")[0] in ("hospital_node", "privacy") and module != "privacy.patients.consent"
        if event == "call" and ours:
            entered[f"{module}.{frame.f_code.co_qualname}"] = None

    sys.setprofile(enter)
    try:
        respect_consent(node, "00", round_number)
    finally:
        sys.setprofile(None)
    return list(entered)


@pytest.mark.threat("FL-37", control="C-OPTOUT")
def test_a_withdrawal_takes_the_steps_of_any_other_round(tmp_path: Path, place: RegisterPlace) -> None:
    world = World.of(tmp_path, DUO)
    register(place, 30)
    node = consenting(world, "a", place)
    Hand(world).join()
    respect_consent(node, "00", 1)
    quiet = steps(node, 2)
    with opened(place) as store:
        store.add([("P00003", WITHDRAW)], b"")
    assert steps(node, 3) == quiet
    assert patients(node) == 29
    assert any(step.endswith("FollowUp.of") for step in quiet), "the table is built anew"


def test_a_refused_order_adds_nothing_to_the_ledger_however_often_it_comes(
    tmp_path: Path, place: RegisterPlace
) -> None:
    world = World.of(tmp_path, DUO)
    register(place, 30)
    node = consenting(world, "a", place)
    hand = Hand(world).join()
    assert node.work is not None
    node.work = replace(node.work, policy=node.work.policy.model_copy(update={"expires": date(2000, 1, 1)}))
    _, order = hand.order(1)
    for _ in range(3):
        hand.ask("a", order)
    assert any("expires" in refusal for refusal in world.refusals("a"))
    assert node.ledger.entries() == ()


@pytest.mark.parametrize("noise", [True, False])
def test_an_order_that_the_operator_declines_again_and_again_has_one_line_of_each_kind(
    tmp_path: Path, place: RegisterPlace, noise: bool
) -> None:
    """Who withdraws between two of them is recorded at home, and the next line's hash stands for that record too."""
    world = World.of(tmp_path, DUO, *(() if noise else MODE_NONE))
    register(place, 30)
    node = consenting(world, "a", place, allow_mode_none=True)
    hand = Hand(world).join()
    node.approve = lambda outgoing: False
    _, order = hand.order(1)
    for patient in ("P00003", "P00011", "P00012"):
        hand.ask("a", order)
        with opened(place) as store:
            store.add([(patient, WITHDRAW)], b"")
    hand.ask("a", order)
    expected = [("RESERVE", 1), ("NOTE", 0)] if noise else [("NOTE", 1), ("NOTE", 0)]
    assert world.ledger("a") == expected
    assert patients(node) == 27
    respect_consent(node, "00", 2)
    note = node.ledger.entries()[-1].record.note
    records = {
        path.stem: json.loads(path.read_bytes())
        for path in (node.admission.reports / "consent").glob("*/*.json")
        if path.stem != "participants"
    }
    digest = next(word for word in note.split() if word in records)
    chain = []
    while digest:
        chain.append(records.pop(digest))
        digest = chain[-1]["before"]
    assert [(record["round"], len(record["withdrawn"])) for record in chain] == [
        (2, 0),
        (1, 1),
        (1, 1),
        (1, 1),
        (1, 0),
    ]
    assert records == {}


@pytest.mark.threat("FL-37", control="C-OPTOUT")
@pytest.mark.parametrize("dies", [False, True])
def test_what_was_kept_is_deleted_behind_the_answer_or_after_a_crash(
    tmp_path: Path, place: RegisterPlace, dies: bool
) -> None:
    world = World.of(tmp_path, DUO)
    register(place, 30)
    node = consenting(world, "a", place)
    hand = Hand(world).join()
    kept = node.admission.reports / "small.stage.json"
    with opened(place) as store:
        store.add([("P00003", WITHDRAW)], b"")
    _, order = hand.order(1)
    leaving = node.on_message(order)
    next(leaving)
    assert kept.exists()
    if dies:
        own = node.admission
        node = world.restart("a")
        node.admission = own
        list(node.on_message(offer(world)))
    else:
        list(leaving)
    assert patients(node) == 29
    assert not kept.exists()
    # This round's own copy is about the present set, and stays.
    assert len(list((node.admission.reports / "releases").iterdir())) == 1


@pytest.mark.threat("FL-37", control="C-OPTOUT")
def test_who_withdraws_in_another_process_while_the_node_is_down_is_recorded(tmp_path: Path) -> None:
    world = World.of(tmp_path, DUO)
    home = Home(tmp_path / "state" / "a")
    register(home.consents, 40)
    node = consenting(world, "a", home.consents)
    node.admission = replace(node.admission, reports=home.reports)
    Hand(world).join().round(1)
    said = subprocess.run(
        [sys.executable, "-m", "hospital_node.cli", "consent", "revoke", "-", "--home", str(home.root)],
        input="P00003\n",
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout
    assert "took part in small" in said
    assert "P00003" not in said
    # A restarted node reads the table and the register anew, and finds who is missing in what it kept.
    again = world.restart("a")
    again.admission = node.admission
    list(again.on_message(offer(world)))
    assert patients(again) == 39
    respect_consent(again, "00", 2)
    records = [json.loads(path.read_bytes()) for path in (home.reports / "consent").glob("*/*.json")]
    (record,) = [r for r in records if r.get("round") == 2]
    with opened(home.consents) as store:
        assert record["withdrawn"] == [store.key.pseudonym("P00003")]
    assert record["affected_rounds"] == [1]


@pytest.mark.threat("FL-37", control="C-OPTOUT")
@pytest.mark.parametrize("fault", ["gone", "garbage", "key", "none"])
def test_a_register_that_cannot_be_read_excludes_everybody(
    tmp_path: Path, place: RegisterPlace, fault: str
) -> None:
    world = World.of(tmp_path, DUO)
    register(place, 40)
    node = consenting(world, "a", place)
    hand = Hand(world).join()
    assert patients(node) == 40
    match fault:
        case "gone":
            place.database.unlink()
        case "garbage":
            place.database.write_bytes(b"garbage" * 1000)
        case "key":
            place.key.unlink()
        case "none":
            consenting(world, "a", None)
    # The round is computed and noised as ever: outside nothing looks different.
    hand.round(1)
    assert patients(node) == 0
    assert any("nobody takes part" in event.text for who, event in world.node_events if who == "a")


def test_nobody_takes_part_where_nobody_is_in_the_register(tmp_path: Path, place: RegisterPlace) -> None:
    world = World.of(tmp_path, DUO)
    opened(place)
    node = consenting(world, "a", place)
    Hand(world).join().round(1)
    assert patients(node) == 0


def test_a_study_without_a_code_is_refused(tmp_path: Path, place: RegisterPlace) -> None:
    world = World.of(tmp_path)
    node = consenting(world, "a", place)
    list(node.on_message(offer(world)))
    assert "consent_register" in world.refusals("a")[0]
    assert node.admitted is None


@pytest.mark.threat("FL-37", control="C-OPTOUT")
def test_with_the_register_off_a_withdrawal_changes_nothing(tmp_path: Path, place: RegisterPlace) -> None:
    world = World.of(tmp_path, DUO)
    register(place, 30)
    node = consenting(world, "a", place, consent_register=False)
    Hand(world).join()
    assert patients(node) == 40
