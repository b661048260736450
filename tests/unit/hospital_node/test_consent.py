"""The register on disk, over HTTP, on the command line, and in a running study."""

import http.client
import json
import re
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from types import FrameType

import pytest
from typer.testing import CliRunner

from hospital_node.admission import Admission
from hospital_node.cli import app
from hospital_node.consent_api import ConsentServer, TokenFileError, read_token
from hospital_node.consent_round import forget_former, respect_consent
from hospital_node.consent_store import ConsentStore, RegisterPlace, RegisterUnreadable
from hospital_node.home import Home
from hospital_node.node import Node
from privacy.link.canonical import sha256_hex
from privacy.patients.consent import EVERYTHING, HEALTH, Terms
from tests.consortium import MODE_NONE, Hand, ManualClock, World, offer
from tests.study_files import table

TOKEN = "a-token-that-is-long-enough"
PERMIT, WITHDRAW = Terms(HEALTH, "permit"), Terms(EVERYTHING, "deny")
DUO = ('purpose = "test"', f'purpose = "test"\nduo = "{HEALTH}"')


@pytest.fixture
def place(tmp_path: Path) -> RegisterPlace:
    return RegisterPlace(tmp_path / "consents.db", tmp_path / "consent.key")


def opened(place: RegisterPlace, *, create: bool = True) -> ConsentStore:
    return ConsentStore(place, ManualClock(), create=create)


# On disk


def test_entries_supersede_and_survive(place: RegisterPlace) -> None:
    with opened(place) as store:
        store.add([("P1", PERMIT), ("P2", PERMIT)], b"file")
        store.add([(" P1 ", Terms(HEALTH, "deny"))], b"file")
    with opened(place, create=False) as store:
        first, second = store.entries(store.key.pseudonym("P1"))
        assert (first.supersedes, second.supersedes) == (0, first.seq)
        assert second.terms.decision == "deny"
    for path in (place.database, place.key):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert b"P1" not in place.database.read_bytes()


@pytest.mark.parametrize("statement", ["DELETE FROM consents", "UPDATE consents SET terms = '{}'"])
def test_the_file_refuses_changes(place: RegisterPlace, statement: str) -> None:
    with opened(place) as store:
        store.add([("P1", PERMIT)], b"")
    database = sqlite3.connect(place.database)
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        database.execute(statement)
    database.close()


def test_an_import_is_whole_or_nothing(place: RegisterPlace) -> None:
    def statements() -> Iterator[tuple[str, Terms]]:
        yield "P1", PERMIT
        raise ZeroDivisionError

    with opened(place) as store:
        with pytest.raises(ZeroDivisionError):
            store.add(statements(), b"")
        assert store.entries(store.key.pseudonym("P1")) == ()
        assert store.add([("P1", PERMIT)], b"") == 1


def test_a_node_never_makes_a_register(place: RegisterPlace) -> None:
    with pytest.raises(RegisterUnreadable):
        opened(place, create=False)
    opened(place)
    place.key.chmod(0o644)
    with pytest.raises(RegisterUnreadable, match="only its owner"):
        opened(place, create=False)


# Over HTTP


@pytest.fixture
def server(place: RegisterPlace) -> Iterator[ConsentServer]:
    with opened(place) as store, ConsentServer(store, TOKEN, 0) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.02,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def ask(
    server: ConsentServer, method: str, path: str, body: object = None, **headers: str
) -> tuple[int, dict[str, object]]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
    data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    connection.request(method, path, data, {"Authorization": f"Bearer {TOKEN}"} | headers)
    answer = connection.getresponse()
    found = json.loads(answer.read())
    connection.close()
    return answer.status, found


GRANT = {"patient": "P1", "purpose": HEALTH, "decision": "permit"}


def test_grant_read_revoke(server: ConsentServer) -> None:
    status, named = ask(server, "POST", "/consents", GRANT)
    pseudonym = named["pseudonym"]
    assert (status, pseudonym) == (201, server.store.key.pseudonym("P1"))
    assert ask(server, "POST", f"/consents/{pseudonym}/revoke")[0] == 201
    status, shown = ask(server, "GET", f"/consents/{pseudonym}")
    assert status == 200
    assert [(e["purpose"], e["decision"]) for e in shown["entries"]] == [(HEALTH, "permit"), ("*", "deny")]  # type: ignore[attr-defined]
    assert "P1" not in json.dumps(shown)


