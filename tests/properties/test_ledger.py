"""Whatever happens in whatever order, what was charged never shrinks and the chain verifies."""

from collections import Counter
from contextlib import suppress

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from privacy.guarantees.accounting import spent
from privacy.guarantees.composition import gdp_epsilon
from privacy.guarantees.release import Release
from privacy.ledgers.account import Account
from privacy.ledgers.charges import charged
from privacy.ledgers.data_epoch import begun_epoch, by_epoch, epoch_name, epoch_note, in_epoch
from privacy.ledgers.ledger import (
    ENTRY_LABEL,
    GENESIS,
    Entry,
    EntryKind,
    Ledger,
    LedgerBroken,
    Record,
    account_of,
    fold,
    verify_chain,
)
from privacy.ledgers.policy import PolicyRefusal, check
from secagg.identity import public_key, sign
from secagg.secret import SecretBytes
from tests.unit.privacy.ledgers.test_policy import NOW, POLICY, STEP, asking

SEED = SecretBytes(b"\x07" * 32)
RELEASES = (Release("a", "gaussian", 5.0), Release("b", "poisson_gaussian", 2.0, sample_rate=0.1, steps=20))

OPERATION = st.tuples(
    st.sampled_from(["RESERVE", "SPENT", "ABORT", "NOTE", "CLOSE"]),
    st.sampled_from(["11" * 32, "22" * 32]),
    st.integers(0, 2),
    st.sampled_from([*RELEASES, None]),
)
OPERATIONS = st.lists(OPERATION, max_size=12)


@pytest.mark.threat("FL-15", control="C-LEDGER")
@settings(deadline=None, max_examples=60)
@given(OPERATIONS)
def test_charges_only_grow(operations: list[tuple[EntryKind, str, int, Release | None]]) -> None:
    ledger = Ledger()
    for kind, study, number, release in operations:
        before = charged(ledger.entries)
        record = Record(kind, "2026-01-01T00:00:00Z", study, "s", "00", number, release)
        try:
            ledger = ledger.append(record, lambda body: sign(SEED, ENTRY_LABEL, body))
        except LedgerBroken:
            assert charged(ledger.entries) == before
            continue
        after = charged(ledger.entries)
        assert after[: len(before)] == before
        assert len(after) == len(before) + (kind == "RESERVE")
    verify_chain(ledger.entries, public_key(SEED))


# A study that spends, aborts twice, and goes on in a new epoch beside another.
LIFE: list[tuple[tuple[EntryKind, str, int, Release | None], str]] = [
    (("RESERVE", "11" * 32, 1, RELEASES[0]), ""),
    (("SPENT", "11" * 32, 1, RELEASES[0]), ""),
    (("RESERVE", "11" * 32, 2, RELEASES[1]), ""),
    (("ABORT", "11" * 32, 1, None), ""),
    (("NOTE", "22" * 32, 3, None), epoch_note("2030")),
    (("ABORT", "11" * 32, 2, None), ""),
    (("RESERVE", "11" * 32, 3, RELEASES[1]), ""),
    (("RESERVE", "22" * 32, 1, RELEASES[1]), ""),
    (("NOTE", "22" * 32, 2, None), ""),
    (("CLOSE", "11" * 32, 0, None), ""),
]
EPOCH_NOTES = st.sampled_from(["", epoch_note("2030"), epoch_note("2031"), "data epoch '2032' begins"])


