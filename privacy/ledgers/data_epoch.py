"""Data epochs: a budget is about people, and a hospital whose table holds new people begins a new one.

A note in the ledger says where an epoch begins, in the hospital's own words and signature. What earlier epochs were charged stays in the chain and
in every total; the budget of the policy is asked of the present epoch alone. That is right exactly where no patient of it is
in an earlier one, which nobody but the hospital can know: it is the hospital's statement. Where patients have ids its node compares them with
those of every earlier epoch (hospital_node/epoch_marks.py) before it charges anything, refuses a patient who is in two, and says so in a second note.
"""

from collections.abc import Sequence

from privacy.ledgers.entry import GENESIS, Entry, Key, Record

_BEGINS = "data epoch {name!r} begins: no patient of its table is in the table of an earlier epoch"


_COMPARED = "data epoch {name!r}: no id of its table is among the ids of an earlier epoch's tables"


def compared_note(name: str) -> str:
    """What the node writes, once an epoch, when it has compared the ids."""
    return _COMPARED.format(name=name)


def is_compared(entries: Sequence[Entry]) -> bool:
    """Whether the present epoch's ids were compared with those of every earlier one; also where there is no earlier one."""
    name, first = _present(entries)
    return not earlier_epochs(entries) or any(
        entry.record.study_hash == GENESIS and entry.record.note == compared_note(name)
        for entry in entries[first:]
    )


def earlier_epochs(entries: Sequence[Entry]) -> tuple[str, ...]:
    """The epochs before the present one in which anything was released; "" stands for the time before the first."""
    name, present = _present(entries)
    found, epoch = dict[str, None](), ""
    for entry in entries[:present]:
        epoch = begun_epoch(entry.record) or epoch
        if entry.kind == "RESERVE" or (entry.kind == "NOTE" and entry.record.round > 0):
            found[epoch] = None
    return tuple(earlier for earlier in found if earlier != name)


def epoch_note(name: str) -> str:
    """The sentence that begins an epoch.

    Raises:
        ValueError: a name that is empty, or not printable ASCII of at most 40 characters.
    """
    if not (0 < len(name) <= 40 and name.isascii() and name.isprintable() and "'" not in name):
        raise ValueError("the name of a data epoch is 1 to 40 printable characters, as in '2026 extract'")
    return _BEGINS.format(name=name)


def check_new(entries: Sequence[Entry], name: str) -> None:
    """A name begins one epoch: the same one again would give the same patients a second budget.

    Raises:
        ValueError: the name was used before.
    """
    if any(begun_epoch(entry.record) == name for entry in entries):
        raise ValueError(
            f"data epoch {name!r} was begun before, and its budget is used on; new patients need a new name"
        )


def epoch_name(entries: Sequence[Entry]) -> str:
    """The present epoch; "" where none was ever begun."""
    return _present(entries)[0]


def in_epoch(entries: Sequence[Entry]) -> Sequence[Entry]:
    """What was written since the present epoch began, without the end of rounds that an earlier one was charged for.

    Such an end (SPENT, ABORT) may come late, from a node that was at work when the epoch began, and belongs to its reservation.
    """
    first = _present(entries)[1]
    if not first:
        return entries
    earlier = {entry.record.key for entry in entries[:first] if entry.kind == "RESERVE"}
    return tuple(
        e for e in entries[first:] if e.kind not in ("SPENT", "ABORT") or e.record.key not in earlier
    )


def by_epoch(entries: Sequence[Entry]) -> tuple[tuple[str, tuple[Entry, ...]], ...]:
    """Every epoch in its order, "" for the time before the first, with what was written in it; the end of a round belongs to its reservation."""
    found: dict[str, list[Entry]] = {"": []}
    at, home = "", dict[Key, str]()
    for entry in entries:
        if (name := begun_epoch(entry.record)) and name not in found:
            at = name
            found[at] = []
        if entry.kind == "RESERVE":
            home[entry.record.key] = at
        late = entry.kind in ("SPENT", "ABORT")
        found[home.get(entry.record.key, at) if late else at].append(entry)
    return tuple((name, tuple(own)) for name, own in found.items())


def _present(entries: Sequence[Entry]) -> tuple[str, int]:
    """Name of the present epoch and the position of its first entry; a name that was used before begins nothing."""
    seen, present = set[str](), ("", 0)
    for position, entry in enumerate(entries, start=1):
        if entry.record.kind == "NOTE" and (name := begun_epoch(entry.record)) and name not in seen:
            seen.add(name)
            present = (name, position)
    return present


def begun_epoch(record: Record) -> str:
    """The epoch that a record begins, or ""; a name that was used before begins nothing."""
    if record.kind != "NOTE" or record.study_hash != GENESIS:
        return ""
    before, _, rest = record.note.partition("'")
    name = rest.partition("'")[0]
    return name if before == "data epoch " and name and record.note == _BEGINS.format(name=name) else ""
