"""A whole study in one process: the real hospital nodes and the real coordinator, messages handed over instead of sent.

Secure aggregation, ledgers, journals and receipts are the ones of a deployment; only sockets are missing. What is scored on held-out
patients or fitted on pooled ones exists in simulations only and is labeled so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from coordinator.clock import Clock
from coordinator.clock import SystemClock as CoordinatorClock
from coordinator.entropy import OsEntropy as CoordinatorEntropy
from coordinator.gather import Gatherer
from coordinator.join import StudyFailed
from coordinator.pia.build import BuiltPia, build
from coordinator.progress import Progress
from coordinator.results import IN_PROCESS, check_out, write_study
from coordinator.service import execute
from coordinator.state import CoordinatorState
from coordinator.study_run import StudyRun
from deploy.analysis_truth import add_analysis_truth
from deploy.local_link import LocalLink
from deploy.scoring import add_scores
from hospital_node.admission import Admission
from hospital_node.clock import SystemClock
from hospital_node.entropy import DiscreteGaussian, Entropy, OsEntropy
from hospital_node.journal import Journal
from hospital_node.ledger_store import LedgerStore
from hospital_node.node import Node
from privacy.guarantees.stage_effect import Voids
from privacy.ledgers.policy_file import Policy
from privacy.ledgers.policy_lists import ANY
from privacy.link.member_keys import ENTROPY_BYTES, MemberKeys, key_files, read_key_files
from privacy.studies.agreement import build as build_agreement
from privacy.studies.study import Study
from secagg.roster import Roster, SignedRoster, sign_roster

KEYS_VALID_DAYS = 2


class SimulationInputError(Exception):
    """Tables that a simulation needs and does not find; names the file and the remedy."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class Simulated:
    """What a simulation left in its folder."""

    result: Mapping[str, Any]
    pia: BuiltPia
    failed: StudyFailed | None


def table_of(data: Path, hospital: str, suffix: str = "") -> Path | None:
    """`<hospital><suffix>.csv` or `.parquet` in the data folder."""
    return next(
        (p for kind in ("csv", "parquet") if (p := data / f"{hospital}{suffix}.{kind}").is_file()), None
    )


def tables_of(study: Study, data: Path) -> dict[str, Path]:
    """Each hospital's table.

    Raises:
        SimulationInputError: `data` is no folder, or a hospital has no table in it.
    """
    if not data.is_dir():
        raise SimulationInputError(
            f"{data} is no folder; give the folder that holds one table per hospital, such as {study.hospitals[0]}.csv"
        )
    tables: dict[str, Path] = {}
    for hospital in study.hospitals:
        table = table_of(data, hospital)
        if table is None:
            raise SimulationInputError(
                f"{data}: there is no {hospital}.csv or {hospital}.parquet; write one table per hospital"
            )
        tables[hospital] = table
    return tables


