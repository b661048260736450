"""Consent before a round: who withdrew leaves the table, and the ledger and the log say so."""

from __future__ import annotations

from dataclasses import replace

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
    if problem:
        node.report(NodeEvent("consent", f"nobody takes part: {problem}", round_number))
    log = ConsentLog(node.admission.reports / "consent", agreement.hash, agreement.study.id)
    # Who left while this node was down is not in its table any more, but took part before.
    before = log.taking_part() or local.pseudonyms
    still, _ = gate.permitted(before)
    left = () if problem else tuple(p for p, stays in zip(before, still, strict=True) if not stays)
    if not permitted.all():
        local = local.select(permitted)
        node.admitted = replace(admitted, local=local)
        node.work = node.work_of(node.admitted)
    if left or not permitted.all():
        if admitted.copies is not None:
            from hospital_node.synthesis.stage_table import forget_table

            forget_table(admitted.copies)
        forget(node.admission.reports, agreement.study.id)
        node.report(NodeEvent("consent", f"from round {round_number} on without who withdrew", round_number))
    action = ACTION_PRIVATE if local.behind == "private" else ACTION
    line = log.record(
        round_number, local.pseudonyms, left, problem, node.ledger.entries(), node.entropy, action
    )
    node.ledger.note(study_hash=agreement.hash, study_id=agreement.study.id, session=session, text=line)
