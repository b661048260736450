"""Data epochs: a budget is about people, and a hospital whose table holds new people begins a new one.

A note in the ledger says where an epoch begins, in the hospital's own words and signature. What earlier epochs were charged stays in the chain and
in every total; the budget of the policy is asked of the present epoch alone. That is right exactly where no patient of it is
in an earlier one, which nobody but the hospital can know: it is the hospital's statement.
"""

from collections.abc import Sequence

from privacy.ledger import GENESIS, Entry

_BEGINS = "data epoch {name!r} begins: no patient of its table is in the table of an earlier epoch"


def epoch_note(name: str) -> str:
    """The sentence that begins an epoch.

    Raises:
        ValueError: a name that is empty, or not printable ASCII of at most 40 characters.
    """
    if not (0 < len(name) <= 40 and name.isascii() and name.isprintable() and "'" not in name):
        raise ValueError("the name of a data epoch is 1 to 40 printable characters, as in '2026 extract'")
    return _BEGINS.format(name=name)


def epoch_name(entries: Sequence[Entry]) -> str:
    """The present epoch; "" where none was ever begun."""
    return next((name for entry in reversed(entries) if (name := _begun(entry))), "")


def in_epoch(entries: Sequence[Entry]) -> Sequence[Entry]:
    """What was written since the present epoch began."""
    first = next((i + 1 for i in range(len(entries) - 1, -1, -1) if _begun(entries[i])), 0)
    return entries[first:]


def _begun(entry: Entry) -> str:
    """The epoch that an entry begins, or ""."""
    record = entry.record
    if record.kind != "NOTE" or record.study_hash != GENESIS:
        return ""
    before, _, rest = record.note.partition("'")
    name = rest.partition("'")[0]
    return name if before == "data epoch " and name and record.note == _BEGINS.format(name=name) else ""
