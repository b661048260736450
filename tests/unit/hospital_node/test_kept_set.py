"""The noisy threshold at a hospital: drawn once, paid once, and true."""

import json
import stat
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from hospital_node import kept_set as module
from hospital_node.entropy import OsEntropy, uniform_below
from hospital_node.kept_set import KeptSetLost, charge_once, chosen_level, kept_set
from hospital_node.ledger_store import LedgerStore
from hospital_node.stage import apply_stage, cell_counts
from hospital_node.table import read_table
from privacy.guarantees.release import Release
from privacy.guarantees.stage_release import LevelRelease, StageRelease, ThresholdRelease, VoidRelease
from privacy.ledgers.data_epoch import epoch_note
from privacy.ledgers.ledger import GENESIS
from privacy.ledgers.ledger_overview import overview
from privacy.noise.level_choice import levels_of, small_classes
from secagg.secret import SecretBytes
from tests.bent_link import ManualClock
from tests.consortium import Hand, World
from tests.study_files import study, table, write_csv
from tests.unit.privacy.ledgers.test_policy import POLICY

STAGE = ThresholdRelease(1.0, 1e-3, 5, "ab" * 32)
COUNTS = {(number,): 3 * number for number in range(1, 12)}
THRESHOLD = ('kind = "generalize"', 'kind = "threshold"\nepsilon = 4\ndelta = 1e-4')


@pytest.fixture
def ledger(tmp_path: Path) -> LedgerStore:
    return LedgerStore(tmp_path / "ledger.db", SecretBytes(b"\x07" * 32), ManualClock())


def draw(
    folder: Path, ledger: LedgerStore, study_hash: str = "aa" * 32, stage: ThresholdRelease = STAGE
) -> frozenset[tuple[int, ...]]:
    return kept_set(stage, COUNTS, folder / "kept", ledger, study_hash, "s", OsEntropy(), lambda _: None)


def kinds(ledger: LedgerStore) -> list[str]:
    return [entry.kind for entry in ledger.entries()]


@pytest.mark.threat("FL-27", control="C-BUDGETALL")
def test_drawn_once_and_paid_once_for_all_studies(tmp_path: Path, ledger: LedgerStore) -> None:
    first = draw(tmp_path, ledger)
    assert all(COUNTS[cell] >= 5 for cell in first)
    assert kinds(ledger) == ["RESERVE", "SPENT"]
    assert all(draw(tmp_path, ledger, study) == first for study in ("aa" * 32, "bb" * 32) * 5)
    # The second study says, once, that it uses what the first one drew.
    assert kinds(ledger) == ["RESERVE", "SPENT", "NOTE"]
    draw(tmp_path, ledger, "cc" * 32, replace(STAGE, k=6))
    assert kinds(ledger) == ["RESERVE", "SPENT", "NOTE", "RESERVE", "SPENT"]
    (path, _) = sorted((tmp_path / "kept").iterdir(), key=lambda p: p.stat().st_mtime_ns)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert {tuple(cell) for cell in json.loads(path.read_text())} == first


@pytest.mark.threat("FL-27", control="C-BUDGETALL")
def test_another_epochs_patients_are_not_kept_by_the_counts_of_earlier_ones(
    tmp_path: Path, ledger: LedgerStore
) -> None:
    draw(tmp_path, ledger)
    ledger.note(study_hash=GENESIS, study_id="", session="", text=epoch_note("2027"))
    few = dict.fromkeys(COUNTS, 1)

    def later(study_hash: str) -> frozenset[tuple[int, ...]]:
        folder = tmp_path / "kept"
        return kept_set(STAGE, few, folder, ledger, study_hash, "t", OsEntropy(), lambda _: None)

    assert later("bb" * 32) == later("cc" * 32) == frozenset()
    assert kinds(ledger) == ["RESERVE", "SPENT", "NOTE", "RESERVE", "SPENT", "NOTE"]
    assert len(list((tmp_path / "kept").iterdir())) == 2


@pytest.mark.threat("FL-27", control="C-BUDGETALL")
def test_a_stage_without_guarantee_stands_beside_the_charges_of_every_study(ledger: LedgerStore) -> None:
    void, noisy = VoidRelease("mondrian", "its cuts depend on patients"), Release("train", "gaussian", 4.0)
    for study_hash in ("aa" * 32, "bb" * 32):
        for _ in range(2):
            charge_once(void, ledger, study_hash, study_hash[:2], lambda _: None)
        ledger.reserve(
            study_hash=study_hash, study_id=study_hash[:2], session="s", round_number=1, release=noisy
        )
        if study_hash == "aa" * 32:
            ledger.note(study_hash=GENESIS, study_id="", session="", text=epoch_note("2027"))
    shown = overview(ledger.entries(), POLICY)
    assert [line.alone.kind for line in shown.studies] == ["none"]
    assert shown.total.kind == shown.ever.kind == "none"


def test_a_lost_set_is_never_drawn_again(tmp_path: Path, ledger: LedgerStore) -> None:
    draw(tmp_path, ledger)
    (path,) = (tmp_path / "kept").iterdir()
    for content in (None, "[", "7", "[7]"):
        path.unlink(missing_ok=True)
        if content is not None:
            path.write_text(content)
        with pytest.raises(KeptSetLost):
            draw(tmp_path, ledger)
    assert kinds(ledger) == ["RESERVE", "SPENT"]


