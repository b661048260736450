"""Claims about spare noise: whether the coordinator counts more of it as taken out than hospitals say that they told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from privacy.assessment.evidence import LEDGERS, RECEIPTS, ROUNDS, Evidence
from privacy.assessment.pia_schema import Claim
from privacy.assessment.recompute import Facts
from privacy.assessment.recompute_rounds import RoundFacts
from privacy.assessment.statements import failed, gap, verified
from privacy.ledgers.told_noise import Runs, is_stated

SECTION = "evidence"
THREATS = ("FL-36",)


def spare_noise(evidence: Evidence, facts: Facts) -> Iterator[Claim]:
    """One claim where sums may have noise taken out; `E-RECEIPTS` compares the record with the count in the signed sum."""
    agreement = evidence.agreement
    if agreement is None or not agreement.study.spare_layers:
        return
    told = {ledger.hospital: ledger.told_noise for ledger in facts.ledgers}
    done = [item for item in facts.rounds if item.record.status == "done"]
    wrong = [problem for item in done if (problem := _problem(item, told))]
    counted = {hospital for item in done for hospital in item.record.noise_removed}
    silent = sorted(hospital for hospital in counted if told.get(hospital) is None)
    if wrong:
        yield failed(
            "E-SPARE",
            SECTION,
            "The coordinator says of more spare noise that it is out of a sum than hospitals told, so that standard errors and bands "
            f"that follow are too small: {'; '.join(wrong)}.",
            (ROUNDS, RECEIPTS, LEDGERS),
            THREATS,
        )
    elif silent:
        yield gap(
            "E-SPARE",
            SECTION,
            f"No signed statement of {', '.join(silent)} says in which rounds it told its spare noise, which the coordinator counts as taken out.",
            "Standard errors and bands rest on the coordinator's count there.",
            THREATS,
        )
    elif done:
        yield verified(
            "E-SPARE",
            SECTION,
            "The coordinator says of no hospital's spare noise that it is out of a sum, but where that hospital signed that it told it.",
            (ROUNDS, RECEIPTS, LEDGERS),
            "A hospital whose journal was lost states every round of that time. That the coordinator took out what it was told, "
            "and nothing else, is its word, as every sum is.",
            THREATS,
        )


def _problem(item: RoundFacts, told: Mapping[str, Runs | None]) -> str:
    """Whose noise a round counts as out that did not tell it; "" where nobody's. Hospitals without a statement are left out of it."""
    number = item.record.round
    against = sorted(
        hospital
        for hospital in item.record.noise_removed
        if (stated := told.get(hospital)) is not None and not is_stated(stated, number)
    )
    return f"round {number} counts {', '.join(against)}, who signed that they told none" if against else ""