def simulate(
    study: Study,
    data: Path,
    out: Path,
    report: Callable[[Progress], None],
    *,
    baselines: bool = True,
    tests: Path | None = None,
) -> Simulated:
    """Runs the study over the tables in `data` and writes result, model, evidence and assessment to `out`.

    Args:
        study: as `load_study` returns it.
        data: folder with one table per hospital, optionally `<hospital>.test.csv`.
        out: made where it does not exist.
        report: progress.
        baselines: also fit pooled Cox and each hospital alone.
        tests: test evidence for the assessment.

    Raises:
        SimulationInputError: see `tables_of`.
        OutTaken: `out` holds the result of another study, or of one that was not simulated.
        DataError: a table does not fit the study's dictionary; here its holder is who asked, so the sentence is shown.
        StudyError, RefusedModel, NotBuilt: see `privacy.studies.agreement.build`.
    """
    tables = tables_of(study, data)
    check_out(out, study.id, simulated=True)
    _check_tables(study, tables)
    clock, entropy = CoordinatorClock(), OsEntropy()
    started = clock.monotonic_s()
    report(Progress("agreement", "study agreement: noise is calibrated for the whole study"))
    agreement = build_agreement(study)
    agreed = clock.monotonic_s() - started
    keys, signed = consortium(study.hospitals, entropy, clock)
    out.mkdir(parents=True, exist_ok=True)
    # Journals, ledgers and reports of pretended hospitals: nobody needs them after the run, and a bundle must not hold them.
    with TemporaryDirectory(prefix="wardround-simulation-") as folder, ExitStack() as open_files:
        state = CoordinatorState(Path(folder) / "coordinator.db")
        open_files.callback(state.close)
        nodes = {}
        for hospital, table in tables.items():
            node = make_node(hospital, keys[hospital], signed.roster, study, table, Path(folder), entropy)
            open_files.callback(node.journal.close)
            open_files.callback(node.ledger.close)
            nodes[hospital] = node
        run = StudyRun(
            agreement,
            signed.roster,
            keys["coordinator"].identity_private,
            Gatherer(LocalLink(nodes), clock, study.deadline_s, report),
            state,
            clock,
            CoordinatorEntropy(),
            report,
            Path(folder) / "spool",
        )
        executed = execute(run, {"agreement": agreed}, IN_PROCESS)
        result = write_study(out, agreement, signed, executed.record, state.rounds(run.study_hash))
    if executed.record.theta is not None:
        result = add_scores(out, result, agreement, executed.record.theta, tables, data, baselines, report)
    result = add_analysis_truth(out, result, agreement, tables)
    pia = build(out, identity=keys["coordinator"].identity_private, tests=tests)
    return Simulated(result, pia, executed.failed)


def _check_tables(study: Study, tables: Mapping[str, Path]) -> None:
    """Before anything runs: a node would only tell that its data check failed, as it does in a study."""
    from hospital_node.stage import apply_stage
    from hospital_node.table import read_table

    for table in tables.values():
        apply_stage(read_table(table, study.dictionary), study)


def consortium(
    hospitals: tuple[str, ...], entropy: Entropy, clock: Clock
) -> tuple[dict[str, MemberKeys], SignedRoster]:
    """Fresh keys of everybody and the roster that all hospitals signed, for this simulation only."""
    keys = {
        member: read_key_files(
            key_files(
                member,
                "coordinator" if member == "coordinator" else "hospital",
                entropy.random_bytes(ENTROPY_BYTES),
                clock.now(),
                KEYS_VALID_DAYS,
            ),
            "coordinator" if member == "coordinator" else "hospital",
        )
        for member in (*hospitals, "coordinator")
    }
    roster = Roster(1, tuple(keys[h].member() for h in sorted(hospitals)), keys["coordinator"].member())
    signatures = {h: sign_roster(keys[h].identity_private, roster) for h in sorted(hospitals)}
    return keys, SignedRoster(roster, signatures)


def make_node(
    hospital: str, keys: MemberKeys, roster: Roster, study: Study, table: Path, state: Path, entropy: Entropy
) -> Node:
    """A hospital's node on files of its own; every release is approved, as an unattended node does."""
    home = state / hospital
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    clock = SystemClock()
    return Node(
        Admission(hospital, roster, simulation_policy(study), study, table, home / "reports"),
        keys.identity_private,
        Journal(home / "journal.db"),
        LedgerStore(home / "ledger.db", keys.identity_private, clock),
        entropy,
        DiscreteGaussian(),
        clock,
        lambda event: None,
        lambda outgoing: True,
    )


def simulation_policy(study: Study) -> Policy:
    """A policy that permits exactly this study; a real hospital writes its own."""
    return Policy(
        epsilon_total=study.epsilon or 1.0,
        delta_total=study.delta or 1e-5,
        minimum_noise_multiplier=0.0,
        minimum_threshold=2,
        minimum_cohort=3,
        colluding_minimum=0,
        families=(study.model.family,),
        stages=(study.stage.kind,),
        purposes=(ANY,),
        modes=(study.mode,),  # type: ignore[arg-type]  # the study's validator allows exactly these
        allow_mode_none=study.mode == "none" or isinstance(study.effect, Voids),
        allow_sparse_graph=study.neighborhood is not None,
        aborted_rounds_maximum=0,
        expires=date.max,
        analyses=(ANY,),
        minimum_cell=1,
    )
