"""Long replies of the journal, the chunks of a vector: one file each, written before the row that names it is committed.

A row is the reference: a file without one is what a crash left behind, half written perhaps, and is deleted when the journal is opened.
SQLite would write such a reply three times, and once more when it wipes it. What is in these files leaves the hospital as it is.

They reach the disk while they are sent. A killed process finds them whole; a loss of power may take them while their row stands, and then
nothing is sent again for that request, as where the hospital had stayed away; whether a file of the right length has its bytes, the
vector's hash in the signed header tells (`round_messages.check_upload`). The next answer waits until they are on the disk.

The files of a round that is over are written over by the next one's: new pages for a long vector every round cost the system several times
what the copy itself does. They are deleted when the study is over or the journal is closed.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path


class UploadLost(Exception):
    """A file that the journal names is not there, or not whole."""

    exit_code = 2

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"the upload {path} that the journal names is missing or incomplete; it cannot be sent again: let the round be aborted"
        )
        self.path = path


class UploadsUnsafe(OSError):
    """A file could not be brought to the disk. What a system could not write it may forget, and says so once: whoever asks again is told that
    all is well (fsyncgate, LWN 752063). So this is not taken back; a new process sends again what still is the vector of its signed header."""

    exit_code = 2

    def __init__(self, folder: Path, error: OSError) -> None:
        super().__init__(
            f"an upload in {folder} did not reach the disk ({error.strerror or error}), so nothing more is answered; mend the disk and start again"
        )


class UploadFiles:
    """The files of one journal, in a folder of their own with mode 0700."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True, mode=0o700)
        self._folder = folder
        self._syncs = ThreadPoolExecutor(1, "uploads")
        self._waiting: list[Future[None]] = []
        self._unsafe: UploadsUnsafe | None = None
        # What the next files are written over.
        self._spare: list[str] = []

    def keep(self, replies: Mapping[str, bytes]) -> None:
        """Write files, by name, that no row names yet; when it returns, a killed process finds them.

        Raises:
            OSError: they could not be written, and none of them is there.
            UploadsUnsafe: files before them could not be brought to the disk.
        """
        self._require_safe()
        handles, begun = list[int](), list[str]()
        try:
            for name, data in replies.items():
                begun.append(name)
                if self._spare:
                    with suppress(FileNotFoundError):
                        (self._folder / self._spare.pop()).rename(self._folder / name)
                handle = os.open(self._folder / name, os.O_CREAT | os.O_WRONLY, 0o600)
                handles.append(handle)
                view = memoryview(data)
                while view:
                    view = view[os.write(handle, view) :]
                os.ftruncate(handle, len(data))
        except BaseException as error:
            for handle in handles:
                os.close(handle)
            if isinstance(error, OSError):
                # On a full disk they would hold the room that everything else needs, until the journal is opened again.
                self._delete(begun)
            raise
        self._waiting.append(self._syncs.submit(self._sync, handles))

    def settle(self) -> None:
        """Until everything that was kept is on the disk.

        Raises:
            UploadsUnsafe: something cannot be brought there, now or before.
        """
        waiting, self._waiting = self._waiting, []
        for sync in waiting:
            try:
                sync.result()
            except OSError as error:
                self._unsafe = self._unsafe or UploadsUnsafe(self._folder, error)
        self._require_safe()

    def _require_safe(self) -> None:
        if self._unsafe is not None:
            raise self._unsafe

    def _delete(self, names: Collection[str]) -> None:
        """As far as the disk lets it; the error that led here is the one to tell."""
        for name in names:
            with suppress(OSError):
                (self._folder / name).unlink()

    def _sync(self, handles: list[int]) -> None:
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            for handle in (*handles, folder):
                os.fsync(handle)
        finally:
            for handle in (*handles, folder):
                os.close(handle)

    def read(self, name: str, length: int) -> bytes:
        """A file as it was kept.

        Raises:
            UploadLost: it is missing or has another length.
        """
        path = self._folder / name
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            data = b""
        if len(data) != length:
            raise UploadLost(path)
        return data

    def release(self, names: Collection[str]) -> None:
        """Of files that no row names any more: the next ones are written over them."""
        if names:
            self.drop(())
            self._spare = list(names)

    def drop(self, names: Collection[str]) -> None:
        """Delete files that no row names any more, and those that wait to be written over."""
        for name in (*names, *self._spare):
            (self._folder / name).unlink(missing_ok=True)
        self._spare = []

    def drop_all_but(self, names: Collection[str]) -> None:
        """Delete what a crash left behind."""
        self.drop([path.name for path in self._folder.iterdir() if path.name not in names])

    def close(self) -> None:
        """Wait for what is on its way to the disk, and delete what is not needed any more."""
        self._syncs.shutdown()
        self.drop(())
