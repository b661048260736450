"""Where a hospital keeps what: one folder for its keys and its roster, one for what its studies leave."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ANCHOR_SUFFIX = ".anchor"


@dataclass(frozen=True, slots=True)
class RegisterPlace:
    """Where a hospital keeps its consent register, and the key of its pseudonyms."""

    database: Path
    key: Path


@dataclass(frozen=True, slots=True)
class Home:
    """The folder given as --home.

    keys/          identity.key, tls.key, tls.crt, enrolment.json, consortium.json (the signed roster)
    state/ledger.db    what was released; back it up
    state/consents.db  what patients permit; back it up with keys/consent.key
    epochs/            keyed marks of who was in the table of which data epoch; back it up
    kept/              what stages drew, once: kept cells, levels, synthetic tables; back it up
    state/session/     secrets of running sessions, and the journal's anchor unless policy.toml names another place; never back it up
    reports/           what the stage measured; never leaves
    policy.toml        what this hospital permits
    """

    root: Path

    @property
    def keys(self) -> Path:
        return self.root / "keys"

    @property
    def ledger(self) -> Path:
        return self.root / "state" / "ledger.db"

    @property
    def journal(self) -> Path:
        return self.root / "state" / "session" / "journal.db"

    def anchor(self, named: str) -> Path:
        """The journal's anchor, as policy.toml names it; beside the journal where it names none."""
        return self.root / named if named else self.journal.with_suffix(ANCHOR_SUFFIX)

    @property
    def consents(self) -> RegisterPlace:
        return RegisterPlace(self.root / "state" / "consents.db", self.keys / "consent.key")

    @property
    def reports(self) -> Path:
        return self.root / "reports"

    @property
    def epochs(self) -> Path:
        return self.root / "epochs"

    @property
    def policy(self) -> Path:
        return self.root / "policy.toml"

    def prepare(self) -> None:
        """Makes the folders, readable by their owner alone."""
        for folder in (self.root, self.ledger.parent, self.journal.parent, self.reports):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
