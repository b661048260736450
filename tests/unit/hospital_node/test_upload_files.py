"""Files of long replies on disks that are full or lose what they took. Real file systems, really full."""

from __future__ import annotations

import errno
import resource
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hospital_node.journal import Journal
from hospital_node.upload_files import UploadFiles, UploadsUnsafe
from privacy.link.command_line import exit_code_of, sentence_of
from tests.small_disks import PAGE, fill, small_disk

STUDY = bytes(32)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@contextmanager
def no_file_longer_than(length: int) -> Iterator[None]:
    """The kernel's own limit, which needs no root."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (length, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("over", [False, True])
def test_of_what_cannot_be_written_nothing_stays(tmp_path: Path, over: bool) -> None:
    files = UploadFiles(tmp_path / "uploads")
    files.keep({"before": bytes(PAGE)})
    files.settle()
    if over:
        # One of the new files is written over this one.
        files.keep({"over": bytes(PAGE)})
        files.release(["over"])
    with no_file_longer_than(2 * PAGE), pytest.raises(OSError) as caught:
        files.keep({"first": bytes(PAGE), "second": bytes(3 * PAGE), "third": bytes(PAGE)})
    assert caught.value.errno == errno.EFBIG
    assert names(tmp_path / "uploads") == ["before"]
    files.keep({"first": bytes(PAGE), "second": bytes(3 * PAGE)})
    files.settle()
    assert files.read("second", 3 * PAGE) == bytes(3 * PAGE)
    files.close()


def test_an_upload_that_finds_no_room_leaves_its_room_to_the_journal(tmp_path: Path) -> None:
    long = bytes(40 * PAGE)
    with small_disk(tmp_path / "disk", 256 * PAGE) as disk:
        journal = Journal(disk / "journal.db", file_bytes=PAGE)
        journal.commit(STUDY, 1, b"ready", b"request", [b"one"])
        filler = fill(disk, 60)
        with pytest.raises(OSError, match="No space left on device"):
            journal.commit(STUDY, 2, b"uploaded", b"order", [long, long])
        assert names(disk / "journal.uploads") == []
        # What is short still finds its place.
        journal.commit(STUDY, 2, b"refused", b"order", [b"abort"])
        assert journal.replies(STUDY, b"order") == (b"abort",)
        filler.unlink()
        journal.commit(STUDY, 3, b"uploaded", b"next order", [long, long])
        assert journal.replies(STUDY, b"next order") == (long, long)
        journal.close()


@pytest.mark.skipif(shutil.which("mkfs.ext4") is None, reason="needs mkfs.ext4")
def test_a_disk_that_lost_an_upload_is_believed_no_more(tmp_path: Path) -> None:
    """A file system in a file that does not find the room it was promised: its fsync fails, once."""
    with small_disk(tmp_path / "below", 1200 * PAGE) as below:
        image, disk = below / "image", tmp_path / "disk"
        with image.open("wb") as file:
            file.truncate(4000 * PAGE)
        subprocess.run(["mkfs.ext4", "-q", "-O", "^has_journal", str(image)], check=True)
        disk.mkdir()
        if subprocess.run(["mount", "-o", "loop", str(image), str(disk)], check=False).returncode:
            pytest.skip("no loop device")
        try:
            files = UploadFiles(disk / "uploads")
            filler = fill(below)
            files.keep({"lost": bytes(range(256)) * 16 * 400})
            with pytest.raises(UploadsUnsafe, match="did not reach the disk") as caught:
                files.settle()
            assert exit_code_of(caught.value) == 2
            assert sentence_of(caught.value).endswith(
                "so nothing more is answered; mend the disk and start again"
            )
            filler.unlink()
            for again in (files.settle, lambda: files.keep({"more": b"bytes"}), files.settle):
                with pytest.raises(UploadsUnsafe):
                    again()
            files.close()
        finally:
            subprocess.run(["umount", "--lazy", str(disk)], check=True)
