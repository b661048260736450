"""Page 1: what a reader must know first, and what is missing with who can provide it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from privacy.assessment.claims_dp import void_reason
from privacy.assessment.evidence import HUMAN, REQUIRED, Evidence
from privacy.assessment.pia_schema import Alert, Claim, ControlState, Gap, Status, ThreatState
from privacy.assessment.recompute import Facts


def alerts(evidence: Evidence, facts: Facts, claims: Sequence[Claim]) -> tuple[Alert, ...]:
    """Void guarantee, failures, missing hospitals, aborted rounds, missing ledgers: in this order."""
    return tuple(_alerts(evidence, facts, claims))


def _alerts(evidence: Evidence, facts: Facts, claims: Sequence[Claim]) -> Iterator[Alert]:
    reason = void_reason(evidence)
    if reason:
        yield Alert(kind="no_guarantee", text=reason)
    failed = [claim.id for claim in claims if claim.status is Status.FAILED]
    if failed:
        yield Alert(kind="failed", text=f"{len(failed)} checks failed: {', '.join(failed)}.")
    for problem in evidence.problems:
        yield Alert(kind="unreadable", text=f"{problem.path} cannot be read.", quote=problem.text)
    if facts.isolable and reason:
        names = ", ".join(facts.isolable)
        yield Alert(
            kind="no_guarantee",
            text=f"Sums of different rounds can be subtracted until {names} is left alone.",
        )
    gone: dict[str, list[str]] = {}
    for item in facts.rounds:
        for missing in item.record.missing:
            gone.setdefault(missing.hospital, []).append(f"{item.record.round} ({missing.step})")
    for hospital, where in gone.items():
        text = f"{hospital} did not finish round {', '.join(where)}. These sums are over the other hospitals alone."
        yield Alert(kind="missing_hospital", text=text)
    for item in facts.rounds:
        if item.record.status == "aborted":
            text = f"Round {item.record.round} ({item.record.task}) was aborted and nothing was opened."
            yield Alert(kind="aborted_round", text=text, quote=item.record.reason)
    charging = evidence.agreement is not None and evidence.agreement.plan is not None
    absent = [ledger.hospital for ledger in facts.ledgers if ledger.problem == "missing"]
    if charging and absent:
        yield Alert(
            kind="missing_ledger",
            text=f"The ledger of {', '.join(absent)} is not in the bundle: what these patients lost is not shown.",
        )
    if evidence.simulation is not None:
        yield Alert(
            kind="simulation",
            text="One machine held all data of this run and compared the result with pooled analysis. No real consortium was involved.",
        )


def gaps(
    evidence: Evidence, facts: Facts, claims: Sequence[Claim], states: Sequence[ThreatState]
) -> tuple[Gap, ...]:
    """Everything that is open: files, claims without evidence, tests, controls not built, questions to people."""
    return (*_files(evidence), *_claims(claims), *_controls(states), *_questions(evidence))


def _files(evidence: Evidence) -> Iterator[Gap]:
    for path in REQUIRED:
        if path not in evidence.files:
            yield Gap(
                id=f"G-{path.rpartition('/')[2]}",
                kind="evidence_missing",
                text=f"{path} is not in the bundle.",
                owner="everybody" if path == HUMAN else "coordinator",
                blocks_approval=True,
            )


def _claims(claims: Sequence[Claim]) -> Iterator[Gap]:
    for claim in claims:
        if claim.status in (Status.GAP, Status.UNDEFINED):
            yield Gap(
                id=f"G-{claim.id}",
                kind="undefined" if claim.status is Status.UNDEFINED else "evidence_missing",
                text=f"{claim.id}: {claim.text}",
                owner=_owner(claim.id),
                blocks_approval=True,
            )
        elif claim.status in (Status.NOT_TESTED, Status.STALE) and claim.id != "T-OFF":
            yield Gap(
                id=f"G-{claim.id}",
                kind="test_not_run",
                text=f"{claim.id}: {claim.text}",
                owner=_owner(claim.id),
                blocks_approval=False,
            )


def _owner(claim: str) -> str:
    if claim.startswith("E-LEDGER-"):
        return claim.removeprefix("E-LEDGER-")
    return {
        "E-STAGE-KLT": "each hospital",
        "E-BUDGET": "each hospital",
        "E-EPOCH": "each hospital",
        "D-BOUNDS": "authors of the study",
    }.get(claim, "coordinator")


def _controls(states: Sequence[ThreatState]) -> Iterator[Gap]:
    controls: dict[str, ControlState] = {
        control.id: control for state in states for control in state.controls
    }
    off = [name for name, control in controls.items() if control.on == "OFF"]
    untested = [
        name for name, control in controls.items() if control.tested in ("NOT_RUN", "NO_TEST", "STALE")
    ]
    missing = [name for name, control in controls.items() if control.on == "NOT_BUILT"]
    if off:
        text = f"Switched off in this run: {', '.join(off)}."
        yield Gap(
            id="G-OFF", kind="switched_off", text=text, owner="authors of the study", blocks_approval=False
        )
    if untested:
        text = f"{len(untested)} controls have no passing test at the commit that ran; the chapter on threats names them."
        yield Gap(id="G-UNTESTED", kind="test_not_run", text=text, owner="coordinator", blocks_approval=False)
    if missing:
        text = f"{len(missing)} controls of the register are not built: {', '.join(missing)}."
        yield Gap(id="G-NOT-BUILT", kind="not_built", text=text, owner="wardround", blocks_approval=False)


def _questions(evidence: Evidence) -> Iterator[Gap]:
    """One gap a question, naming everyone who still owes an answer."""
    waiting: dict[tuple[str, str], list[str]] = {}
    for question in evidence.human or ():
        if question.state != "FINAL":
            waiting.setdefault((question.question, question.owner), []).append(question.hospital)
    for number, ((text, owner), hospitals) in enumerate(waiting.items(), start=1):
        where = "" if hospitals == ["joint"] else f" ({', '.join(hospitals)})"
        yield Gap(
            id=f"G-HUMAN-{number}",
            kind="human_missing",
            text=text,
            owner=f"{owner}{where}",
            blocks_approval=True,
        )
