"""Keys and roster: whatever is missing is named by the next step, whatever others can read by the command that closes it."""

from __future__ import annotations

import shutil
import stat
from pathlib import Path

import pytest

from hospital_node.doctor.identity import Access, judge_access
from tests.doctor_setting import Setting
from tests.process.link_setup import make_consortium


def test_a_hospital_that_is_enrolled(setting: Setting) -> None:
    outcomes = setting.outcomes(setting.case(), "roster")
    assert [o.finding.result for o in outcomes.values()] == ["ok"] * 3
    assert "one of 3 hospitals" in outcomes["roster"].finding.found


def test_a_folder_that_is_not_there(setting: Setting) -> None:
    shutil.rmtree(setting.home.root)
    found = setting.outcome("home").finding
    assert found.result == "failed"
    assert f"wardround-hospital init <id of this hospital> --home {setting.home.root}" in found.remedy
    assert not setting.home.root.exists()


def test_a_home_without_keys(setting: Setting) -> None:
    shutil.rmtree(setting.home.keys)
    found = setting.outcome("home").finding
    assert "no keys were made" in found.found
    assert "wardround-hospital init" in found.remedy


@pytest.mark.parametrize("name", ["tls.key", "identity.key", "consent.key"])
def test_a_key_that_others_can_read(setting: Setting, name: str) -> None:
    path = setting.home.keys / name
    path.touch()
    path.chmod(0o644)
    found = setting.outcome("keys").finding
    assert (found.result, "(mode 0644)" in found.found) == ("failed", True)
    assert found.remedy.startswith(f"chmod 600 {path}")


def test_a_key_folder_that_others_can_write(setting: Setting) -> None:
    setting.home.keys.chmod(0o777)
    found = setting.outcome("keys").finding
    assert found.remedy == f"chmod 700 {setting.home.keys}"


def test_a_damaged_key_is_named_and_not_shown(setting: Setting) -> None:
    path = setting.home.keys / "identity.key"
    secret = path.read_text()
    path.write_text(secret[:40])
    found = setting.outcome("keys").finding
    assert (found.result, "damaged" in found.found) == ("failed", True)
    assert "restore the folder keys/" in found.remedy
    assert secret[:16] not in found.found + found.remedy


def test_keys_of_another_user() -> None:
    path = Path("/srv/keys/tls.key")
    mode = stat.S_IFREG | 0o600
    other = judge_access([Access(path, mode, owner=1000, process=1001)])
    root = judge_access([Access(path, mode, owner=1000, process=0)])
    assert other is not None
    assert root is not None
    assert (other.result, root.result) == ("failed", "warn")
    assert "as the user who ran `init`" in other.remedy
    assert judge_access([Access(path, mode, owner=1000, process=1000)]) is None


def test_a_hospital_that_is_not_enrolled_yet_hears_the_next_step(setting: Setting) -> None:
    (setting.home.keys / "consortium.json").unlink()
    found = setting.outcome("roster").finding
    assert "signed the draft" in found.found
    (setting.home.keys / "north.signature.json").unlink()
    found = setting.outcome("roster").finding
    assert (found.result, "not enrolled yet" in found.found) == ("failed", True)
    assert "enrolment.json to the coordinator" in found.remedy
    assert f"enrol consortium.draft.json --home {setting.home.root}" in found.remedy


def test_a_roster_of_other_keys(setting: Setting, tmp_path: Path) -> None:
    other = make_consortium(tmp_path / "other", hospitals=("north", "east"))
    for name in ("identity.key", "tls.key", "tls.crt"):
        shutil.copy(other.folder / "north" / name, setting.home.keys / name)
    found = setting.outcome("roster").finding
    assert (found.result, "does not hold the keys on this machine" in found.found) == ("failed", True)
    assert "consortium.json" in found.remedy
