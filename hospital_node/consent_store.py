"""The consent register on disk: SQLite that only grows, patients under keyed pseudonyms.

A pseudonym is HMAC-SHA256 of the patient's id under a key of this site, so that the file alone names nobody and two
sites' registers cannot be joined.
"""

import hashlib
import hmac
import json
import os
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import ClassVar, Self

from hospital_node.clock import Clock, iso_time
from hospital_node.entropy import OsEntropy
from hospital_node.home import RegisterPlace as RegisterPlace
from privacy.patients.consent import ConsentError, Entry, Terms

KEY_BYTES = 32
_SCHEMA = """
CREATE TABLE IF NOT EXISTS consents (
    seq INTEGER PRIMARY KEY, pseudonym TEXT NOT NULL, recorded TEXT NOT NULL, terms TEXT NOT NULL,
    source TEXT NOT NULL, supersedes INTEGER NOT NULL) STRICT;
CREATE INDEX IF NOT EXISTS by_pseudonym ON consents (pseudonym, seq);
CREATE TRIGGER IF NOT EXISTS no_update BEFORE UPDATE ON consents
BEGIN SELECT RAISE(ABORT, 'the consent register is append-only'); END;
CREATE TRIGGER IF NOT EXISTS no_delete BEFORE DELETE ON consents
BEGIN SELECT RAISE(ABORT, 'the consent register is append-only'); END;
"""


class RegisterUnreadable(Exception):
    """The register or its key cannot be used; nobody is known to permit anything."""

    exit_code: ClassVar[int] = 2


@dataclass(frozen=True, slots=True, repr=False)
class SiteKey:
    """The secret that makes pseudonyms; it never prints."""

    secret: bytes

    def pseudonym(self, patient: str) -> str:
        """64 hexadecimal digits for one patient id, without its surrounding blanks."""
        return hmac.new(self.secret, patient.strip().encode(), hashlib.sha256).hexdigest()


def load_key(path: Path, *, create: bool = False) -> SiteKey:
    """The key in the file at `path`, made with mode 0600 where it may be.

    Raises:
        RegisterUnreadable: no such file, others can read it, or it holds no key.
    """
    if create and not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(OsEntropy().random_bytes(KEY_BYTES))
    try:
        lax = path.stat().st_mode & 0o077
        secret = path.read_bytes()
    except OSError as error:
        raise RegisterUnreadable(f"{path}: {error.strerror}; restore the key of the register") from None
    if lax or len(secret) != KEY_BYTES:
        raise RegisterUnreadable(f"{path}: is no key of {KEY_BYTES} bytes that only its owner can read")
    return SiteKey(secret)


class ConsentStore:
    """One hospital's register."""

    def __init__(self, place: RegisterPlace, clock: Clock, *, create: bool = False) -> None:
        """Open the register, or make it.

        Args:
            place: database and key.
            clock: time for the entries.
            create: make what does not exist; a node never does.

        Raises:
            RegisterUnreadable: it does not exist, or cannot be read.
        """
        self.key = load_key(place.key, create=create)
        self._clock, self._lock = clock, Lock()
        if not create and not place.database.is_file():
            raise RegisterUnreadable(
                f"{place.database}: there is no consent register; restore it or import one"
            )
        try:
            place.database.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            os.close(os.open(place.database, os.O_RDWR | os.O_CREAT, 0o600))
            self._database = sqlite3.connect(
                place.database, isolation_level=None, check_same_thread=False, timeout=30
            )
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = FULL")
            self._database.executescript(_SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise RegisterUnreadable(f"{place.database}: {error}") from None

    def __enter__(self) -> Self:
        """The store itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self._database.close()

    def add(self, statements: Iterable[tuple[str, Terms]], source: bytes) -> int:
        """Append statements about patients, all of them or none; returns how many.

        Args:
            statements: (patient id, terms).
            source: what they were read from; only its SHA-256 is kept.
        """
        return self.append(((self.key.pseudonym(patient), terms) for patient, terms in statements), source)

    def append(self, statements: Iterable[tuple[str, Terms]], source: bytes) -> int:
        """As `add`, by pseudonym."""
        digest, now, count = hashlib.sha256(source).hexdigest(), iso_time(self._clock.now()), 0
        with self._lock:
            self._database.execute("BEGIN IMMEDIATE")
            try:
                for pseudonym, terms in statements:
                    before = [
                        entry.seq
                        for entry in self._entries(pseudonym)
                        if (entry.terms.purpose, entry.terms.disease) == (terms.purpose, terms.disease)
                    ]
                    self._database.execute(
                        "INSERT INTO consents (pseudonym, recorded, terms, source, supersedes) VALUES (?, ?, ?, ?, ?)",
                        (pseudonym, now, json.dumps(terms.to_json()), digest, max(before, default=0)),
                    )
                    count += 1
            except BaseException:
                self._database.execute("ROLLBACK")
                raise
            self._database.execute("COMMIT")
        return count

    def entries(self, pseudonym: str) -> tuple[Entry, ...]:
        """Everything about one patient, oldest first.

        Raises:
            RegisterUnreadable: a row that cannot be read.
        """
        with self._lock:
            return self._entries(pseudonym)

    def of_many(self, pseudonyms: Sequence[str]) -> dict[str, tuple[Entry, ...]]:
        """Everything about each of these patients; () for one without a record.

        Raises:
            RegisterUnreadable: a row that cannot be read.
        """
        found: dict[str, list[Entry]] = {pseudonym: [] for pseudonym in pseudonyms}
        with self._lock:
            for pseudonym, entry in self._read("ORDER BY seq", ()):
                if pseudonym in found:
                    found[pseudonym].append(entry)
        return {pseudonym: tuple(entries) for pseudonym, entries in found.items()}

    def _entries(self, pseudonym: str) -> tuple[Entry, ...]:
        rows = self._read("WHERE pseudonym = ? ORDER BY seq", (pseudonym,))
        return tuple(entry for _, entry in rows)

    def _read(self, clause: str, values: tuple[str, ...]) -> list[tuple[str, Entry]]:
        columns = "pseudonym, seq, recorded, terms, source, supersedes"
        try:
            rows = self._database.execute(f"SELECT {columns} FROM consents {clause}", values)  # noqa: S608  (two fixed clauses)
            return [
                (pseudonym, Entry(seq, recorded, Terms.from_json(json.loads(terms)), source, supersedes))
                for pseudonym, seq, recorded, terms, source, supersedes in rows
            ]
        except (sqlite3.Error, ConsentError, ValueError) as error:
            raise RegisterUnreadable(f"the consent register cannot be read: {type(error).__name__}") from None