def test_a_crash_before_the_set_is_stored_and_one_after(
    tmp_path: Path, ledger: LedgerStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(module, "_write", dies)
        with pytest.raises(KeyboardInterrupt):
            draw(tmp_path, ledger)
    assert kinds(ledger) == ["RESERVE"]
    with monkeypatch.context() as patched:
        patched.setattr(LedgerStore, "spend", dies)
        with pytest.raises(KeyboardInterrupt):
            draw(tmp_path, ledger)
    (path,) = (tmp_path / "kept").iterdir()
    stored = path.read_bytes()
    draw(tmp_path, ledger)
    assert path.read_bytes() == stored
    assert kinds(ledger) == ["RESERVE", "SPENT"]


def test_training_sees_the_kept_cells_only(tmp_path: Path) -> None:
    read = study(THRESHOLD)
    frame = read_table(write_csv(table(90), tmp_path), read.dictionary)
    counts = cell_counts(frame, read)
    assert sum(counts.values()) == 90
    rest, report = apply_stage(frame, read, frozenset([(1,)]))
    assert len(rest) == report.rows_after == counts[(1,)]
    assert set(rest["age"]) == {50.0}
    assert apply_stage(frame, read)[1].rows_after == 90


LEVELS = ("cuts = [40, 60]", "cuts = [[30, 40, 50, 60, 70], [40, 60], [60]]")
LEVEL = ('kind = "generalize"\nk = 3', 'kind = "level"\nk = 3\nepsilon = 4')


def test_each_level_is_counted_as_the_table_generalized_to_it(tmp_path: Path) -> None:
    read = study(LEVELS, LEVEL)
    frame = read_table(write_csv(table(90), tmp_path), read.dictionary)
    quasi = read.dictionary.quasi_identifiers
    small = small_classes(cell_counts(frame, read), quasi, 3)
    for level, expected in zip(levels_of(quasi), small, strict=True):
        rest, report = apply_stage(frame, read, level=level)
        sizes = rest.groupby("age", dropna=False).size()
        assert int((sizes < 3).sum()) == expected
        assert len(sizes) == report.after.classes
        assert len(rest) == report.rows_after == 90
    assert report.level == (2,)
    assert set(apply_stage(frame, read, level=(2,))[0]["age"]) == {40.0, 80.0}


def test_a_level_is_drawn_once_and_a_strange_one_is_not_used(tmp_path: Path, ledger: LedgerStore) -> None:
    release = study(LEVELS, LEVEL).stage_release
    assert isinstance(release, LevelRelease)
    asked: list[int] = []

    def cost() -> list[Fraction]:
        asked.append(1)
        return [Fraction(0)] * 3

    def draw(study_hash: str) -> tuple[int, ...]:
        return chosen_level(
            release,
            [(0,), (1,), (2,)],
            cost,
            tmp_path / "kept",
            ledger,
            study_hash,
            "s",
            OsEntropy(),
            lambda _: 0,
        )

    first = draw("aa" * 32)
    assert {draw(study_hash) for study_hash in ("aa" * 32, "bb" * 32) * 10} == {first}
    assert len(asked) == 1
    assert kinds(ledger) == ["RESERVE", "SPENT", "NOTE"]
    (path,) = (tmp_path / "kept").iterdir()
    path.write_text("[[7]]")
    with pytest.raises(KeptSetLost):
        draw("aa" * 32)


def test_what_is_not_permitted_is_neither_drawn_nor_charged(tmp_path: Path, ledger: LedgerStore) -> None:
    class Refusal(Exception):
        pass

    def refuse(_: object) -> None:
        raise Refusal

    with pytest.raises(Refusal):
        kept_set(STAGE, COUNTS, tmp_path / "kept", ledger, "aa" * 32, "s", OsEntropy(), refuse)
    assert kinds(ledger) == []
    assert not (tmp_path / "kept").exists()


def test_uniform_integers() -> None:
    drawn = [uniform_below(5, OsEntropy()) for _ in range(5000)]
    assert np.abs(np.bincount(drawn) - 1000).max() < 200
    assert uniform_below(1, OsEntropy()) == 0


@pytest.mark.threat("FL-27", control="C-BUDGETALL")
@pytest.mark.parametrize(
    "changes",
    [(THRESHOLD,), (LEVELS, LEVEL), (('"generalize"', '"mondrian"'),)],
    ids=["threshold", "level", "mondrian"],
)
def test_a_whole_study_pays_for_its_stage(tmp_path: Path, changes: tuple[tuple[str, str], ...]) -> None:
    world = World.of(tmp_path, *changes, rows=55)
    hand = Hand(world).join()
    hand.round(1)
    for hospital in world.nodes:
        entries = world.nodes[hospital].ledger.entries()
        assert [e.kind for e in entries] == ["RESERVE", "SPENT"] * 2
        assert isinstance(entries[0].record.release, StageRelease)
        assert isinstance(entries[2].record.release, Release)
    if changes[0][1] != '"mondrian"':
        assert (tmp_path / "state" / "a" / "kept").is_dir()
