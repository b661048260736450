"""Ledger and consent register as a node would read them."""

from __future__ import annotations

import sqlite3

import pytest

from hospital_node import keys
from hospital_node.clock import SystemClock
from hospital_node.consent_store import ConsentStore
from hospital_node.ledger_store import LedgerStore
from tests.doctor_setting import POLICY, Setting


def begin_ledger(setting: Setting) -> None:
    secret = keys.load(setting.home.keys).identity_private
    with LedgerStore(setting.home.ledger, secret, SystemClock()) as ledger:
        ledger.note(study_hash="00" * 32, study_id="", session="", text="a note")


def test_no_ledger_yet_and_none_is_made(setting: Setting) -> None:
    assert setting.outcome("ledger").finding.result == "ok"
    assert not setting.home.ledger.exists()
    setting.home.ledger.touch()
    assert setting.outcome("ledger").finding.result == "ok"
    assert setting.home.ledger.read_bytes() == b"", "nothing begins it but a study"


def test_a_ledger_that_verifies(setting: Setting) -> None:
    begin_ledger(setting)
    assert "verifies" in setting.outcome("ledger").finding.found


def test_an_edited_ledger(setting: Setting) -> None:
    begin_ledger(setting)
    with sqlite3.connect(setting.home.ledger) as database:
        database.execute("DROP TRIGGER no_update")
        database.execute(
            "UPDATE entries SET line = CAST(replace(CAST(line AS TEXT), 'a note', 'no note') AS BLOB)"
        )
    found = setting.outcome("ledger").finding
    assert (found.result, "newest backup" in found.remedy) == ("failed", True)


def test_a_ledger_that_is_no_database(setting: Setting) -> None:
    setting.home.ledger.write_bytes(b"something else entirely" * 100)
    found = setting.outcome("ledger").finding
    assert (found.result, "cannot be read" in found.found) == ("failed", True)


@pytest.fixture
def asked(setting: Setting) -> Setting:
    """Its policy asks the register."""
    setting.home.policy.write_text(POLICY.format(anchor="") + "consent_register = true\n")
    return setting


def test_no_register_is_asked(setting: Setting) -> None:
    assert setting.outcome("consents").finding.result == "ok"


def test_a_register_that_is_missing(asked: Setting) -> None:
    found = asked.outcome("consents").finding
    assert (found.result, "nobody takes part" in found.remedy) == ("failed", True)
    assert not asked.home.consents.database.exists()
    assert not asked.home.consents.key.exists()


def test_a_register_that_can_be_read_and_one_whose_rows_cannot(asked: Setting) -> None:
    with ConsentStore(asked.home.consents, SystemClock(), create=True) as register:
        register.append([], b"")
    assert asked.outcome("consents").finding.result == "ok"
    with sqlite3.connect(asked.home.consents.database) as database:
        database.execute("INSERT INTO consents VALUES (1, 'p', 'P00007', 'x', '', 0)")
    found = asked.outcome("consents").finding
    assert found.result == "failed"
    assert "P00007" not in found.found