BAD = [
    ("POST", "/consents", GRANT, {"Authorization": "Bearer wrong"}, 401),
    ("POST", "/consents", GRANT, {"Authorization": ""}, 401),
    ("POST", "/consents", GRANT, {"Authorization": "Bearer \u00e9"}, 401),
    ("POST", "/consents", GRANT, {"Host": "evil.example:80"}, 421),
    ("POST", "/consents", b"[", {}, 422),
    ("POST", "/consents", b"[" * 60_000, {}, 422),
    ("POST", "/consents", [1], {}, 422),
    ("POST", "/consents", GRANT | {"patient": 7}, {}, 422),
    ("POST", "/consents", GRANT | {"purpose": "P-CANARY"}, {}, 422),
    ("POST", "/consents", GRANT | {"P-CANARY": "x"}, {}, 422),
    ("POST", "/consents", b"x" * 70_000, {}, 413),
    ("POST", "/consents", b'{"patient": "\\ud800", "purpose": "DUO:0000006", "decision": "permit"}', {}, 422),
    ("GET", "/consents", None, {}, 405),
    ("TRACE", "/consents", None, {}, 405),
    ("DELETE", f"/consents/{'0' * 64}", None, {}, 405),
    ("BREW", "/consents", None, {}, 405),
    ("GET", f"/consents/{'0' * 64}", None, {}, 404),
    ("POST", f"/consents/{'0' * 64}/revoke", None, {}, 404),
    ("GET", "/consents/P-CANARY", None, {}, 404),
]


@pytest.mark.parametrize(("method", "path", "body", "headers", "status"), BAD)
def test_what_the_register_refuses(
    server: ConsentServer, method: str, path: str, body: object, headers: dict[str, str], status: int
) -> None:
    found, answer = ask(server, method, path, body, **headers)
    assert found == status
    assert set(answer) == {"error"}
    assert "CANARY" not in str(answer)
    assert server.store.entries(server.store.key.pseudonym("P1")) == ()


def test_the_description_names_every_address(server: ConsentServer) -> None:
    status, body = ask(server, "GET", "/openapi.json", Authorization="")
    assert status == 200
    assert set(body["paths"]) == {  # type: ignore[arg-type]
        "/consents",
        "/consents/{pseudonym}",
        "/consents/{pseudonym}/revoke",
    }
    assert server.server_address[0] == "127.0.0.1"


def test_the_token_file(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(TOKEN + "\n")
    with pytest.raises(TokenFileError):
        read_token(path)
    path.chmod(0o600)
    assert read_token(path) == TOKEN
    path.write_text("short")
    with pytest.raises(TokenFileError):
        read_token(path)


# On the command line


def test_the_commands(tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_text(f"patient,purpose,decision\nP1,{HEALTH},permit\nP2,{HEALTH},permit\n")

    def run(*arguments: str, typed: str = "") -> str:
        result = CliRunner().invoke(app, ["consent", *arguments, "--home", str(tmp_path)], input=typed)
        assert result.exit_code == 0, result.output
        return result.output

    assert "2 statements" in run("import", str(tmp_path / "c.csv"))
    assert "takes part: permitted" in run("show", "P1", "--purpose", HEALTH)
    assert "P1" not in run("revoke", "-", typed="P1\n")
    assert "is left out: denied or withdrawn" in run("show", "P1", "--purpose", HEALTH)
    run("grant", "P1", "--purpose", HEALTH, "--until", "2999-01-01")
    assert "takes part" in run("show", "P1", "--purpose", HEALTH)


# In a running study


def consenting(world: World, hospital: str, place: RegisterPlace, **policy: object) -> Node:
    """The node asks the register from now on."""
    node = world.nodes[hospital]
    own = node.admission
    changed = type(own.policy).model_validate(own.policy.model_dump() | {"consent_register": True} | policy)
    node.admission = Admission(own.me, own.roster, changed, own.study, own.data, own.reports, consents=place)
    return node


def register(place: RegisterPlace, rows: int) -> None:
    with opened(place) as store:
        store.add([(patient, PERMIT) for patient in table(rows)["pid"]], b"")


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
    again = world.new_node("a")
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
            consenting(world, "a", None)  # type: ignore[arg-type]
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
