"""A ledger as it travels: signed JSON lines under a seal, read back only if every byte is the hospital's."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from privacy.ledgers.charges import highest_round, is_closed
from privacy.ledgers.ledger import (
    GENESIS,
    Entry,
    Ledger,
    LedgerBroken,
    Sign,
    check_signature,
)
from privacy.ledgers.told_noise import Runs, runs_from_json, runs_to_json
from privacy.link.canonical import NotCanonicalError, canonical, each_line, parse_canonical
from secagg.context import label

# About 45,000 entries; read in at most 3 times its length.
MAXIMUM_EXPORT_BYTES = 32 << 20
# A seal that states every second one of 10,000 rounds has 70,000 bytes.
MAXIMUM_SEAL_BYTES = 1 << 18
SEAL_LABEL = label(None, "ledger seal")


@dataclass(frozen=True, slots=True)
class Sealed:
    """An export after everything about it was verified.

    Attributes:
        entries: the whole chain.
        study_hash: the study that the hospital was asked about, hexadecimal; "" for none.
        final: the chain closes that study: its charges in `entries` are all that there will ever be.
        highest_round: the highest round of that study that is charged, or noted in mode none; 0 for none.
        time_iso: when the hospital sealed it, by its own clock.
        told: rounds of that study in which the hospital told its spare noise, or may have; None where the seal says nothing of it.
    """

    entries: tuple[Entry, ...]
    study_hash: str
    final: bool
    highest_round: int
    time_iso: str
    told: Runs | None = None


def export(
    entries: Sequence[Entry],
    time_iso: str,
    sign_seal: Sign,
    *,
    study_hash: str = "",
    told: Runs | None = None,
) -> bytes:
    """JSON lines of all entries and, last, the hospital's seal over their number, their head and where one study stands.

    Args:
        entries: the whole chain.
        time_iso: when the hospital says so.
        sign_seal: signature of the hospital's identity under `SEAL_LABEL`.
        study_hash: the study it is exported for; the seal is final where the chain closes it.
        told: as `Sealed` has it.
    """
    seal = canonical(_seal_body(entries, study_hash, time_iso, told))
    last = canonical({"seal": seal.decode(), "signature": sign_seal(seal).hex()})
    return b"".join(line + b"\n" for line in (*(entry.to_line() for entry in entries), last))


def read_export(data: bytes, public_key: bytes) -> tuple[Entry, ...]:
    """The entries of an export; raises as `read_sealed` does."""
    return read_sealed(data, public_key).entries


def read_sealed(data: bytes, public_key: bytes) -> Sealed:
    """An export and what its seal says, after everything about it has been verified.

    Args:
        data: what `export` wrote.
        public_key: the hospital's identity key, from the roster.

    Raises:
        LedgerBroken: any byte differs from what the hospital signed.
    """
    if len(data) > MAXIMUM_EXPORT_BYTES:
        raise LedgerBroken(
            0, f"the export has {len(data)} bytes, and at most {MAXIMUM_EXPORT_BYTES} are read"
        )
    if not data.endswith(b"\n"):
        raise LedgerBroken(0, "the export is cut: it does not end with a sealed line")
    end = data.rfind(b"\n", 0, len(data) - 1) + 1
    entries = Ledger().followed_by(_entries(each_line(data, end)), public_key).entries
    return _read_seal(data[end:-1], entries, public_key)


def _entries(lines: Iterable[bytes]) -> Iterator[Entry]:
    for position, line in enumerate(lines, start=1):
        try:
            entry = Entry.from_line(line)
        except ValueError as error:
            raise LedgerBroken(position, str(error)) from None
        yield entry


def _read_seal(line: bytes, entries: tuple[Entry, ...], public_key: bytes) -> Sealed:
    """The last line: signed, and about these entries."""
    position = len(entries) + 1
    try:
        value = parse_canonical(line, MAXIMUM_SEAL_BYTES)
    except NotCanonicalError as error:
        raise LedgerBroken(position, str(error)) from None
    match value:
        case {"seal": str(seal), "signature": str(signature), **rest} if not rest:
            check_signature(public_key, SEAL_LABEL, seal.encode(), signature, position)
        case _:
            raise LedgerBroken(position, "the last line is not a seal")
    match parse_canonical(seal.encode(), MAXIMUM_SEAL_BYTES):
        case {"study_hash": str(study_hash), "time_iso": str(time_iso)} as body:
            told = _told(body.get("told"), position)
            if body == _seal_body(entries, study_hash, time_iso, told):
                return Sealed(entries, study_hash, body["final"], body["highest_round"], time_iso, told)
    raise LedgerBroken(position, "the seal is about another chain than the entries above it")


def _told(value: object, position: int) -> Runs | None:
    if value is None:
        return None
    try:
        return runs_from_json(value)
    except ValueError as error:
        raise LedgerBroken(position, f"the seal's rounds of spare noise cannot be read: {error}") from None


def _seal_body(
    entries: Sequence[Entry], study_hash: str, time_iso: str, told: Runs | None
) -> dict[str, object]:
    """What the hospital signs; everything but the study, the time and the rounds of spare noise follows from the entries."""
    return {
        "count": len(entries),
        "head": entries[-1].hash if entries else GENESIS,
        "study_hash": study_hash,
        "final": is_closed(entries, study_hash),
        "highest_round": highest_round(entries, study_hash),
        "time_iso": time_iso,
        **({} if told is None else {"told": runs_to_json(told)}),
    }
