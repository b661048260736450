"""A ledger as it travels: signed JSON lines under a seal, read back only if every byte is the hospital's."""

from collections.abc import Sequence

from privacy.canonical import NotCanonicalError, canonical, parse_canonical
from privacy.ledger import (
    GENESIS,
    MAXIMUM_LINE_BYTES,
    Entry,
    LedgerBroken,
    Sign,
    check_signature,
    verify_chain,
)
from secagg.context import label

SEAL_LABEL = label(None, "ledger seal")


def export(entries: Sequence[Entry], time_iso: str, sign_seal: Sign) -> bytes:
    """JSON lines of all entries and, last, the hospital's seal over their number and head.

    Args:
        entries: the whole chain.
        time_iso: when the hospital says so.
        sign_seal: signature of the hospital's identity under `SEAL_LABEL`.
    """
    head = entries[-1].hash if entries else GENESIS
    seal = canonical({"count": len(entries), "head": head, "time_iso": time_iso})
    last = canonical({"seal": seal.decode(), "signature": sign_seal(seal).hex()})
    return b"".join(line + b"\n" for line in (*(entry.to_line() for entry in entries), last))


def read_export(data: bytes, public_key: bytes) -> tuple[Entry, ...]:
    """The entries of an export, after everything about it has been verified.

    Args:
        data: what `export` wrote.
        public_key: the hospital's identity key, from the roster.

    Raises:
        LedgerBroken: any byte differs from what the hospital signed.
    """
    lines = data.split(b"\n")
    if len(lines) < 2 or lines[-1]:
        raise LedgerBroken(0, "the export is cut: it does not end with a sealed line")
    entries = []
    for position, line in enumerate(lines[:-2], start=1):
        try:
            entries.append(Entry.from_line(line))
        except ValueError as error:
            raise LedgerBroken(position, str(error)) from None
    verify_chain(entries, public_key)
    _check_seal(lines[-2], entries, public_key)
    return tuple(entries)


def _check_seal(line: bytes, entries: Sequence[Entry], public_key: bytes) -> None:
    """The last line: signed, and about these entries."""
    position = len(entries) + 1
    try:
        value = parse_canonical(line, MAXIMUM_LINE_BYTES)
    except NotCanonicalError as error:
        raise LedgerBroken(position, str(error)) from None
    match value:
        case {"seal": str(seal), "signature": str(signature), **rest} if not rest:
            check_signature(public_key, SEAL_LABEL, seal.encode(), signature, position)
        case _:
            raise LedgerBroken(position, "the last line is not a seal")
    head = entries[-1].hash if entries else GENESIS
    match parse_canonical(seal.encode(), MAXIMUM_LINE_BYTES):
        case {"count": count, "head": str(sealed), "time_iso": str()} if (count, sealed) == (
            len(entries),
            head,
        ):
            return
    raise LedgerBroken(position, "the seal is about another chain than the entries above it")
