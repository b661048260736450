"""The ledger's chain, its rules, and what counts as charged."""

import subprocess
import sys
from dataclasses import replace

import pytest

from privacy.guarantees.guarantee import Guarantee
from privacy.guarantees.release import Release
from privacy.ledgers.charges import charged, cumulative
from privacy.ledgers.ledger import (
    ENTRY_LABEL,
    GENESIS,
    Entry,
    EntryKind,
    Ledger,
    LedgerBroken,
    Record,
    fold,
    verify_chain,
)
from privacy.ledgers.ledger_export import SEAL_LABEL, Sealed, export, read_export, read_sealed
from privacy.link.canonical import canonical, parse_canonical, sha256_hex
from secagg.identity import public_key, sign
from secagg.secret import SecretBytes

SEED = SecretBytes(bytes(range(32)))
PUBLIC = public_key(SEED)
STUDY, OTHER = "ab" * 32, "cd" * 32
SESSION = "01" * 16
TABLE = Release("life_table", "gaussian", 12.0)
TRAIN = Release("train", "poisson_gaussian", 2.3, sample_rate=0.1, steps=20)


def sign_entry(body: bytes) -> bytes:
    return sign(SEED, ENTRY_LABEL, body)


def record(kind: EntryKind, number: int, release: Release | None = None, study: str = STUDY) -> Record:
    return Record(kind, "2026-01-31T12:00:00Z", study, "demo", SESSION, number, release)


def chain(*records: Record) -> tuple[Entry, ...]:
    ledger = Ledger()
    for each in records:
        ledger = ledger.append(each, sign_entry)
    return ledger.entries


ENTRIES = chain(
    record("RESERVE", 0, TABLE),
    record("SPENT", 0, TABLE),
    record("RESERVE", 1, TRAIN),
    record("ABORT", 1),
    record("NOTE", 1),
    record("RESERVE", 2, TRAIN),
)


def sealed(entries: tuple[Entry, ...] = ENTRIES, study: str = STUDY) -> bytes:
    return export(
        entries, "2026-02-01T00:00:00Z", lambda body: sign(SEED, SEAL_LABEL, body), study_hash=study
    )


def test_a_chain_verifies_and_says_where_each_round_stands() -> None:
    verify_chain(ENTRIES, PUBLIC)
    assert [state.kind for state in fold(ENTRIES).values()] == ["SPENT", "ABORT", "RESERVE"]


@pytest.mark.threat("FL-15", control="C-LEDGER")
def test_reserved_spent_and_aborted_rounds_are_all_charged_once() -> None:
    assert charged(ENTRIES) == (TABLE, TRAIN, TRAIN)
    assert charged(()) == ()


def test_cumulative_is_the_accountants_figure_over_all_studies() -> None:
    both = chain(record("RESERVE", 0, TABLE), record("RESERVE", 0, TABLE, OTHER))
    one = cumulative(both[:1], 1e-5).number()
    two = cumulative(both, 1e-5).number()
    assert one < two < 2 * one
    assert isinstance(cumulative((), 1e-5), Guarantee)
    assert cumulative((), 1e-5).number() == 0


@pytest.mark.threat("FL-15", control="C-LEDGER")
@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (record("RESERVE", 0, TABLE), "reserved already"),
        (record("RESERVE", 1, TRAIN), "reserved already"),
        (record("RESERVE", 3), "reserves no release"),
        (record("SPENT", 3, TRAIN), "without an open reservation"),
        (record("SPENT", 0, TABLE), "without an open reservation"),
        (record("SPENT", 1, TRAIN), "without an open reservation"),
        (record("SPENT", 2, TABLE), "another release"),
        (record("SPENT", 2), "another release"),
        (record("SPENT", 2, TRAIN, OTHER), "without an open reservation"),
        (record("ABORT", 3), "cannot be aborted"),
        (record("ABORT", 1), "cannot be aborted"),
        (record("ABORT", 2, TRAIN), "cannot be aborted"),
        (record("NOTE", 2, TRAIN), "a note releases nothing"),
    ],
)
def test_a_step_out_of_turn_is_refused(bad: Record, why: str) -> None:
    with pytest.raises(LedgerBroken, match=why):
        Ledger(ENTRIES).append(bad, sign_entry)


def test_an_aborted_round_may_have_been_spent() -> None:
    after = Ledger(ENTRIES).append(record("ABORT", 0), sign_entry)
    assert charged(after.entries) == charged(ENTRIES)


@pytest.mark.threat("FL-35", control="C-LOG")
def test_an_entry_removed_moved_or_changed_breaks_the_chain() -> None:
    with pytest.raises(LedgerBroken, match="follow"):
        verify_chain(ENTRIES[1:], PUBLIC)
    with pytest.raises(LedgerBroken, match="follow"):
        verify_chain(ENTRIES[:2] + ENTRIES[3:], PUBLIC)
    cheaper = replace(ENTRIES[2].record, release=replace(TRAIN, noise_multiplier=20.0))
    with pytest.raises(LedgerBroken, match="hash"):
        verify_chain((*ENTRIES[:2], replace(ENTRIES[2], record=cheaper)), PUBLIC)


