"""Long receipts of the coordinator's state: one file each, on the disk before the row that names its round is committed.

SQLite would write a sum of 8 MB three times. The row holds the receipt without its sum, whose hash the coordinator signed there: a file that is not
the one is noticed when it is read.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TypeGuard

from privacy.link.direct_file import DirectFiles
from secagg.errors import WireError
from secagg.long_hash import sha256_of
from secagg.receipt import without_sum
from secagg.wire import codec
from secagg.wire.records import Receipt, ReceiptBody

# From here on a receipt costs less in a file than in the database.
FILE_BYTES = 1 << 20


class ReceiptLost(Exception):
    """A receipt that the state names is not there, or another one."""

    exit_code = 2

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"the receipt {path} that the coordinator's state names is missing or damaged; restore the state from its backup"
        )
        self.path = path


class ReceiptFiles:
    """The long receipts of one coordinator, in a folder of their own."""

    def __init__(self, folder: Path, file_bytes: int = FILE_BYTES) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._file_bytes = file_bytes
        self._direct = DirectFiles()

    def short(self, receipt: bytes | None) -> bytes | None:
        """What the round's row holds: the receipt, without its sum where that is in a file; None for none."""
        return without_sum(receipt) if self._is_long(receipt) else receipt

    def keep(self, study_hash: bytes, round_number: int, receipt: bytes | None) -> None:
        """Write a long receipt; when it returns, the file and its name are on the disk. Others are in their rows.

        Raises:
            OSError: they are not, and there is no such file.
        """
        if not self._is_long(receipt):
            return
        path = self._path(study_hash, round_number)
        try:
            self._direct.write(path, [receipt])
            folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError:
            # No row will name it, and on a full disk it would hold room that the next start needs.
            with suppress(OSError):
                path.unlink()
            raise

    def whole(self, study_hash: bytes, round_number: int, stored: bytes) -> bytes:
        """The receipt of a row.

        Raises:
            ReceiptLost: its file is missing, or does not hold the sum that the coordinator signed.
        """
        if codec.unpack_views("receipt", Receipt, stored).sum:
            return stored
        path = self._path(study_hash, round_number)
        data = path.read_bytes() if path.is_file() else b""
        if not _is_whole(data, stored):
            raise ReceiptLost(path)
        return data

    def _is_long(self, receipt: bytes | None) -> TypeGuard[bytes]:
        return receipt is not None and len(receipt) >= self._file_bytes

    def _path(self, study_hash: bytes, round_number: int) -> Path:
        return self._folder / f"{study_hash.hex()}-{round_number}.receipt"


def _is_whole(data: bytes, stored: bytes) -> bool:
    """Whether this is the receipt of the row, with the sum that it signs."""
    try:
        receipt = codec.unpack_views("receipt", Receipt, data)
        body = codec.decode(ReceiptBody, bytes(receipt.signed.body))
    except WireError:
        return False
    return without_sum(data) == stored and sha256_of(receipt.sum) == body.sum_sha256
