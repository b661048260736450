"""The hospital's account of what has been released about its patients: a signed hash chain, folded purely.

RESERVE is written before anything is computed, SPENT before anything is sent. A reservation is charged whether or not
it was spent: a crash, an abort or a retry never lowers what was spent. CLOSE ends a study: nothing of it is released behind it,
so that a ledger which holds it is the whole account of that study.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Literal, Self, assert_never

from privacy.guarantees.plan import Charge, charge_from_json
from privacy.link.canonical import canonical, parse_canonical, sha256_hex
from secagg.context import label
from secagg.errors import BadSignature
from secagg.identity import verify

EntryKind = Literal["RESERVE", "SPENT", "ABORT", "NOTE", "CLOSE"]


Sign = Callable[[bytes], bytes]


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
        return _signed_bytes(self.seq, self.record, self.previous_hash)

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


class Folded(tuple[Entry, ...]):
    """Entries that were folded already: a round asks a dozen times where its ledger stands, and the ledger grows."""

    account: "_Account"

    @classmethod
    def of(cls, entries: Iterable[Entry], account: "_Account") -> Self:
        """The entries with what they come to."""
        folded = cls(entries)
        folded.account = account
        return folded


@dataclass(frozen=True, slots=True)
class Ledger:
    """A chain whose every step obeyed the rules: a key is reserved once, then spent or aborted once."""

    entries: tuple[Entry, ...] = ()

    @property
    def rounds(self) -> Mapping[Key, "RoundState"]:
        """As `fold` of the entries; known already behind an append."""
        return _account(self.entries).rounds

    def append(self, record: Record, sign: Sign) -> Self:
        """The ledger with one entry more.

        Args:
            record: what happened.
            sign: signature of the hospital's identity under `ENTRY_LABEL`.

        Raises:
            LedgerBroken: the record does not follow from the entries before it.
        """
        seq = len(self.entries) + 1
        account = _account(self.entries).copy()
        account.step(record, seq)
        previous = self.entries[-1].hash if self.entries else GENESIS
        body = _signed_bytes(seq, record, previous)
        entry = Entry(seq, record, previous, sha256_hex(body), sign(body).hex())
        return type(self)(Folded.of((*self.entries, entry), account))

    def followed_by(self, fresh: Iterable[Entry], public_key: bytes) -> Self:
        """The ledger with entries that somebody else appended, each of them checked before the next is looked at.

        Raises:
            LedgerBroken: the first one that is not numbered, chained, signed or allowed, and why.
        """
        account = _account(self.entries).copy()
        entries, previous = list(self.entries), self.entries[-1].hash if self.entries else GENESIS
        for position, entry in enumerate(fresh, start=len(self.entries) + 1):
            body = entry.signed_bytes()
            if entry.seq != position or entry.previous_hash != previous:
                raise LedgerBroken(
                    position, "does not follow the entry before it: one was removed, added or moved"
                )
            if entry.hash != sha256_hex(body):
                raise LedgerBroken(position, "its hash is not that of its content")
            check_signature(public_key, ENTRY_LABEL, body, entry.signature, position)
            account.step(entry.record, position)
            previous = entry.hash
            entries.append(entry)
        return type(self)(Folded.of(entries, account))


@dataclass(frozen=True, slots=True)
class RoundState:
    """Where one round stands: reserved, spent or aborted, and what it was charged."""

    kind: EntryKind
    release: Charge


def fold(entries: Iterable[Entry]) -> dict[Key, RoundState]:
    """State of every round that was ever reserved, in the order of reservation.

    Raises:
        LedgerBroken: an entry does not follow from those before it.
    """
    return dict(_account(entries).rounds)


def verify_chain(entries: Sequence[Entry], public_key: bytes) -> None:
    """Return only if every entry is numbered, chained, signed and allowed.

    Raises:
        LedgerBroken: the first entry that is not, and why.
    """
    Ledger().followed_by(entries, public_key)


def check_signature(public_key: bytes, tag: bytes, body: bytes, signature: str, position: int) -> None:
    """Verify a hexadecimal signature in its one spelling."""
    try:
        raw = bytes.fromhex(signature)
        verify(public_key, tag, body, raw, what="ledger")
    except (ValueError, BadSignature):
        raise LedgerBroken(position, "is not signed by this hospital") from None
    if raw.hex() != signature:
        raise LedgerBroken(position, "spells its signature in another way than the hospital does")


@dataclass(frozen=True, slots=True)
class _Account:
    """Where every round stands and which studies are closed; grows by one record after the other."""

    rounds: dict[Key, RoundState]
    closed: set[str]

    def copy(self) -> "_Account":
        """One to go on with."""
        return _Account(dict(self.rounds), set(self.closed))

    def step(self, record: Record, seq: int) -> None:
        """Apply one record.

        Raises:
            LedgerBroken: the record does not follow from those before it.
        """
        state = self.rounds.get(record.key)
        where = f"round {record.round} of study {record.study_id}"
        if record.study_hash in self.closed and _releases(record):
            raise LedgerBroken(
                seq, f"{where} comes after the study was closed; nothing more of it is released"
            )
        match record.kind:
            case "NOTE":
                if record.release is not None:
                    raise LedgerBroken(seq, "a note releases nothing")
            case "CLOSE":
                if record.study_hash in self.closed or record.round or record.release is not None:
                    raise LedgerBroken(seq, f"study {record.study_id} is closed once, and as a whole")
                self.closed.add(record.study_hash)
            case "RESERVE":
                if state is not None:
                    raise LedgerBroken(seq, f"{where} is reserved already; a retry is a new round")
                if record.release is None:
                    raise LedgerBroken(seq, f"{where} reserves no release")
                self.rounds[record.key] = RoundState("RESERVE", record.release)
            case "SPENT":
                if state is None or state.kind != "RESERVE":
                    raise LedgerBroken(seq, f"{where} is spent without an open reservation")
                if record.release != state.release:
                    raise LedgerBroken(seq, f"{where} spends another release than it reserved")
                self.rounds[record.key] = RoundState("SPENT", state.release)
            case "ABORT":
                if state is None or state.kind == "ABORT" or record.release is not None:
                    raise LedgerBroken(
                        seq, f"{where} cannot be aborted: it is not reserved, or aborted already"
                    )
                # An aborted round stays charged: something may have left before the abort.
                self.rounds[record.key] = RoundState("ABORT", state.release)
            case _ as unreachable:
                assert_never(unreachable)


def _releases(record: Record) -> bool:
    """Whether something leaves on the strength of this record; a note of a round is what mode none has instead."""
    return record.kind in ("RESERVE", "SPENT") or (record.kind == "NOTE" and record.round > 0)


def _account(entries: Iterable[Entry]) -> _Account:
    if isinstance(entries, Folded):
        return entries.account
    account = _Account({}, set())
    for entry in entries:
        account.step(entry.record, entry.seq)
    return account


def _signed_bytes(seq: int, record: Record, previous_hash: str) -> bytes:
    return canonical({"seq": seq, "record": record.to_json(), "previous_hash": previous_hash})
