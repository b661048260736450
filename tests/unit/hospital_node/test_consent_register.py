"""The register on disk, over HTTP and on the command line."""

import http.client
import json
import sqlite3
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from hospital_node.cli import app
from hospital_node.consent_api import ConsentServer, TokenFileError, read_token
from hospital_node.consent_store import RegisterPlace, RegisterUnreadable
from privacy.patients.consent import HEALTH, Terms
from tests.unit.hospital_node.consents import PERMIT, opened

TOKEN = "a-token-that-is-long-enough"


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
) -> tuple[int, dict[str, Any]]:
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
    assert [(e["purpose"], e["decision"]) for e in shown["entries"]] == [(HEALTH, "permit"), ("*", "deny")]
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
    assert set(body["paths"]) == {
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
