"""Consent before a round: who withdrew leaves the table, and the ledger and the log say so.

The coordinator sees how long this hospital takes to answer. So a round in which somebody left takes the same steps as one in which nobody
did: the table is built anew each time, and what was kept about the former patients is deleted when the answer has left. What remains
is the work for each patient, and one statement more to read in the register.
"""

from __future__ import annotations

from hospital_node.consent_gate import forget
from hospital_node.consent_log import ACTION, ACTION_PRIVATE, ConsentLog
from hospital_node.node_words import NodeEvent
from hospital_node.participant import Participant


def respect_consent(node: Participant, session: str, round_number: int) -> None:
    """Leaves out who no longer permits the study, before anything of this round is computed."""
    admitted = node.require()
    gate = node.admission.gate(admitted.agreement.study, node.clock)
    if gate is None:
        return
    agreement, local = admitted.agreement, admitted.local
    permitted, problem = gate.permitted(local.pseudonyms)
    log = _log(node)
    # Who left while this node was down is not in its table any more, but took part before.
    before = log.taking_part() or local.pseudonyms
    still, _ = gate.permitted(before)
    left = () if problem else tuple(p for p, stays in zip(before, still, strict=True) if not stays)
    is_former = bool(left) or not permitted.all()
    node.put_table(local.select(permitted))
    node.report(_event(round_number, problem, is_former))
    entries, now = node.ledger.entries(), node.require().local.pseudonyms
    action = ACTION_PRIVATE if local.behind == "private" else ACTION
    line = log.record(round_number, now, left, problem, entries, node.entropy, is_former, action)
    if not log.is_noted(entries, session, round_number):
        node.ledger.note(study_hash=agreement.hash, study_id=agreement.study.id, session=session, text=line)


def forget_former(node: Participant) -> None:
    """Deletes what is kept here about patients of whom one has left; a crash before it leaves that to the next time."""
    admitted = node.require()
    if node.admission.gate(admitted.agreement.study, node.clock) is None:
        return
    log = _log(node)
    if first := log.former_before():
        if admitted.copies is not None:
            from hospital_node.synthesis.stage_table import forget_table

            forget_table(admitted.copies)
        forget(node.admission.reports, admitted.agreement.study.id, first)
        log.forgotten()


def _log(node: Participant) -> ConsentLog:
    agreement = node.require().agreement
    return ConsentLog(node.admission.reports / "consent", agreement.hash, agreement.study.id)


def _event(round_number: int, problem: str, is_former: bool) -> NodeEvent:
    if problem:
        return NodeEvent("consent", f"nobody takes part: {problem}", round_number)
    if is_former:
        return NodeEvent("consent", f"from round {round_number} on without who withdrew", round_number)
    return NodeEvent("consent_asked", f"nobody withdrew before round {round_number}", round_number)
