"""A study's stage `synthetic_dp` or `synthetic_sdv` at a hospital: gate written down, table drawn, quality measured, all before a round.

The gate's setting is the data manager's, from policy.toml, and stands in the ledger before anybody looks: a hospital that stays away because its table
did not pass tells something of its patients, and the assessment says so. What was measured stays here.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pandas as pd

from hospital_node.entropy import Entropy
from hospital_node.synthesis.quality import quality
from hospital_node.synthesis.quality_page import write as write_report
from hospital_node.synthesis.rows import typed
from hospital_node.synthesis.sdv_engine import SdvProblem, check_installed, sdv_table
from hospital_node.synthesis.stage_table import Drawing, private_table, unprotected_table
from hospital_node.synthesis.synthesize import synthesized_unpaid
from privacy.guarantees.plan import DpPlan
from privacy.guarantees.stage_release import VoidRelease
from privacy.ledgers.policy_file import SyntheticGate
from privacy.noise.mechanisms import Sampler
from privacy.studies.study import Study
from privacy.synthesis.charges import SynthesisRelease
from privacy.synthesis.gate import gate_note, gate_of
from privacy.synthesis.releases import plan_of
from privacy.synthesis.request import SynthesisRequest

# Fewer tell nothing about a generator.
FEWEST_MEASURED = 20

Sdv = Callable[[pd.DataFrame, int], pd.DataFrame]


class TableHeldBack(Exception):
    """The hospital's policy stops a study whose synthetic table does not pass; what was charged stays charged."""

    exit_code: ClassVar[int] = 1

    def __init__(self, report: Path) -> None:
        """Name the report."""
        super().__init__(
            f'{report}: the synthetic table does not pass the quality gate, and policy.toml says synthetic_gate = "stop"; this hospital '
            "takes no part, and what was charged stays charged"
        )


@dataclass(frozen=True, slots=True)
class Stage:
    """The stage of one study at this hospital.

    Attributes:
        plan: of the agreement; None in mode none.
        drawing: for whom the table is drawn.
        rows: that a table without guarantee has, the declared size.
        gate: the policy's setting.
        report: file of the quality report; must not leave.
        sampler, entropy: of the sums and of the patients drawn from them.
        sdv: another generator than SDV's, for tests of what is around it.
    """

    plan: DpPlan | None
    drawing: Drawing
    rows: int
    gate: SyntheticGate
    report: Path
    sampler: Sampler
    entropy: Entropy
    sdv: Sdv | None = None

    def patients(self, frame: pd.DataFrame) -> tuple[pd.DataFrame, Path]:
        """The synthetic patients in place of the real ones, with the types of `read_table`, and where they are kept.

        Raises:
            TableHeldBack: they do not pass, and the policy stops there.
            KeptSetLost: they were drawn before, and their file is gone.
            SdvProblem: SDV is not installed, or ended without a table.
        """
        stage, study = None if self.plan is None else self.plan.stage, self.drawing.study
        if isinstance(stage, SynthesisRelease):
            request = SynthesisRequest(study, "dp", plan_of(stage, study.dictionary))

            def made(rows: pd.DataFrame) -> pd.DataFrame:
                return synthesized_unpaid(rows, request, self.sampler, self.entropy)

            def drawn() -> pd.DataFrame:
                return typed(
                    synthesized_unpaid(frame, request, self.sampler, self.entropy, as_many=False),
                    study.dictionary,
                )

            gate = self._decided()
            table, path = private_table(stage, self.drawing, drawn)
        else:
            if self.sdv is None:
                check_installed()

            def made(rows: pd.DataFrame) -> pd.DataFrame:
                return self._sdv(rows, len(rows))

            gate = self._decided()
            void = stage if isinstance(stage, VoidRelease) else None
            table, path = unprotected_table(
                void, self.rows, self.drawing, lambda: typed(self._sdv(frame, self.rows), study.dictionary)
            )
        if not self._passes(frame, table, made, path.with_suffix(".gate"), gate) and gate == "stop":
            raise TableHeldBack(self.report)
        return table, path

    def _sdv(self, frame: pd.DataFrame, rows: int) -> pd.DataFrame:
        return sdv_table(frame, self.drawing.study, rows) if self.sdv is None else self.sdv(frame, rows)

    def _decided(self) -> SyntheticGate:
        """The gate's setting, written down once a study, before anything is drawn; a policy that changed since changes later studies."""
        drawing = self.drawing
        written = gate_of(drawing.ledger.entries(), drawing.study_hash)
        if written is None:
            drawing.ledger.note(
                study_hash=drawing.study_hash,
                study_id=drawing.study.id,
                session="",
                text=gate_note(self.gate),
            )
        return written or self.gate

    def _passes(
        self,
        frame: pd.DataFrame,
        table: pd.DataFrame,
        again: Callable[[pd.DataFrame], pd.DataFrame],
        verdict: Path,
        gate: SyntheticGate,
    ) -> bool:
        """Measured once for a table: a restart does not try its luck again."""
        held = _verdict(verdict)
        if held is not None:
            return held
        if len(frame) < FEWEST_MEASURED:
            passed = False
        else:
            try:
                found = quality(frame, table, self.drawing.study, again)
            except SdvProblem:
                # Too few patients for a second fit of a part of them: not measured is not passed.
                passed = False
            else:
                passed = found.passed
                write_report(found, gate, self.report)
        verdict.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        beside = verdict.with_suffix(".new")
        beside.unlink(missing_ok=True)
        with os.fdopen(
            os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8"
        ) as file:
            json.dump({"passed": passed}, file)
        beside.replace(verdict)
        return passed


def fresh_patients(
    study: Study, plan: DpPlan | None, frame: pd.DataFrame, rows: int, sampler: Sampler, entropy: Entropy
) -> pd.DataFrame:
    """Another drawing of a stage's patients, kept nowhere and paid by nobody: for simulations alone.

    Args:
        study, plan: of the agreement.
        frame: as `read_table` returns it.
        rows: that a table without guarantee has.
        sampler, entropy: as for `Stage`.
    """
    stage = None if plan is None else plan.stage
    if isinstance(stage, SynthesisRelease):
        request = SynthesisRequest(study, "dp", plan_of(stage, study.dictionary))
        return typed(synthesized_unpaid(frame, request, sampler, entropy, as_many=False), study.dictionary)
    return typed(sdv_table(frame, study, rows), study.dictionary)


def _verdict(path: Path) -> bool | None:
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return held["passed"] if isinstance(held, dict) and isinstance(held.get("passed"), bool) else None
