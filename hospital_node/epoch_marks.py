"""Who was in the table of which data epoch, as keyed marks that never leave: a patient in two of them would have two budgets.

One file an epoch: a random salt, then HMAC-SHA256 of each patient's id under it, cut to 16 bytes. Without an id field the table itself is
the one thing that is recognized. What ids cannot show (a patient under two ids, a table that was edited) stays the hospital's word.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hospital_node.entropy import Entropy
from privacy.ledgers.policy_refusal import PolicyRefusal
from privacy.studies.study import Study

if TYPE_CHECKING:
    import pandas as pd

SALT_BYTES = 32
MARK_BYTES = 16


def who_is_in(frame: pd.DataFrame, study: Study, data: Path) -> Collection[str]:
    """The ids of the table's patients; the hash of its file where the study declares no id."""
    if study.dictionary.id is not None:
        return {str(patient).strip() for patient in frame[study.dictionary.id.name]}
    with data.open("rb") as file:
        return {hashlib.file_digest(file, "sha256").hexdigest()}


@dataclass(frozen=True, slots=True)
class EpochMarks:
    """One hospital's folder of marks; made where it does not exist."""

    folder: Path

    def check(self, epoch: str, patients: Collection[str]) -> None:
        """Nobody of the present epoch's table is in another one's.

        Raises:
            PolicyRefusal: somebody is, or the whole table is.
        """
        own = self._path(epoch)
        for path in sorted(self.folder.glob("*.marks")):
            if path == own:
                continue
            salt, kept = _read(path)
            if found := sum(mark in kept for mark in _marks(salt, patients)):
                raise PolicyRefusal(
                    "data_epoch",
                    f"epoch {epoch!r} for a table with {found} of whom an earlier epoch has counted the budget",
                    "patients of one epoch each; leave them out or go on in their epoch (an id must name one patient in all tables)",
                )

    def take(self, epoch: str, patients: Collection[str], entropy: Entropy) -> None:
        """Checks, then remembers on disk who is in the present epoch; before anything about them is charged.

        Raises:
            PolicyRefusal: as `check`.
        """
        self.check(epoch, patients)
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self._path(epoch)
        salt, kept = _read(path) if path.exists() else (entropy.random_bytes(SALT_BYTES), set[bytes]())
        marks = kept.union(_marks(salt, patients))
        if marks == kept:
            return
        draft = path.with_suffix(".draft")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(salt + b"".join(sorted(marks)))
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)

    def knows(self, epochs: Collection[str]) -> bool:
        """Whether there are marks of each of these epochs."""
        return all(self._path(epoch).exists() for epoch in epochs)

    def _path(self, epoch: str) -> Path:
        return self.folder / f"{hashlib.sha256(epoch.encode()).hexdigest()[:32]}.marks"


def _marks(salt: bytes, patients: Collection[str]) -> Iterator[bytes]:
    return (hmac.digest(salt, patient.encode(), "sha256")[:MARK_BYTES] for patient in patients)


def _read(path: Path) -> tuple[bytes, set[bytes]]:
    data = path.read_bytes()
    return data[:SALT_BYTES], {
        data[start : start + MARK_BYTES] for start in range(SALT_BYTES, len(data), MARK_BYTES)
    }
