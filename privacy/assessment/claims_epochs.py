"""Claims about data epochs: where a hospital's budget was asked of its present table alone, and what says that its patients are others."""

from __future__ import annotations

from collections.abc import Iterator

from privacy.assessment.evidence import LEDGERS
from privacy.assessment.pia_schema import Claim
from privacy.assessment.recompute import Facts
from privacy.assessment.statements import attested, stated
from privacy.ledgers.data_epoch import epoch_name, is_compared

SECTION = "evidence"
THREATS = ("FL-15", "FL-31")


def data_epochs(facts: Facts) -> Iterator[Claim]:
    """One claim where a ledger names an epoch; the figures of this assessment add up all epochs in any case."""
    named = [ledger for ledger in facts.ledgers if not ledger.problem and epoch_name(ledger.entries)]
    if not named:
        return
    word = ", ".join(ledger.hospital for ledger in named if not is_compared(ledger.entries))
    if word:
        yield stated(
            "E-EPOCH",
            SECTION,
            f"The budget was asked per data epoch; that nobody is in two epochs is the word of {word} alone.",
            (LEDGERS,),
            "No ids were compared there. A patient in two epochs has the budget twice; cumulative figures here add up all epochs.",
            THREATS,
        )
    else:
        yield attested(
            "E-EPOCH",
            SECTION,
            f"The budget was asked per data epoch at {', '.join(ledger.hospital for ledger in named)}; no id of the present table is in an earlier one.",
            (LEDGERS,),
            "The hospital's node compared the ids; a patient under two ids is not found. Cumulative figures here add up all epochs.",
            THREATS,
        )