def by_reading(entries: tuple[Entry, ...]) -> Account:
    """What an account says, each part by itself from all the entries."""
    states, present = fold(entries), fold(in_epoch(entries))
    name = epoch_name(entries)
    before = [
        position for position, entry in enumerate(entries, 1) if name and begun_epoch(entry.record) == name
    ]
    begun: dict[str, set[int]] = {}
    charges: dict[tuple[str, str], int] = {}
    for entry in entries:
        if entry.kind in ("RESERVE", "NOTE"):
            begun.setdefault(entry.record.study_hash, set()).add(entry.record.round)
    for key, state in present.items():
        if isinstance(state.release, Release):
            charge = (key[0], state.release.name)
            charges[charge] = charges.get(charge, 0) + state.release.steps
    return Account(
        states,
        frozenset(e.record.study_hash for e in entries if e.kind == "CLOSE"),
        dict(Counter(key[0] for key, state in states.items() if state.kind == "ABORT")),
        begun,
        tuple(name for name, _ in by_epoch(entries) if name),
        frozenset(entry.record.study_hash for entry in entries[: min(before, default=0)]),
        charges,
        frozenset(entry.record.study_hash for entry in entries),
    )


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(OPERATION, EPOCH_NOTES), max_size=16))
@example(LIFE)
def test_what_a_ledger_knows_is_what_its_entries_say(
    operations: list[tuple[tuple[EntryKind, str, int, Release | None], str]],
) -> None:
    """Also of each ledger on the way, after the next ones grew from it, and of what another process reads."""
    ledgers = [Ledger()]
    for (kind, study, number, release), note in operations:
        if note:
            kind, study, number, release = "NOTE", GENESIS, 0, None
        record = Record(kind, "2026-01-01T00:00:00Z", study, "s", "00", number, release, note)
        with suppress(LedgerBroken):
            ledgers.append(ledgers[-1].append(record, lambda body: sign(SEED, ENTRY_LABEL, body)))
    for ledger in ledgers:
        expected = by_reading(tuple(ledger.entries))
        assert account_of(ledger.entries) == account_of(list(ledger.entries)) == expected
        assert account_of(ledger.entries).epoch == epoch_name(ledger.entries)
    middle = ledgers[len(ledgers) // 2]
    fresh = ledgers[-1].entries[len(middle.entries) :]
    read = middle.followed_by(fresh, public_key(SEED))
    assert account_of(read.entries) == account_of(ledgers[-1].entries)


HISTORY = st.lists(
    st.tuples(st.sampled_from(["run", "abort", "retry", "crash", "refused"]), st.integers(1, 3)), max_size=8
)


@pytest.mark.threat("FL-15", control="C-LEDGER")
@settings(deadline=None, max_examples=20)
@given(HISTORY)
def test_nothing_that_happens_to_a_study_lowers_what_was_spent(steps: list[tuple[str, int]]) -> None:
    """Rounds that run, are aborted, retried in a new session, cut off by a crash, or refused because the budget is used up."""
    ledger, session, last = Ledger(), 0, 0.0
    policy = POLICY.model_copy(update={"aborted_rounds_maximum": 99})
    reached: set[tuple[int, int]] = set()
    for what, number in steps:
        if what == "retry":
            session += 1
        if what == "refused":
            with pytest.raises(PolicyRefusal) as caught:
                check(policy, asking(2.99, study_id="greedy", study_hash="ef" * 32), (*_full().entries,), NOW)
            assert caught.value.exit_code == 4
        elif (session, number) not in reached:
            reached.add((session, number))
            kinds: dict[str, tuple[EntryKind, ...]] = {
                "run": ("RESERVE", "SPENT"),
                "abort": ("RESERVE", "SPENT", "ABORT"),
            }
            for kind in kinds.get(what, ("RESERVE",)):
                paid = None if kind == "ABORT" else STEP
                record = Record(kind, "2026-01-01T00:00:00Z", "11" * 32, "s", f"{session:02x}", number, paid)
                ledger = ledger.append(record, lambda body: sign(SEED, ENTRY_LABEL, body))
        now = spent(charged(ledger.entries), 1e-5).number()
        assert now >= last
        assert now == pytest.approx(gdp_epsilon(len(reached) ** 0.5 / STEP.accounted_multiplier(), 1e-5))
        last = now


def _full() -> Ledger:
    """A ledger whose budget is used up."""
    ledger = Ledger()
    for number in range(1, 11):
        record = Record("RESERVE", "2026-01-01T00:00:00Z", "cd" * 32, "full", "00", number, STEP)
        ledger = ledger.append(record, lambda body: sign(SEED, ENTRY_LABEL, body))
    return ledger
