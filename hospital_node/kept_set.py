"""What a stage draws (the kept set of a noisy threshold, a level): once for everything that this hospital does with these cells in a data epoch.

RESERVE, draw, write the file, SPENT: a crash between two of them draws again only where no set was ever stored. A set
that the ledger says was drawn and that is not there is never drawn anew: the second drawing would be free.
"""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import ClassVar

from hospital_node.entropy import Entropy, uniform_below
from hospital_node.ledger_store import LedgerStore
from privacy.guarantees.stage_release import DrawnRelease, LevelRelease, StageRelease, ThresholdRelease
from privacy.ledgers.charges import drawn
from privacy.ledgers.data_epoch import epoch_name, in_epoch
from privacy.ledgers.drawn_before import reuse_note, reused
from privacy.ledgers.ledger import Entry, fold
from privacy.link.canonical import canonical, sha256_hex
from privacy.noise.level_choice import Level, choose
from privacy.noise.noisy_threshold import Cell, kept_cells

# In place of a protocol session: no round belongs to it.
STAGE_SESSION = "stage"

Permitting = Callable[[Sequence[Entry]], object]


class KeptSetLost(Exception):
    """The ledger says that the set was drawn, and its file is missing or damaged."""

    exit_code: ClassVar[int] = 2

    def __init__(self, path: Path) -> None:
        """Name the file and the remedy."""
        super().__init__(
            f"{path}: what a stage of this study drew is not readable; restore the file, because drawing it again is not paid for"
        )


def kept_set(
    release: ThresholdRelease,
    counts: Mapping[Cell, int],
    folder: Path,
    ledger: LedgerStore,
    study_hash: str,
    study_id: str,
    entropy: Entropy,
    permit: Permitting,
) -> frozenset[Cell]:
    """The cells that this hospital keeps; drawn and charged at the first call, read at every other.

    Args:
        release: what the study's plan pays for; equal releases are one drawing.
        counts: patients in each cell that has any, now; looked at only by the first call.
        folder: made where it does not exist, readable by its owner alone.
        ledger: charged before the draw.
        study_hash, study_id: of the study that pays, if this is the first.
        entropy: of the noise.
        permit: sees all entries under the ledger's write lock before anything is charged; what it raises charges nothing.

    Raises:
        KeptSetLost: drawn already, and the file is gone.
    """

    def draw() -> frozenset[Cell]:
        return kept_cells(counts, release.k, release.noise, lambda bound: uniform_below(bound, entropy))

    return _once(release, draw, folder, ledger, study_hash, study_id, permit)


def chosen_level(
    release: LevelRelease,
    candidates: Sequence[Level],
    cost: Callable[[], Sequence[Fraction]],
    folder: Path,
    ledger: LedgerStore,
    study_hash: str,
    study_id: str,
    entropy: Entropy,
    permit: Permitting,
) -> Level:
    """The level that this hospital uses; drawn and charged at the first call, read at every other.

    Args:
        release: what the study's plan pays for; equal releases are one drawing.
        candidates: all levels.
        cost: of each candidate, sensitivity 1; asked only for the first call.
        folder, ledger, study_hash, study_id, entropy, permit: as in `kept_set`.

    Raises:
        KeptSetLost: drawn already, and the file is gone or holds no such level.
    """

    def draw() -> frozenset[Cell]:
        position = choose(cost(), release.epsilon, lambda bound: uniform_below(bound, entropy))
        return frozenset({candidates[position]})

    found = _once(release, draw, folder, ledger, study_hash, study_id, permit)
    if len(found) != 1 or not found <= set(candidates):
        raise KeptSetLost(_path(folder, release, epoch_name(ledger.entries())))
    return next(iter(found))


def _path(folder: Path, release: DrawnRelease, epoch: str = "") -> Path:
    """Of what was drawn in a data epoch: the cells of other patients say nothing about who is in a cell now."""
    named = release.to_json() | ({"data_epoch": epoch} if epoch else {})
    return folder / f"{sha256_hex(canonical(named))}.json"


def _once(
    release: DrawnRelease,
    draw: Callable[[], frozenset[Cell]],
    folder: Path,
    ledger: LedgerStore,
    study_hash: str,
    study_id: str,
    permit: Permitting,
) -> frozenset[Cell]:
    entries = ledger.entries()
    path = _path(folder, release, epoch_name(entries))
    if drawn(in_epoch(entries), release):
        note_reuse(release, ledger, study_hash, study_id)
        return _read(path)
    mine = fold(entries).get((study_hash, STAGE_SESSION, 0))
    if mine is not None and path.exists():
        kept = _read(path)
    else:
        ledger.reserve(
            study_hash=study_hash,
            study_id=study_id,
            session=STAGE_SESSION,
            round_number=0,
            release=release,
            permit=permit,
        )
        kept = draw()
        _write(path, kept)
    ledger.spend(study_hash=study_hash, session=STAGE_SESSION, round_number=0)
    return kept


def note_reuse(release: StageRelease, ledger: LedgerStore, study_hash: str, study_id: str) -> None:
    """Write down, once, that a study uses what an earlier one drew: read alone, it would seem to cost less."""
    entries = ledger.entries()
    if (study_hash, STAGE_SESSION, 0) in fold(entries) or release in reused(entries, study_hash):
        return
    ledger.note(study_hash=study_hash, study_id=study_id, session=STAGE_SESSION, text=reuse_note(release))


def charge_once(
    release: StageRelease, ledger: LedgerStore, study_hash: str, study_id: str, permit: Permitting
) -> bool:
    """Write a stage into the ledger of this study, if it is not there: RESERVE and SPENT; whether it was written now.

    Once a study, not once for all of them: what says that there is no number stands beside the charges that it takes it from, also where
    they are read alone or in another data epoch.
    """
    mine = fold(ledger.entries()).get((study_hash, STAGE_SESSION, 0))
    if mine is not None and mine.kind == "SPENT":
        return False
    ledger.reserve(
        study_hash=study_hash,
        study_id=study_id,
        session=STAGE_SESSION,
        round_number=0,
        release=release,
        permit=permit,
    )
    ledger.spend(study_hash=study_hash, session=STAGE_SESSION, round_number=0)
    return True


def _read(path: Path) -> frozenset[Cell]:
    cells: object = None
    try:
        cells = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        cells = None
    if not isinstance(cells, list) or not all(isinstance(cell, list) for cell in cells):
        raise KeptSetLost(path)
    return frozenset(tuple(int(code) for code in cell) for cell in cells)


def _write(path: Path, kept: frozenset[Cell]) -> None:
    """The whole file or none: written beside, synced, then renamed."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    beside = path.with_suffix(".new")
    beside.unlink(missing_ok=True)
    with os.fdopen(
        os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8"
    ) as file:
        json.dump(sorted(kept), file)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
