"""The journal's anchor: on another volume is well, beside the journal a warning, nowhere a failure."""

from __future__ import annotations

from pathlib import Path

import pytest

from hospital_node.doctor.anchor_place import judge
from tests.doctor_setting import POLICY, Setting


def test_beside_the_journal(setting: Setting) -> None:
    found = setting.outcome("anchor").finding
    assert (found.result, "journal_anchor in policy.toml" in found.remedy) == ("warn", True)


def test_on_a_volume_that_is_not_there(setting: Setting, tmp_path: Path) -> None:
    anchor = tmp_path / "unmounted" / "north.anchor"
    setting.home.policy.write_text(POLICY.format(anchor=anchor))
    found = setting.outcome("anchor").finding
    assert (found.result, "mount its volume" in found.remedy) == ("failed", True)
    assert not anchor.parent.exists()


def test_on_another_volume(setting: Setting) -> None:
    other = next(
        (
            p
            for p in (Path("/dev/shm"), Path("/tmp"))
            if p.is_dir() and p.stat().st_dev != setting.home.root.stat().st_dev
        ),
        None,
    )
    if other is None:
        pytest.skip("this machine has one volume")
    setting.home.policy.write_text(POLICY.format(anchor=other / "north.anchor"))
    assert setting.outcome("anchor").finding.result == "ok"
    assert not (other / "north.anchor").exists()


def test_the_folders_that_a_node_makes_itself_need_not_be_there(setting: Setting) -> None:
    setting.home.journal.parent.rmdir()
    setting.home.policy.write_text(POLICY.format(anchor="state/session/last"))
    assert setting.outcome("anchor").finding.result == "warn"
    assert judge(Path("a"), writable=True, apart=True).result == "ok"


@pytest.mark.parametrize("name", ["journal", "anchor"])
def test_a_file_that_is_no_database(setting: Setting, name: str) -> None:
    files = {"journal": setting.home.journal, "anchor": setting.home.anchor("")}
    for content in (b"", b"SQLite format 3\0 and pages"):
        files[name].write_bytes(content)
        assert setting.outcome("anchor").finding.result == "warn"
    files[name].write_bytes(b"something else")
    found = setting.outcome("anchor").finding
    assert (found.result, f"{files[name]} is no database" in found.found) == ("failed", True)
    files[name].unlink()
    files[name].mkdir()
    assert setting.outcome("anchor").finding.result == "failed"
