"""The synthetic table that stands for a hospital's patients behind the stages `synthetic_dp` and `synthetic_sdv`.

RESERVE, draw, store, SPENT, as with every drawing of a stage: a crash between two of them draws again only where no table was ever
stored, and what is stored is never replaced. A private table that the ledger says was drawn and that is not there is never drawn anew: the second
drawing would be free. Whoever's studies share it and until when is the epoch's and the policy's business (`privacy.ledgers.policy.shares_drawing`).
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd

from hospital_node.kept_set import STAGE_SESSION, KeptSetLost, charge_once, note_reuse
from hospital_node.ledger_store import LedgerStore
from privacy.guarantees.stage_release import VoidRelease
from privacy.ledgers.charges import drawn
from privacy.ledgers.data_epoch import epoch_name, in_epoch
from privacy.ledgers.ledger import Entry, fold
from privacy.link.canonical import canonical, sha256_hex
from privacy.patients.dictionary import Dictionary
from privacy.studies.study import Study
from privacy.studies.study_stage import synthesis_settings
from privacy.synthesis.charges import SynthesisRelease

Draw = Callable[[], pd.DataFrame]


class RegisterSwitched(KeptSetLost):
    """The table was drawn and is there, for others than this study may share it with: `consent_register` was switched in between."""

    exit_code: ClassVar[int] = 1

    def __init__(self, path: Path, *, asks_now: bool) -> None:
        """Say what was switched and what pays for another table."""
        super().__init__(path)
        if asks_now:
            happened = "for all studies while policy.toml said consent_register = false, and now it says true"
            remedy = "set it to false again for this study, or run it under another study id, which draws and pays a table of its own"
        else:
            happened = (
                "for one study alone while policy.toml said consent_register = true, and now it says false"
            )
            remedy = (
                "set it to true again, which draws and pays a table of this study's own, or give [stage] another epsilon, which "
                "is another drawing and paid as one"
            )
        self.args = (
            f"{path.parent}: the synthetic table of this stage was drawn and charged {happened}; nothing is lost, and equal stages are not drawn "
            f"again unpaid: {remedy}",
        )


@dataclass(frozen=True, slots=True, repr=False)
class Drawing:
    """For whom and on whose account a table is drawn.

    Attributes:
        study: its dictionary, horizon and grid decide what is drawn.
        study_hash: of the agreement that pays, if it is the first.
        folder: made where it does not exist, readable by its owner alone.
        ledger: charged before the draw.
        permit: sees all entries under the ledger's write lock before anything is charged; what it raises charges nothing.
        own: whether the table is this study's alone, because a consent register was asked.
        patients: pseudonyms of those behind it; () without a register.
    """

    study: Study
    study_hash: str
    folder: Path
    ledger: LedgerStore
    permit: Callable[[Sequence[Entry]], object]
    own: bool = False
    patients: tuple[str, ...] = field(default=(), repr=False)

    def path(self, what: dict[str, object]) -> Path:
        """Where a table lies: of these settings, in this data epoch, and with a register of this study."""
        return self._path(what, self.study_hash if self.own else "")

    def is_elsewhere(self, what: dict[str, object]) -> bool:
        """Whether a table of these settings was kept for one study alone, or for all, while this one looks for the other kind."""
        ledger = in_epoch(self.ledger.entries())
        owners = {""} if self.own else {entry.record.study_hash for entry in ledger}
        return any(self._path(what, owner).exists() for owner in owners)

    def _path(self, what: dict[str, object], owner: str) -> Path:
        named = {
            **what,
            "settings": synthesis_settings(self.study),
            "data_epoch": epoch_name(self.ledger.entries()),
            "study": owner,
        }
        return self.folder / f"{sha256_hex(canonical(named))}.table.json"

    def entries(self) -> Sequence[Entry]:
        """Those among which an equal drawing is this one."""
        present = in_epoch(self.ledger.entries())
        return [e for e in present if e.record.study_hash == self.study_hash] if self.own else present


def private_table(stage: SynthesisRelease, drawing: Drawing, draw: Draw) -> tuple[pd.DataFrame, Path]:
    """The table that this hospital uses, and where it lies; drawn and charged at the first call, read at every other.

    Args:
        stage: what the study's plan pays for; equal ones are one drawing.
        drawing: for whom.
        draw: looks at the patients, called after they were charged for.

    Raises:
        KeptSetLost: drawn already, and the file is gone.
        RegisterSwitched: drawn already for others, under another setting of the policy.
    """
    path, entries, ledger = drawing.path(stage.to_json()), drawing.entries(), drawing.ledger
    if drawn(entries, stage):
        if not path.exists() and drawing.is_elsewhere(stage.to_json()):
            raise RegisterSwitched(path, asks_now=drawing.own)
        note_reuse(stage, ledger, drawing.study_hash, drawing.study.id)
        return read(path, drawing.study.dictionary), path
    mine = fold(entries).get((drawing.study_hash, STAGE_SESSION, 0))
    if mine is None or not path.exists():
        ledger.reserve(
            study_hash=drawing.study_hash,
            study_id=drawing.study.id,
            session=STAGE_SESSION,
            round_number=0,
            release=stage,
            permit=drawing.permit,
        )
        _store(path, draw(), ())
    # What the file holds, also where another process stored its drawing first.
    table = read(path, drawing.study.dictionary)
    ledger.spend(study_hash=drawing.study_hash, session=STAGE_SESSION, round_number=0)
    return table, path


def unprotected_table(
    stage: VoidRelease | None, rows: int, drawing: Drawing, draw: Draw
) -> tuple[pd.DataFrame, Path]:
    """The table of a generator without guarantee: kept, so that a restart changes nothing, and drawn again without who withdrew.

    Args:
        stage: written beside the study's charges first; None in mode none, whose rounds are noted.
        rows: of the table, public.
        drawing, draw: as for `private_table`.
    """
    if stage is not None:
        charge_once(stage, drawing.ledger, drawing.study_hash, drawing.study.id, drawing.permit)
    path = drawing.path({"generator": drawing.study.stage.kind, "rows": rows})
    if _behind(path) - set(drawing.patients):
        forget_table(path)
    if not path.exists():
        _store(path, draw(), drawing.patients)
    return read(path, drawing.study.dictionary), path


def forget_table(path: Path) -> None:
    """Delete a table and what was found about it."""
    path.unlink(missing_ok=True)
    path.with_suffix(".gate").unlink(missing_ok=True)


def read(path: Path, dictionary: Dictionary) -> pd.DataFrame:
    """A stored table with the types of `read_table`.

    Raises:
        KeptSetLost: it is not there, or damaged.
    """
    columns = _body(path).get("columns")
    names = [field.name for field in dictionary.fields]
    if (
        not isinstance(columns, dict)
        or set(columns) != set(names)
        or len({len(cells) if isinstance(cells, list) else -1 for cells in columns.values()}) != 1
    ):
        raise KeptSetLost(path)
    found: dict[str, pd.Series] = {}
    for field_ in dictionary.fields:
        cells = columns[field_.name]
        if "id" in field_.role:
            found[field_.name] = pd.Series(cells, dtype="object")
        elif field_.type == "category" and "event" not in field_.role:
            found[field_.name] = pd.Series(pd.Categorical(cells, categories=list(field_.categories)))
        else:
            found[field_.name] = pd.Series(cells, dtype="float64")
    return pd.DataFrame(found)


def _body(path: Path) -> dict[str, object]:
    body: object = None
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        body = None
    if not isinstance(body, dict):
        raise KeptSetLost(path)
    return body


def _behind(path: Path) -> set[str]:
    """Pseudonyms of those behind a stored table; nobody where there is none."""
    patients = _body(path).get("patients") if path.exists() else []
    return {str(patient) for patient in patients} if isinstance(patients, list) else set()


def _store(path: Path, table: pd.DataFrame, patients: Sequence[str]) -> None:
    """The whole file or none, and never in place of another: who stored first is who is used."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    columns = {
        str(name): [None if missing else _plain(cell) for cell, missing in zip(cells, gone, strict=True)]
        for name, cells, gone in ((name, table[name], table[name].isna()) for name in table)
    }
    handle, beside = tempfile.mkstemp(dir=path.parent, prefix=".table-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump({"columns": columns, "patients": sorted(patients)}, file)
            file.flush()
            os.fsync(file.fileno())
        # A link fails where the name is taken; a rename would replace what another process may have used.
        os.link(beside, path)
    except FileExistsError:
        pass
    finally:
        Path(beside).unlink(missing_ok=True)


def _plain(cell: object) -> object:
    return cell.item() if isinstance(cell, np.generic) else cell
