"""A hospital's full disk is one sentence, wherever it is met; what was told stays so behind it. A real file system, really full."""

from __future__ import annotations

import signal
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from hospital_node.disk_faults import HomeFault, disk_faults
from hospital_node.journal import Journal
from hospital_node.record_log import RecordLog
from hospital_node.service import Settings, serve
from hospital_node.upload_files import UploadsUnsafe
from privacy.link.command_line import exit_code_of
from privacy.studies.study import load_study
from tests.doctor_setting import make_setting
from tests.process.link_setup import make_consortium
from tests.small_disks import PAGE, fill, small_disk

STUDY = bytes(32)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "home", 256 * PAGE) as folder:
        yield folder


@pytest.mark.parametrize("where", ["journal", "upload", "sums"])
def test_a_full_disk_is_one_sentence_and_what_was_kept_stands(home: Path, where: str) -> None:
    journal, log = Journal(home / "journal.db", file_bytes=8 * PAGE), RecordLog(home / "records.log")
    journal.commit(STUDY, 1, b"one", b"first", [b"reply"])
    log.append("1.sum", (b"sum",))
    fill(home, 3)
    reply = bytes((60 if where == "upload" else 7) * PAGE)

    def write() -> None:
        if where == "sums":
            log.append("2.sum", (reply,))
            return
        for number in range(2, 40):
            journal.commit(STUDY, number, b"two", b"second %d" % number, [reply])

    with pytest.raises(HomeFault) as caught, disk_faults(home):
        write()
    assert exit_code_of(caught.value) == 2
    assert "No space left on device" in str(caught.value) or "is full" in str(caught.value)
    assert str(caught.value).endswith("make room or mend the disk there and start again")
    journal.close()
    (home / "filler").unlink()
    again = Journal(home / "journal.db", file_bytes=8 * PAGE)
    assert again.state(STUDY) in (b"one", b"two")
    assert RecordLog(home / "records.log").names() == ["1.sum"]
    again.commit(STUDY, 50, b"later", b"third", [b"reply"])
    again.close()


@pytest.mark.parametrize(
    "error",
    [
        UploadsUnsafe(Path("uploads"), OSError(28, "No space left on device")),
        FileNotFoundError(2, "No such file or directory", "extract.csv"),
        ConnectionResetError(104, "Connection reset by peer"),
        sqlite3.OperationalError("database is locked"),
    ],
)
def test_what_is_no_fault_of_the_disk_or_has_a_sentence_goes_through(error: Exception) -> None:
    with pytest.raises(type(error)) as caught, disk_faults(Path("home")):
        raise error
    assert caught.value is error


@pytest.fixture
def own_signals() -> Iterator[None]:
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


@pytest.mark.usefixtures("own_signals")
def test_a_node_whose_home_is_full_ends_with_the_sentence(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 256 * PAGE) as disk:
        setting = make_setting(disk, make_consortium(tmp_path / "consortium"))
        study = load_study(setting.study)
        settings = Settings(setting.home, study, setting.data, "127.0.0.1:1", 0.0, False)
        fill(disk)
        with pytest.raises(HomeFault, match=r"the files of this hospital in .* is full"):
            serve(settings, lambda event: None, lambda outgoing: True)


@pytest.mark.parametrize("name", ["ledger", "journal"])
@pytest.mark.usefixtures("own_signals")
def test_a_node_with_a_damaged_database_sends_its_operator_to_the_doctor(tmp_path: Path, name: str) -> None:
    setting = make_setting(tmp_path, make_consortium(tmp_path / "consortium"))
    home = setting.home
    damaged = home.ledger if name == "ledger" else home.journal
    damaged.parent.mkdir(parents=True, exist_ok=True)
    damaged.write_bytes(b"what was here is gone" * 999)
    settings = Settings(home, load_study(setting.study), setting.data, "127.0.0.1:1", 0.0, False)
    with pytest.raises(HomeFault, match=r"not a database.*wardround-hospital doctor"):
        serve(settings, lambda event: None, lambda outgoing: True)