@pytest.mark.threat("FL-22", control="C-SIGNEDLEDGER")
def test_a_chain_of_another_signer_is_refused() -> None:
    stranger = SecretBytes(bytes(32))
    forged = Ledger().append(record("RESERVE", 0, TABLE), lambda body: sign(stranger, ENTRY_LABEL, body))
    with pytest.raises(LedgerBroken, match="signed"):
        verify_chain(forged.entries, PUBLIC)
    wrong_use = Ledger().append(record("RESERVE", 0, TABLE), lambda body: sign(SEED, SEAL_LABEL, body))
    with pytest.raises(LedgerBroken, match="signed"):
        verify_chain(wrong_use.entries, PUBLIC)


def test_verification_applies_the_rules_as_well() -> None:
    # Signed by the hospital itself, but against its own rules: spent without a reservation.
    draft = Entry(1, replace(ENTRIES[0].record, kind="SPENT"), GENESIS, "", "")
    body = draft.signed_bytes()
    rogue = replace(draft, hash=sha256_hex(body), signature=sign_entry(body).hex())
    with pytest.raises(LedgerBroken, match="without an open reservation"):
        verify_chain((rogue,), PUBLIC)


@pytest.mark.threat("FL-15", control="C-LEDGER")
def test_a_closed_study_releases_nothing_more() -> None:
    closed = (*(entry.record for entry in ENTRIES), record("CLOSE", 0))
    for late in (record("RESERVE", 3, TRAIN), record("SPENT", 2, TRAIN), record("NOTE", 3)):
        with pytest.raises(LedgerBroken, match="after the study was closed"):
            chain(*closed, late)
    with pytest.raises(LedgerBroken, match="closed once"):
        chain(*closed, record("CLOSE", 0))
    # Other studies go on, and that a round came to nothing may still be said.
    chain(*closed, record("ABORT", 2), record("NOTE", 0), record("RESERVE", 3, TRAIN, OTHER))


@pytest.mark.threat("FL-35", control="C-LOG")
def test_the_seal_says_whether_the_account_of_a_study_is_whole() -> None:
    closed = chain(*(entry.record for entry in ENTRIES), record("CLOSE", 0))
    time = "2026-02-01T00:00:00Z"
    assert read_sealed(sealed(ENTRIES, STUDY), PUBLIC) == Sealed(ENTRIES, STUDY, False, 2, time)
    assert read_sealed(sealed(closed, STUDY), PUBLIC) == Sealed(closed, STUDY, True, 2, time)
    assert read_sealed(sealed(closed, OTHER), PUBLIC) == Sealed(closed, OTHER, False, 0, time)
    # The hospital's own key does not make an open account final.
    body = sealed(ENTRIES, STUDY).splitlines()[-1]
    claimed = parse_canonical(body)["seal"].replace('"final":false', '"final":true')
    signature = sign(SEED, SEAL_LABEL, claimed.encode()).hex()
    forged = canonical({"seal": claimed, "signature": signature}) + b"\n"
    with pytest.raises(LedgerBroken, match="another chain"):
        read_sealed(b"".join((*sealed(ENTRIES, STUDY).splitlines(keepends=True)[:-1], forged)), PUBLIC)


def test_export_round_trip() -> None:
    assert read_export(sealed(), PUBLIC) == ENTRIES
    assert read_export(sealed(()), PUBLIC) == ()


@pytest.mark.threat("FL-35", control="C-LOG")
def test_any_changed_byte_of_an_export_is_noticed() -> None:
    data = sealed(ENTRIES[:2])
    for position in range(0, len(data), 3):
        flipped = bytearray(data)
        flipped[position] ^= 1
        with pytest.raises(LedgerBroken):
            read_export(bytes(flipped), PUBLIC)


@pytest.mark.threat("FL-35", control="C-LOG")
def test_a_cut_or_spliced_export_is_noticed() -> None:
    lines = sealed().splitlines(keepends=True)
    shorter = sealed(ENTRIES[:3]).splitlines(keepends=True)
    for cut in (b"", b"".join(lines[:-1]), b"".join(lines)[:-1], b"".join(lines[1:])):
        with pytest.raises(LedgerBroken):
            read_export(cut, PUBLIC)
    # Entries of today under the seal of yesterday, and the other way round.
    with pytest.raises(LedgerBroken, match="another chain"):
        read_export(b"".join((*lines[:-1], shorter[-1])), PUBLIC)
    with pytest.raises(LedgerBroken, match="another chain"):
        read_export(b"".join((*lines[:3], lines[-1])), PUBLIC)


@pytest.mark.threat("FL-35", control="C-LOG")
def test_a_signature_spelled_in_another_way_is_noticed() -> None:
    shouted = replace(ENTRIES[0], signature=ENTRIES[0].signature.upper())
    with pytest.raises(LedgerBroken, match="spells"):
        verify_chain((shouted,), PUBLIC)


def test_the_pure_ledger_loads_no_database_and_no_accountant() -> None:
    code = "import sys, privacy.ledgers.ledger_export; print({'sqlite3', 'dp_accounting', 'opendp'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert run.stdout == "set()\n"


def test_errors_name_no_library_and_no_value() -> None:
    with pytest.raises(LedgerBroken, match="ledger entry 1: "):
        read_export(b'{"a": 1}\n{}\n', PUBLIC)
