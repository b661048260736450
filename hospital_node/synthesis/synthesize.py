"""`data synthesize`: policy and budget, then the patients, then a table with what may be said of it beside it."""

import json
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from hospital_node.clock import Clock
from hospital_node.cohort import build_cohort
from hospital_node.consent_gate import ConsentGate
from hospital_node.entropy import Entropy, OsEntropy
from hospital_node.epoch_marks import EpochMarks, who_is_in
from hospital_node.findings import DataError
from hospital_node.home import Home
from hospital_node.kept_set import charge_once
from hospital_node.ledger_store import LedgerStore
from hospital_node.synthesis.drawn_once import is_drawn, sums_once
from hospital_node.synthesis.rows import table_of
from hospital_node.synthesis.sdv_engine import check_installed
from hospital_node.table import read_table
from privacy.guarantees.release import Release
from privacy.ledgers.ledger import Entry
from privacy.ledgers.policy import Policy, check
from privacy.link.canonical import sha256_hex
from privacy.noise.mechanisms import Sampler
from privacy.patients.consent import DataUse
from privacy.studies.grid import time_grid
from privacy.studies.study import Study
from privacy.synthesis.generate import generate
from privacy.synthesis.model import fit
from privacy.synthesis.request import SDV_STAGE, SynthesisRequest, metadata
from privacy.synthesis.statistics import Statistics, measure, outcome_cell

WRITERS: dict[str, Callable[[pd.DataFrame, Path], None]] = {
    ".csv": lambda table, path: table.to_csv(path, index=False),
    ".parquet": lambda table, path: table.to_parquet(path, index=False),
}
Sdv = Callable[[pd.DataFrame, Study, int], pd.DataFrame]


@dataclass(frozen=True, slots=True)
class Source:
    """The hospital's side of a request.

    Attributes:
        home: keys, ledger, stored sums.
        policy: of the hospital.
        data: its table; read only after policy and budget said yes.
        drop_undeclared: leave columns out that the study does not declare.
    """

    home: Home
    policy: Policy
    data: Path
    drop_undeclared: bool = False

    def use(self, study: Study) -> tuple[str, ...]:
        """What a consent register is asked; () where the policy asks for none."""
        if not self.policy.consent_register:
            return ()
        return (study.about.duo, study.about.disease, study.id)

    def patients(self, study: Study, clock: Clock) -> pd.DataFrame:
        """The checked table; with a consent register only those whose entry permits the study today.

        Raises:
            DataError: the table does not fit, or nobody's consent can be looked up.
            PolicyRefusal: a patient is in the table of another data epoch.
        """
        frame = read_table(self.data, study.dictionary, drop_undeclared=self.drop_undeclared)
        patients = who_is_in(frame, study, self.data)
        EpochMarks(self.home.epochs).take(self.policy.data_epoch, patients, OsEntropy())
        if not self.policy.consent_register:
            return frame
        if study.dictionary.id is None:
            raise DataError(
                self.data.name, "", "cannot be asked for consent: the study declares no field with role 'id'"
            )
        gate = ConsentGate(self.home.consents, DataUse(study.about.duo, study.about.disease, study.id), clock)
        ids = [str(patient) for patient in frame[study.dictionary.id.name]]
        permitted, _ = gate.permitted(gate.pseudonyms(ids))
        return frame.loc[permitted].reset_index(drop=True)


@dataclass(frozen=True, slots=True)
class Synthesized:
    """A table, and whether the ledger was charged for it now.

    Attributes:
        table: columns of the dictionary.
        charged: False where the sums were drawn before and only read.
    """

    table: pd.DataFrame
    charged: bool


