"""The claim about what [analysis] printed: every number of the section computed again from the sums in the receipts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isclose
from typing import Any

from privacy.analytics.report import analysis_json
from privacy.assessment.evidence import RECEIPTS, RESULT, Evidence, Result
from privacy.assessment.follow_model import released_sum
from privacy.assessment.pia_schema import Claim
from privacy.assessment.recompute_rounds import RoundFacts
from privacy.assessment.statements import failed, gap, verified
from privacy.recipes.fit import Statistic
from privacy.studies.agreement import Agreement
from privacy.studies.exchange import fit_rounds, statistic, task_at
from privacy.studies.grid import FloatArray

SECTION = "evidence"
IDENTIFIER = "E-ANALYSIS"
# Special functions differ in the last digits from machine to machine.
SAME_NUMBER = 1e-6


def analysis_claim(
    evidence: Evidence,
    agreement: Agreement,
    result: Result,
    rounds: Sequence[RoundFacts],
    theta: FloatArray | None,
) -> Claim | None:
    """Whether the printed analysis follows from the receipts; None for a study that asked nothing or failed.

    Raises:
        ExchangeError: the sums are not what the agreement says.
    """
    if not agreement.study.asks or result.status == "failed":
        return None
    released: dict[str, Statistic] = {}
    for item in rounds:
        if item.record.round <= fit_rounds(agreement) or item.record.status != "done":
            continue
        total = released_sum(evidence, agreement, item)
        if total is None:
            text = "A receipt of the analysis lacks its sum: whether its numbers follow is not known."
            return gap(IDENTIFIER, SECTION, text, threats=("FL-36",))
        task = task_at(agreement, item.record.round)
        released[task.name] = statistic(agreement, task, total, item.record.answered)
    expected = analysis_json(agreement, released, theta)
    if not _same(result.analysis, expected):
        text = "The analysis in the result is not what the signed sums give."
        return failed(IDENTIFIER, SECTION, text, (RESULT, RECEIPTS), ("FL-36",))
    paid = (
        "Each names the release of the plan that paid for it, and the ledgers charge those."
        if agreement.plan is not None
        else "Nothing is noised and nothing bounds what they say of one patient."
    )
    return verified(
        IDENTIFIER,
        SECTION,
        f"All {len(agreement.study.asks)} answers of the analysis, with their noise, are computed again from the sums in the receipts. {paid}",
        (RESULT, RECEIPTS),
        "That the sums are those of the hospitals' vectors: each hospital compared its receipts while the study ran.",
        ("FL-36",),
    )


def _same(said: Any, found: Any) -> bool:
    """Equal structure, equal words, numbers within a millionth."""
    match said, found:
        case (bool(), _) | (_, bool()) | (None, _) | (_, None) | (str(), _) | (_, str()):
            return said is found or said == found
        case (int() | float(), int() | float()):
            return isclose(said, found, rel_tol=SAME_NUMBER, abs_tol=SAME_NUMBER)
        case (Mapping(), Mapping()):
            return set(said) == set(found) and all(_same(said[key], found[key]) for key in found)
        case (list() | tuple(), list() | tuple()):
            return len(said) == len(found) and all(_same(a, b) for a, b in zip(said, found, strict=True))
    return False
