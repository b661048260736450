"""Does the journal's anchor lie where a restored copy of the journal is noticed, and are both files what they must be? Neither is opened by SQLite."""

from __future__ import annotations

import os
from pathlib import Path

from hospital_node.doctor.case import Case, held
from hospital_node.doctor.finding import Check, Finding, failed, ok, warn
from hospital_node.home import Home

# How every database file begins (SQLite, "Database File Format", 1.3).
SQLITE = b"SQLite format 3\0"


def look(case: Case) -> Finding:
    home = case.home
    anchor = home.anchor(held(case.policy).journal_anchor)
    journal = _there(home, home.journal.parent)
    folder = _there(home, anchor.parent)
    for file in (home.journal, anchor):
        if not _may_be_database(file):
            return failed(
                f"{file} is no database, so the node cannot start",
                "correct journal_anchor in policy.toml if it names another file; else move the file away, which ends its running studies",
            )
    if not folder.is_dir():
        return judge(anchor, writable=False, apart=False)
    writable = os.access(anchor if anchor.exists() else folder, os.W_OK)
    return judge(anchor, writable=writable, apart=folder.stat().st_dev != journal.stat().st_dev)


def _may_be_database(file: Path) -> bool:
    """A file that is there, and not empty, as one is that was just begun."""
    if not file.exists():
        return True
    if not file.is_file():
        return False
    with file.open("rb") as opened:
        return opened.read(len(SQLITE)) in (SQLITE, b"")


def _there(home: Home, folder: Path) -> Path:
    """The folder; before the first study, the home that will hold it where the node makes it itself."""
    own = (home.journal.parent, home.ledger.parent, home.reports)
    return home.root if folder in own and not folder.exists() else folder


def judge(anchor: Path, *, writable: bool, apart: bool) -> Finding:
    """Args: `apart` says that it lies on another volume than the journal."""
    if not writable:
        return failed(
            f"the journal's anchor {anchor} cannot be written, and without it the node sends nothing",
            "mount its volume, or correct journal_anchor in policy.toml",
        )
    if not apart:
        return warn(
            "the journal and its anchor lie on one volume, so that a copy of it that comes back is not noticed",
            "name a file on another volume as journal_anchor in policy.toml",
        )
    return ok(f"{anchor}, on another volume than the journal")


CHECK = Check("anchor", look, needs=("policy",), remedy="check journal_anchor in policy.toml and its volume")