def synthesize_dp(
    request: SynthesisRequest,
    source: Source,
    patients: int | None,
    ledger: LedgerStore,
    clock: Clock,
    sampler: Sampler,
    entropy: Entropy,
) -> Synthesized:
    """Synthetic patients from sums that are drawn once; more of them cost nothing.

    Args:
        request: of the DP engine.
        source: the hospital's side.
        patients: rows; None takes the noised number of patients.
        ledger, clock, sampler, entropy: of the hospital.

    Raises:
        PolicyRefusal: exit code 1 for a rule, 4 for the budget; nothing was read or charged.
        DataError: the table does not fit.
        SumsLost: drawn before, and the file is gone.
    """
    plan, study = request.plan, request.study
    assert plan is not None

    def permit(entries: Sequence[Entry]) -> None:
        check(source.policy, request.terms, entries, clock.now())

    def measured(pay: Callable[[Release], None]) -> Statistics:
        return measured_sums(source.patients(study, clock), request, sampler, pay)

    entries = ledger.entries()
    again = is_drawn(entries, request)
    if not again:
        permit(entries)
    sums = sums_once(request, plan, measured, source.home.root / "kept", ledger, permit)
    model = fit(sums, study.dictionary, plan)
    return Synthesized(
        table_of(generate(model, study.dictionary, patients or model.patients, _rng(entropy)), study),
        charged=not again,
    )


def measured_sums(
    frame: pd.DataFrame, request: SynthesisRequest, sampler: Sampler, pay: Callable[[Release], None]
) -> Statistics:
    """The request's four sums about the patients of a table that `read_table` checked."""
    plan, study = request.plan, request.study
    assert plan is not None
    cohort = build_cohort(frame, study.dictionary, study.horizon_days)
    grid = time_grid(study.horizon_days, study.intervals)
    cell = outcome_cell(
        cohort.exit_interval(grid), cohort.event, cohort.time >= study.horizon_days, study.intervals
    )
    return measure(cohort.x, cell, study.intervals, study.dictionary, plan, sampler, pay)


def synthesized_unpaid(
    frame: pd.DataFrame,
    request: SynthesisRequest,
    sampler: Sampler,
    entropy: Entropy,
    *,
    as_many: bool = True,
) -> pd.DataFrame:
    """Synthetic patients from fresh sums that nothing here pays for: for the hospital's own report, or for a caller that charged them.

    Args:
        frame: as `read_table` returns it.
        request: of the DP engine.
        sampler, entropy: of the sums, and of the patients drawn from them.
        as_many: as rows, which only the hospital may see; otherwise the noised number of patients.
    """
    plan, study = request.plan, request.study
    assert plan is not None
    model = fit(measured_sums(frame, request, sampler, lambda _: None), study.dictionary, plan)
    return table_of(
        generate(model, study.dictionary, len(frame) if as_many else model.patients, _rng(entropy)), study
    )


def synthesize_sdv(
    request: SynthesisRequest, source: Source, patients: int, ledger: LedgerStore, clock: Clock, sdv: Sdv
) -> Synthesized:
    """Synthetic patients without a guarantee: from then on nothing that the hospital adds up has a number.

    Args:
        request: of the SDV engine.
        source: the hospital's side.
        patients: rows.
        ledger, clock: of the hospital.
        sdv: fits and samples.

    Raises:
        PolicyRefusal, DataError: see `synthesize_dp`.
    """

    def permit(entries: Sequence[Entry]) -> None:
        check(source.policy, request.terms, entries, clock.now())

    permit(ledger.entries())
    check_installed()
    frame = source.patients(request.study, clock)
    charged = charge_once(SDV_STAGE, ledger, request.hash, request.id, permit)
    return Synthesized(sdv(frame, request.study, patients), charged)


def write(made: Synthesized, request: SynthesisRequest, out: Path) -> Path:
    """Write table and metadata with mode 0600, the metadata first: no table lies anywhere without its guarantee.

    Returns:
        path of the metadata, `<out>.json`.
    """
    out.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    beside = out.with_name(out.name + ".json")
    handle, name = tempfile.mkstemp(dir=out.parent, prefix=".synthetic-", suffix=out.suffix)
    os.close(handle)
    written = Path(name)
    try:
        WRITERS[out.suffix.lower()](made.table, written)
        body = metadata(request, out.name, sha256_hex(written.read_bytes()), len(made.table))
        out.unlink(missing_ok=True)
        beside.unlink(missing_ok=True)
        with os.fdopen(
            os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8"
        ) as file:
            json.dump(body, file, indent=1)
        written.replace(out)
    finally:
        written.unlink(missing_ok=True)
    return beside


def _rng(entropy: Entropy) -> np.random.Generator:
    return np.random.default_rng(int.from_bytes(entropy.random_bytes(32), "big"))
