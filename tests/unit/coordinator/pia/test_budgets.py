"""A budget is about the patients of one data epoch, at the policy's own delta."""

from __future__ import annotations

import pytest

from privacy.assessment.claims_epochs import budgets
from privacy.assessment.evidence import load
from privacy.assessment.pia_schema import Claim, Status
from privacy.assessment.recompute import recompute
from privacy.ledgers.data_epoch import by_epoch, epoch_note, in_epoch
from privacy.ledgers.ledger import ENTRY_LABEL, GENESIS, Entry, Record
from privacy.link.canonical import canonical
from secagg import identity
from tests.unit.coordinator.pia.bundles import HOSPITALS, TIME, Run, agreement, key

SHORT = agreement("local", 'kind = "generalize"', 1)


def appended(run: Run, *records: Record) -> tuple[Entry, ...]:
    """Of east."""
    for record in records:
        ledger = run.ledgers["east"]
        run.ledgers["east"] = ledger.append(
            record, lambda body: identity.sign(key("east"), ENTRY_LABEL, body)
        )
    return run.ledgers["east"].entries


def again(run: Run, study: str) -> None:
    """Another study that charges what this one charged."""
    for entry in run.ledgers["east"].entries:
        old = entry.record
        if old.study_hash == run.agreement.hash and old.kind in ("RESERVE", "SPENT"):
            appended(run, Record(old.kind, TIME, study * 64, study, old.session, old.round, old.release))


def epoch(run: Run, name: str) -> None:
    appended(run, Record("NOTE", TIME, GENESIS, "", "", 0, None, epoch_note(name)))


def claim(run: Run, epsilon_total: float, delta_total: float = 1e-5) -> Claim:
    told = {name: {"epsilon_total": epsilon_total, "delta_total": delta_total} for name in HOSPITALS}
    evidence = load({**run.files(), "evidence/budgets.json": canonical(told)})
    (found,) = budgets(evidence, recompute(evidence))
    return found


@pytest.mark.threat("FL-15", control="C-LEDGER")
def test_each_epoch_has_its_own_budget() -> None:
    run = Run(SHORT)
    epoch(run, "2027")
    again(run, "b")
    # Both together cost 4.4; each epoch 3.
    assert claim(run, 3.5).status is Status.STATED
    again(run, "c")
    found = claim(run, 3.5)
    assert (found.status, found.text[-28:]) == (Status.FAILED, "at east (data epoch '2027').")


def test_two_studies_of_one_epoch_share_its_budget() -> None:
    run = Run(SHORT)
    again(run, "b")
    assert claim(run, 3.5).status is Status.FAILED


def test_a_budget_is_asked_at_its_own_delta() -> None:
    """Epsilon 3 at the study's delta of 1e-5 is 1.9 at 1e-3."""
    run = Run(SHORT)
    assert claim(run, 2.0, 1e-3).status is Status.STATED
    assert claim(run, 2.0).status is Status.FAILED


def test_the_late_end_of_a_round_belongs_to_the_epoch_that_reserved_it() -> None:
    run = Run(SHORT)
    release = run.agreement.plan.charges[0] if run.agreement.plan else None
    appended(run, Record("RESERVE", TIME, "b" * 64, "b", "aa", 1, release))
    epoch(run, "2027")
    late = appended(run, Record("SPENT", TIME, "b" * 64, "b", "aa", 1, release))[-1]
    entries = appended(run, Record("RESERVE", TIME, "c" * 64, "c", "aa", 1, release))
    (_, first), (name, second) = by_epoch(entries)
    assert (name, first[-1]) == ("2027", late)
    # As the hospital's node asks of its present epoch; the line that begins it charges nothing.
    assert tuple(in_epoch(entries)) == second[1:] == entries[-1:]
