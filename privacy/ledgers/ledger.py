"""The hospital's account of what has been released about its patients: a signed hash chain, folded purely.

RESERVE is written before anything is computed, SPENT before anything is sent. A reservation is charged whether or not
it was spent: a crash, an abort or a retry never lowers what was spent. CLOSE ends a study: nothing of it is released behind it,
so that a ledger which holds it is the whole account of that study.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from privacy.ledgers.account import Account
from privacy.ledgers.account import RoundState as RoundState
from privacy.ledgers.entry import ENTRY_LABEL as ENTRY_LABEL
from privacy.ledgers.entry import GENESIS as GENESIS
from privacy.ledgers.entry import MAXIMUM_LINE_BYTES as MAXIMUM_LINE_BYTES
from privacy.ledgers.entry import Entry as Entry
from privacy.ledgers.entry import EntryKind as EntryKind
from privacy.ledgers.entry import Key as Key
from privacy.ledgers.entry import LedgerBroken as LedgerBroken
from privacy.ledgers.entry import Record as Record
from privacy.ledgers.entry import signed_bytes
from privacy.link.canonical import sha256_hex
from secagg.errors import BadSignature
from secagg.identity import verify

Sign = Callable[[bytes], bytes]


class Folded(tuple[Entry, ...]):
    """Entries that were folded already: a round asks a dozen times where its ledger stands, and the ledger grows."""

    account: Account

    @classmethod
    def of(cls, entries: Iterable[Entry], account: Account) -> Self:
        """The entries with what they come to."""
        folded = cls(entries)
        folded.account = account
        return folded


@dataclass(frozen=True, slots=True)
class Ledger:
    """A chain whose every step obeyed the rules: a key is reserved once, then spent or aborted once."""

    entries: tuple[Entry, ...] = ()

    @property
    def rounds(self) -> Mapping[Key, RoundState]:
        """As `fold` of the entries; known already behind an append."""
        return account_of(self.entries).rounds

    def append(self, record: Record, sign: Sign) -> Self:
        """The ledger with one entry more.

        Args:
            record: what happened.
            sign: signature of the hospital's identity under `ENTRY_LABEL`.

        Raises:
            LedgerBroken: the record does not follow from the entries before it.
        """
        seq = len(self.entries) + 1
        account = account_of(self.entries).copy()
        account.step(record, seq)
        previous = self.entries[-1].hash if self.entries else GENESIS
        body = signed_bytes(seq, record, previous)
        entry = Entry(seq, record, previous, sha256_hex(body), sign(body).hex())
        return type(self)(Folded.of((*self.entries, entry), account))

    def followed_by(self, fresh: Iterable[Entry], public_key: bytes) -> Self:
        """The ledger with entries that somebody else appended, each of them checked before the next is looked at.

        Raises:
            LedgerBroken: the first one that is not numbered, chained, signed or allowed, and why.
        """
        account = account_of(self.entries).copy()
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


def fold(entries: Iterable[Entry]) -> dict[Key, RoundState]:
    """State of every round that was ever reserved, in the order of reservation.

    Raises:
        LedgerBroken: an entry does not follow from those before it.
    """
    return dict(account_of(entries).rounds)


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


def account_of(entries: Iterable[Entry]) -> Account:
    """What the entries come to; known already of a ledger's own.

    Raises:
        LedgerBroken: an entry does not follow from those before it.
    """
    if isinstance(entries, Folded):
        return entries.account
    account = Account()
    for entry in entries:
        account.step(entry.record, entry.seq)
    return account
