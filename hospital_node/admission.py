"""Whether this hospital takes part in a study: agreement, policy and budget first, its data only then."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from hospital_node.clock import Clock
from hospital_node.consent_gate import ConsentGate
from hospital_node.entropy import Entropy
from hospital_node.epoch_marks import EpochMarks, who_is_in
from hospital_node.home import RegisterPlace
from hospital_node.kept_set import KeptSetLost, charge_once, chosen_level, kept_set
from hospital_node.ledger_store import LedgerStore
from hospital_node.local_study import LocalStudy
from hospital_node.stated_terms import stated_terms, terms_of
from privacy.guarantees.stage_release import LevelRelease, ThresholdRelease, VoidRelease
from privacy.ledgers.data_epoch import compared_note, earlier_epochs, is_compared
from privacy.ledgers.ledger import GENESIS, Entry
from privacy.ledgers.policy import Permit, Policy, PolicyRefusal, StudyTerms, check
from privacy.ledgers.policy_lists import check_rules
from privacy.noise.level_choice import Level, costs, levels_of, small_classes
from privacy.noise.mechanisms import Sampler
from privacy.noise.noisy_threshold import Cell
from privacy.patients.consent import DataUse
from privacy.studies.agreement import Agreement, AgreementError, from_bytes
from privacy.studies.refusals import StudyError
from privacy.studies.study import Study
from privacy.studies.study_stage import SYNTHETIC
from privacy.synthesis.charges import SynthesisRelease
from secagg.roster import Roster
from secagg.wire.records import StudyOffer

if TYPE_CHECKING:
    from datetime import datetime

    import pandas as pd

    from hospital_node.synthesis.in_study import Sdv
    from hospital_node.synthesis.in_study import Stage as SynthesisStage


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
    """A study that this hospital takes part in.

    Attributes:
        agreement, terms, permit: as they were admitted.
        local: its patients.
        copies: the stored table of a generator without guarantee, which goes when somebody behind it withdraws; None without one.
    """

    agreement: Agreement
    terms: StudyTerms
    permit: Permit
    local: LocalStudy
    copies: Path | None = None


@dataclass(frozen=True, slots=True)
class Admission:
    """What a hospital holds against an offer: all of it its own, nothing taken from the coordinator's word.

    Attributes:
        me: own id.
        roster: the roster that this hospital signed.
        policy: its policy file.
        study: the study file that its people read and accepted; None accepts any study that the policy permits.
        data: its table; read only after everything else said yes.
        reports: folder for reports that never leave; beside it lies `kept`, what stages drew.
        drop_undeclared: leave columns out that the study does not declare; the data manager's word.
        sdv: another generator than SDV's for the stage `synthetic_sdv`, for tests; None takes SDV.
        consents: the consent register; asked where the policy says so, and nobody takes part where it is missing.
    """

    TOLD: ClassVar[str] = "it does not take part; its operator knows why"

    me: str
    roster: Roster
    policy: Policy
    study: Study | None
    data: Path
    reports: Path
    drop_undeclared: bool = False
    consents: RegisterPlace | None = None
    sdv: Sdv | None = None

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
        ledger: LedgerStore,
        clock: Clock,
        sampler: Sampler,
        entropy: Entropy,
    ) -> Admitted:
        """Policy and budget, then the data.

        Raises:
            StudyRefused: with the exit code of whoever refused.
        """
        terms = terms_of(agreement)
        try:
            permit = check(self.policy, terms, ledger.entries(), clock.now())
        except PolicyRefusal as refusal:
            raise StudyRefused(str(refusal), self.TOLD, refusal.exit_code) from None
        local, copies = self._prepare(agreement, ledger, clock, sampler, entropy)
        return Admitted(agreement, terms, permit, local, copies)

    def _prepare(
        self, agreement: Agreement, ledger: LedgerStore, clock: Clock, sampler: Sampler, entropy: Entropy
    ) -> tuple[LocalStudy, Path | None]:
        # pandas takes a second to import; a refused study never needs it.
        from hospital_node.analytics.rows import asked_cells
        from hospital_node.cohort import build_cohort
        from hospital_node.stage import apply_stage
        from hospital_node.synthesis.in_study import TableHeldBack
        from hospital_node.synthesis.sdv_engine import SdvProblem
        from hospital_node.table import DataError, read_table

        study = agreement.study
        gate = self.gate(study, clock)
        if gate is not None and study.dictionary.id is None:
            told = "the study declares no id field, so nobody's consent can be looked up"
            raise StudyRefused(told, self.TOLD, 1)
        try:
            frame = read_table(self.data, study.dictionary, drop_undeclared=self.drop_undeclared)
            self._compare_epochs(study, frame, ledger, entropy)
            if gate is not None:
                frame = _consented(frame, study, gate)
            pseudonyms = () if gate is None else _pseudonyms(frame, study, gate)
            kept, level = self._pay_stage(agreement, frame, ledger, clock, entropy)
            staged, report = apply_stage(frame, study, kept, level)
            table = None
            if study.stage.kind in SYNTHETIC:
                stage = self._synthesis(agreement, ledger, clock, sampler, entropy, pseudonyms)
                made, table = stage.patients(frame)
                staged, after = apply_stage(made, study)
                report = replace(report, after=after.after, rows_after=after.rows_after)
        except PolicyRefusal as refusal:
            raise StudyRefused(str(refusal), self.TOLD, refusal.exit_code) from None
        except (KeptSetLost, TableHeldBack, SdvProblem) as error:
            raise StudyRefused(str(error), self.TOLD, error.exit_code) from None
        except DataError as error:
            raise StudyRefused(str(error), self.TOLD, error.exit_code) from None
        self.reports.mkdir(parents=True, exist_ok=True, mode=0o700)
        (self.reports / f"{study.id}.stage.json").write_text(
            json.dumps(report.to_json(), indent=1), encoding="utf-8"
        )
        cohort = build_cohort(staged, study.dictionary, study.horizon_days)
        local = LocalStudy.of(agreement, self.me, cohort, sampler, entropy, asked_cells(staged, study.asks))
        if table is None:
            return (
                local if gate is None else replace(local, pseudonyms=_pseudonyms(staged, study, gate))
            ), None
        private = study.stage.kind == "synthetic_dp"
        local = replace(local, pseudonyms=pseudonyms, behind="private" if private else "copies")
        return local, None if private else table

    def _synthesis(
        self,
        agreement: Agreement,
        ledger: LedgerStore,
        clock: Clock,
        sampler: Sampler,
        entropy: Entropy,
        pseudonyms: tuple[str, ...],
    ) -> SynthesisStage:
        """The stage that puts synthetic patients in place of the real ones."""
        from hospital_node.synthesis.in_study import Stage
        from hospital_node.synthesis.stage_table import Drawing

        study = agreement.study
        drawing = Drawing(
            study,
            agreement.hash,
            self.reports.parent / "kept",
            ledger,
            self._permit(agreement, clock),
            own=self.policy.consent_register,
            patients=pseudonyms,
        )
        report = self.reports / f"{study.id}.synthetic.json"
        rows, gate = study.n_public[self.me], self.policy.synthetic_gate
        return Stage(agreement.plan, drawing, rows, gate, report, sampler, entropy, self.sdv)

    def _permit(self, agreement: Agreement, clock: Clock) -> Callable[[Sequence[Entry]], None]:
        def permit(entries: Sequence[Entry]) -> None:
            # Once more, under the ledger's lock: another study may have taken the room since.
            check(self.policy, terms_of(agreement), entries, clock.now())

        return permit

    def _compare_epochs(
        self, study: Study, frame: pd.DataFrame, ledger: LedgerStore, entropy: Entropy
    ) -> None:
        """Nobody has a budget in two data epochs, as far as ids tell; where they do, the ledger says so."""
        marks, epoch = EpochMarks(self.reports.parent / "epochs"), self.policy.data_epoch
        marks.take(epoch, who_is_in(frame, study, self.data), entropy)
        entries = ledger.entries()
        can_tell = study.dictionary.id is not None and marks.knows(earlier_epochs(entries))
        if epoch and can_tell and not is_compared(entries):
            ledger.note(study_hash=GENESIS, study_id="", session="", text=compared_note(epoch))

    def gate(self, study: Study, clock: Clock) -> ConsentGate | None:
        """What the register is asked for this study; None where the policy asks for no register."""
        if not self.policy.consent_register:
            return None
        return ConsentGate(self.consents, DataUse(study.about.duo, study.about.disease, study.id), clock)

    def _pay_stage(
        self, agreement: Agreement, frame: pd.DataFrame, ledger: LedgerStore, clock: Clock, entropy: Entropy
    ) -> tuple[frozenset[Cell] | None, Level | None]:
        """Charges what the stage costs by itself; returns the cells that a noisy threshold kept, or the level that was drawn."""
        from hospital_node.stage import cell_counts

        permit = self._permit(agreement, clock)
        study, stage = agreement.study, None if agreement.plan is None else agreement.plan.stage
        folder, quasi = self.reports.parent / "kept", study.dictionary.quasi_identifiers
        match stage:
            case None:
                return None, None
            case ThresholdRelease():
                counts = cell_counts(frame, study)
                return kept_set(
                    stage, counts, folder, ledger, agreement.hash, study.id, entropy, permit
                ), None
            case LevelRelease():

                def cost() -> Sequence[Fraction]:
                    small = small_classes(cell_counts(frame, study), quasi, stage.k)
                    return costs(small, quasi, stage.k, study.n_public[self.me])

                return None, chosen_level(
                    stage, levels_of(quasi), cost, folder, ledger, agreement.hash, study.id, entropy, permit
                )
            case _ if study.stage.kind in SYNTHETIC:
                return None, None
            case SynthesisRelease():
                raise AgreementError(
                    "plan.stage", "a synthesizer's charge belongs to a study with that stage"
                )
            case VoidRelease():
                charge_once(stage, ledger, agreement.hash, study.id, permit)
                return None, None


def check_before_dialing(
    policy: Policy, study: Study, data: Path, now: datetime, marks: EpochMarks, *, drop_undeclared: bool
) -> None:
    """Whether the policy's rules permit the study and its table can be read, while nobody outside can see the answer.

    A hospital that stops here is one that never came. The node checks both again: the table may change meanwhile.

    Raises:
        PolicyRefusal: exit code 1.
        DataError: exit code 2.
    """
    check_rules(policy, stated_terms(study), now)
    from hospital_node.table import read_table

    frame = read_table(data, study.dictionary, drop_undeclared=drop_undeclared)
    marks.check(policy.data_epoch, who_is_in(frame, study, data))


def _refused(reason: str, exit_code: int) -> StudyRefused:
    return StudyRefused(reason, reason, exit_code)


def _consented(frame: pd.DataFrame, study: Study, gate: ConsentGate) -> pd.DataFrame:
    """The snapshot: the patients who permit the study now, before anything else looks at the table."""
    permitted, _ = gate.permitted(_pseudonyms(frame, study, gate))
    return frame.loc[permitted].reset_index(drop=True)


def _pseudonyms(frame: pd.DataFrame, study: Study, gate: ConsentGate) -> tuple[str, ...]:
    assert study.dictionary.id is not None
    return gate.pseudonyms([str(patient) for patient in frame[study.dictionary.id.name]])
