"""Whether this hospital takes part in a study: agreement, policy and budget first, its data only then."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import ClassVar

from hospital_node.entropy import Entropy
from hospital_node.local_study import LocalStudy
from privacy.agreement import Agreement, AgreementError, from_bytes
from privacy.ledger import Entry
from privacy.mechanisms import Sampler
from privacy.policy import Permit, Policy, PolicyRefusal, StudyTerms, check
from privacy.refusals import StudyError
from privacy.study import Study
from secagg.roster import Roster
from secagg.wire.records import StudyOffer


class StudyRefused(Exception):
    """The hospital says no.

    Attributes:
        reason: for the hospital's operator.
        told: what the coordinator is told: a fault of its own offer as it is; for what the hospital's policy, budget or data say, one
            sentence for all of them, so that the answer tells nothing of any patient.
        exit_code: 1 policy or agreement, 2 study file or data, 4 budget.
    """

    def __init__(self, reason: str, told: str, exit_code: int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.told = told
        self.exit_code = exit_code


@dataclass(frozen=True, slots=True)
class Admitted:
    """A study that this hospital takes part in."""

    agreement: Agreement
    terms: StudyTerms
    permit: Permit
    local: LocalStudy


@dataclass(frozen=True, slots=True)
class Admission:
    """What a hospital holds against an offer: all of it its own, nothing taken from the coordinator's word.

    Attributes:
        me: own id.
        roster: the roster that this hospital signed.
        policy: its policy file.
        study: the study file that its people read and accepted; None accepts any study that the policy permits.
        data: its table; read only after everything else said yes.
        reports: folder for reports that never leave.
    """

    TOLD: ClassVar[str] = "it does not take part; its operator knows why"

    me: str
    roster: Roster
    policy: Policy
    study: Study | None
    data: Path
    reports: Path

    def agreement_of(self, offer: StudyOffer) -> Agreement:
        """The agreement in an offer, derived again from the study file.

        Raises:
            StudyRefused: another roster, another study than the accepted one, or an agreement that does not follow from its study.
        """
        if offer.roster != self.roster.canonical:
            raise _refused("the offer names another roster than the one this hospital signed", 1)
        try:
            agreement = from_bytes(offer.agreement, self.study)
        except AgreementError as error:
            raise _refused(str(error), error.exit_code) from None
        except StudyError as error:
            raise _refused(str(error), error.exit_code) from None
        if agreement.study.hospitals != self.roster.ids:
            raise _refused(
                "the study's hospitals are not those of the signed roster; build a roster for this study", 1
            )
        return agreement

    def admit(
        self,
        agreement: Agreement,
        entries: Sequence[Entry],
        now: datetime,
        sampler: Sampler,
        entropy: Entropy,
    ) -> Admitted:
        """Policy and budget, then the data.

        Raises:
            StudyRefused: with the exit code of whoever refused.
        """
        terms = terms_of(agreement)
        try:
            permit = check(self.policy, terms, entries, now)
        except PolicyRefusal as refusal:
            raise StudyRefused(str(refusal), self.TOLD, refusal.exit_code) from None
        return Admitted(agreement, terms, permit, self._prepare(agreement, sampler, entropy))

    def _prepare(self, agreement: Agreement, sampler: Sampler, entropy: Entropy) -> LocalStudy:
        # pandas takes a second to import; a refused study never needs it.
        from hospital_node.analytics.rows import asked_cells
        from hospital_node.cohort import build_cohort
        from hospital_node.stage import apply_stage
        from hospital_node.table import DataError, read_table

        study = agreement.study
        try:
            frame = read_table(self.data, study.dictionary)
            staged, report = apply_stage(frame, study)
        except DataError as error:
            raise StudyRefused(str(error), self.TOLD, error.exit_code) from None
        self.reports.mkdir(parents=True, exist_ok=True, mode=0o700)
        (self.reports / f"{study.id}.stage.json").write_text(
            json.dumps(report.to_json(), indent=1), encoding="utf-8"
        )
        cohort = build_cohort(staged, study.dictionary, study.horizon_days)
        return LocalStudy.of(agreement, self.me, cohort, sampler, entropy, asked_cells(staged, study.asks))


def terms_of(agreement: Agreement) -> StudyTerms:
    """The agreement as a policy sees it."""
    study = agreement.study
    return StudyTerms(
        mode=study.mode,  # type: ignore[arg-type]  # the study's validator allows exactly these
        plan=agreement.plan,
        family=agreement.training.family,
        stage=study.stage.kind,
        purpose=study.purpose,
        threshold=agreement.threshold,
        colluding=agreement.colluding,
        n=agreement.n,
        epsilon=study.epsilon,
        delta=study.delta,
        study_id=study.id,
        study_hash=agreement.hash,
    )


def _refused(reason: str, exit_code: int) -> StudyRefused:
    return StudyRefused(reason, reason, exit_code)
