"""Whatever happens in whatever order, what was charged never shrinks and the chain verifies."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privacy.guarantees.accounting import spent
from privacy.guarantees.composition import gdp_epsilon
from privacy.guarantees.release import Release
from privacy.ledgers.charges import charged
from privacy.ledgers.ledger import ENTRY_LABEL, EntryKind, Ledger, LedgerBroken, Record, verify_chain
from privacy.ledgers.policy import PolicyRefusal, check
from secagg.identity import public_key, sign
from secagg.secret import SecretBytes
from tests.unit.privacy.ledgers.test_policy import NOW, POLICY, STEP, asking

SEED = SecretBytes(b"\x07" * 32)
RELEASES = (Release("a", "gaussian", 5.0), Release("b", "poisson_gaussian", 2.0, sample_rate=0.1, steps=20))

OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(["RESERVE", "SPENT", "ABORT", "NOTE", "CLOSE"]),
        st.sampled_from(["11" * 32, "22" * 32]),
        st.integers(0, 2),
        st.sampled_from([*RELEASES, None]),
    ),
    max_size=12,
)


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
