"""A patient in two data epochs would have two budgets: ids are compared, the rest is said to be the hospital's word."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from hospital_node.admission import Admitted, StudyRefused, check_before_dialing
from hospital_node.entropy import OsEntropy
from hospital_node.epoch_marks import EpochMarks, who_is_in
from privacy.assessment.claims_epochs import data_epochs
from privacy.assessment.pia_schema import Claim
from privacy.assessment.recompute import Facts
from privacy.assessment.recompute_ledgers import LedgerFacts
from privacy.ledgers.data_epoch import compared_note, earlier_epochs, epoch_note, is_compared
from privacy.ledgers.ledger import GENESIS, Entry
from privacy.ledgers.policy_refusal import PolicyRefusal
from tests.bent_link import ManualClock
from tests.consortium import Hand, World, small_agreement, small_study
from tests.study_files import table, write_csv

EPOCH = "2032 extract"
LATER = ('id = "small"', 'id = "later"')


@pytest.fixture
def world(tmp_path: Path) -> World:
    """One round of a study is charged at hospital a, whose table holds P00000 to P00039; then an epoch begins."""
    world = World.of(tmp_path)
    node = world.nodes["a"]
    node.admission = Hand.plain(node.admission, node.admission.policy)
    Hand(world).join().round(1)
    node.ledger.note(study_hash=GENESIS, study_id="", session="", text=epoch_note(EPOCH))
    return world


def admit(world: World, first: int) -> Admitted:
    """Another study in the new epoch, over a table whose ids begin at `first`."""
    node = world.nodes["a"]
    write_csv(table(40).assign(pid=[f"P{i:05d}" for i in range(first, first + 40)]), world.root, "a.csv")
    policy = node.admission.policy.model_copy(update={"data_epoch": EPOCH})
    node.admission = replace(Hand.plain(node.admission, policy), study=small_study(LATER))
    return node.admission.admit(small_agreement(LATER), node.ledger, node.clock, node.sampler, node.entropy)


def claim(entries: tuple[Entry, ...]) -> Claim | None:
    ledger = LedgerFacts("a", "", entries=entries)
    facts = Facts("", None, (ledger,), (), (), 0, ())
    return next(data_epochs(facts), None)


@pytest.mark.threat("FL-15", control="C-LEDGER")
@pytest.mark.parametrize("first", [0, 39])
def test_a_patient_of_an_earlier_epoch_has_no_second_budget(world: World, first: int) -> None:
    before = world.nodes["a"].ledger.entries()
    with pytest.raises(StudyRefused, match=f"table with {40 - first} of whom an earlier epoch") as refused:
        admit(world, first)
    # Outside it looks like every other refusal, and before dialing like a hospital that never came.
    assert (refused.value.told, refused.value.exit_code) == (world.nodes["a"].admission.TOLD, 1)
    own = world.nodes["a"].admission
    assert own.study is not None
    with pytest.raises(PolicyRefusal, match="data_epoch"):
        check_before_dialing(
            own.policy,
            own.study,
            own.data,
            ManualClock().now(),
            EpochMarks(own.reports.parent / "epochs"),
            drop_undeclared=False,
        )
    assert world.nodes["a"].ledger.entries() == before


def test_other_patients_have_a_budget_of_their_own_and_the_ledger_says_what_was_compared(
    world: World,
) -> None:
    ledger = world.nodes["a"].ledger
    assert earlier_epochs(ledger.entries()) == ("",)
    assert not is_compared(ledger.entries())
    stated = claim(ledger.entries())
    assert stated is not None
    assert stated.status.value == "STATED"
    assert "the word of a alone" in stated.text
    for _ in range(2):
        admit(world, 40)
        assert [e.record.note for e in ledger.entries() if e.kind == "NOTE"][1:] == [compared_note(EPOCH)]
    attested = claim(ledger.entries())
    assert attested is not None
    assert attested.status.value == "ATTESTED"


def test_without_marks_of_the_earlier_epoch_it_stays_the_hospitals_word(world: World) -> None:
    for path in (world.nodes["a"].admission.reports.parent / "epochs").glob("*.marks"):
        path.unlink()
    admit(world, 0)
    assert not is_compared(world.nodes["a"].ledger.entries())


def test_a_ledger_without_epochs_claims_nothing() -> None:
    assert claim(()) is None


def test_without_ids_the_table_itself_is_recognized(tmp_path: Path) -> None:
    study = small_study()
    without = tuple(field for field in study.dictionary.fields if "id" not in field.role)
    nameless = study.model_copy(
        update={"dictionary": study.dictionary.model_copy(update={"fields": without})}
    )
    assert nameless.dictionary.id is None
    first, second = (write_csv(table(5, seed), tmp_path, f"{seed}.csv") for seed in (0, 1))
    frame = table(5)
    assert who_is_in(frame, nameless, first) == who_is_in(frame, nameless, first)
    assert who_is_in(frame, nameless, first) != who_is_in(frame, nameless, second)
    assert who_is_in(frame, study, first) == {f"P{i:05d}" for i in range(5)}


def test_marks_grow_and_name_nobody(tmp_path: Path) -> None:
    marks, entropy = EpochMarks(tmp_path / "epochs"), OsEntropy()
    marks.take("", ["P1"], entropy)
    marks.take("", ["P2"], entropy)
    marks.take("other", ["P3"], entropy)
    for patient in ("P1", "P2"):
        with pytest.raises(PolicyRefusal, match="1 of whom"):
            marks.check("other", [patient])
        marks.check("", [patient])
    files = list((tmp_path / "epochs").iterdir())
    assert sorted(path.stat().st_size for path in files) == [32 + 16, 32 + 2 * 16]
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    assert marks.knows(("", "other"))
    assert not marks.knows(("third",))
