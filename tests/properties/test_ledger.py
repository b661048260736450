"""Whatever happens in whatever order, what was charged never shrinks and the chain verifies."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privacy.ledger import ENTRY_LABEL, Ledger, LedgerBroken, Record, charged, verify_chain
from privacy.plan import Release
from secagg.identity import public_key, sign
from secagg.secret import SecretBytes

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
def test_charges_only_grow(operations: list[tuple[str, str, int, Release | None]]) -> None:
    ledger = Ledger()
    for kind, study, number, release in operations:
        before = charged(ledger.entries)
        record = Record(kind, "2026-01-01T00:00:00Z", study, "s", "00", number, release)  # type: ignore[arg-type]
        try:
            ledger = ledger.append(record, lambda body: sign(SEED, ENTRY_LABEL, body))
        except LedgerBroken:
            assert charged(ledger.entries) == before
            continue
        after = charged(ledger.entries)
        assert after[: len(before)] == before
        assert len(after) == len(before) + (kind == "RESERVE")
    verify_chain(ledger.entries, public_key(SEED))
