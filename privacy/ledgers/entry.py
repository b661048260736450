"""One entry of a hospital's ledger: what it says, its place in the chain, and its bytes."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Literal, Self

from privacy.guarantees.plan import Charge, charge_from_json
from privacy.link.canonical import canonical, parse_canonical
from secagg.context import label

EntryKind = Literal["RESERVE", "SPENT", "ABORT", "NOTE", "CLOSE"]


Key = tuple[str, str, int]


GENESIS = "0" * 64


ENTRY_LABEL = label(None, "ledger entry")


MAXIMUM_LINE_BYTES = 1 << 16


class LedgerBroken(Exception):
    """A chain that does not verify, or a step that its rules do not allow."""

    def __init__(self, seq: int, problem: str) -> None:
        """Name the entry (its position in the chain) and what is wrong with it."""
        super().__init__(f"ledger entry {seq}: {problem}")
        self.seq = seq
        self.problem = problem


@dataclass(frozen=True, slots=True)
class Record:
    """What an entry says, before it has a place in a chain.

    Attributes:
        kind: RESERVE, SPENT, ABORT (of a reserved round), CLOSE (of a study) or NOTE (anything else worth keeping, with the
            round where it says that the round releases something without noise).
        time_iso: RFC 3339 in UTC, by the hospital's clock.
        study_hash: SHA-256 of the agreement's bytes, hexadecimal.
        study_id: name of the study, for people.
        session: session id, hexadecimal.
        round: round number, >= 0.
        release: what the round releases, or what a stage costs; exactly for RESERVE and SPENT.
        note: a sentence for ABORT, NOTE and CLOSE; never about a patient.
    """

    kind: EntryKind
    time_iso: str
    study_hash: str
    study_id: str
    session: str
    round: int
    release: Charge | None = None
    note: str = ""

    @property
    def key(self) -> Key:
        """What can be charged once: (study_hash, session, round)."""
        return (self.study_hash, self.session, self.round)

    def to_json(self) -> dict[str, object]:
        """All fields by name."""
        body: dict[str, object] = {field.name: getattr(self, field.name) for field in fields(self)}
        body["release"] = None if self.release is None else self.release.to_json()
        return body

    @classmethod
    def from_json(cls, body: Mapping[str, object]) -> Self:
        """Inverse of `to_json`.

        Raises:
            ValueError: a key is missing, unknown or of the wrong type.
        """
        match body:
            case {
                "kind": "RESERVE" | "SPENT" | "ABORT" | "NOTE" | "CLOSE" as kind,
                "time_iso": str(time_iso),
                "study_hash": str(study_hash),
                "study_id": str(study_id),
                "session": str(session),
                "round": int(number),
                "release": None | dict() as release,
                "note": str(note),
                **rest,
            } if not rest and not isinstance(number, bool):
                paid = None if release is None else charge_from_json(release)
                return cls(kind, time_iso, study_hash, study_id, session, number, paid, note)
        raise ValueError(f"keys or types are not those of a ledger record: {sorted(map(str, body))}")


@dataclass(frozen=True, slots=True)
class Entry:
    """A record with its place in the chain.

    Attributes:
        seq: 1, 2, ...
        record: what it says.
        previous_hash: hash of the entry before, zeros for the first.
        hash: SHA-256 of the canonical JSON of {seq, record, previous_hash}, hexadecimal.
        signature: Ed25519 by the hospital's identity over those bytes, hexadecimal.
    """

    seq: int
    record: Record
    previous_hash: str
    hash: str
    signature: str

    @property
    def kind(self) -> EntryKind:
        """The record's kind."""
        return self.record.kind

    def signed_bytes(self) -> bytes:
        """What is hashed and signed."""
        return signed_bytes(self.seq, self.record, self.previous_hash)

    def to_line(self) -> bytes:
        """Canonical JSON of the entry, without a line break."""
        return self.line_around(self.signed_bytes())

    def line_around(self, signed: bytes) -> bytes:
        """`to_line` where `signed_bytes` are at hand: of its keys in their order, "hash" comes before theirs and "signature" behind."""
        own_hash, signature = canonical({"hash": self.hash}), canonical({"signature": self.signature})
        return b"".join((own_hash[:-1], b",", signed[1:-1], b",", signature[1:]))

    @classmethod
    def from_line(cls, line: bytes) -> Self:
        """Inverse of `to_line`; the bytes must be canonical.

        Raises:
            ValueError: anything else than such a line.
        """
        match parse_canonical(line, MAXIMUM_LINE_BYTES):
            case {
                "seq": int(seq),
                "record": dict(record),
                "previous_hash": str(previous_hash),
                "hash": str(own_hash),
                "signature": str(signature),
                **rest,
            } if not rest:
                return cls(seq, Record.from_json(record), previous_hash, own_hash, signature)
        raise ValueError("the line is not a ledger entry")


def signed_bytes(seq: int, record: Record, previous_hash: str) -> bytes:
    """What is hashed and signed of an entry."""
    return canonical({"seq": seq, "record": record.to_json(), "previous_hash": previous_hash})
