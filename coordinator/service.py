"""Runs one study on a coordinator: listens, runs the rounds, writes result, evidence and assessment."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coordinator import enrolment, keys
from coordinator.clock import SystemClock
from coordinator.disk_faults import disk_faults
from coordinator.entropy import OsEntropy
from coordinator.gather import Gatherer
from coordinator.join import StudyFailed
from coordinator.link import LinkServer
from coordinator.pia.build import build as build_pia
from coordinator.progress import Progress
from coordinator.results import StudyRecord, check_out, write_study
from coordinator.state import CoordinatorState
from coordinator.study_run import Finished, StudyRun
from privacy.link.collector import set_startup_aside
from privacy.link.kept_memory import keep_freed_memory
from privacy.studies.agreement import Agreement, build, from_bytes
from privacy.studies.study import Study

# What a disk fault is said of.
RESULTS = "the results of a study"


@dataclass(frozen=True, slots=True)
class Home:
    """The folder given as --home: keys/ (keys, members, consortium.json) and state/ (coordinator.db, spool)."""

    root: Path

    @property
    def keys(self) -> Path:
        return self.root / "keys"

    @property
    def state(self) -> Path:
        return self.root / "state"


@dataclass(frozen=True, slots=True)
class Executed:
    """A run's record, and the failure where it failed."""

    record: StudyRecord
    failed: StudyFailed | None


class StudyOver(Exception):
    """A study id that cannot be run again; one sentence with the remedy."""

    exit_code = 2


class Terminated(BaseException):
    """SIGTERM: unwinds like Ctrl-C."""


def execute(
    run: StudyRun,
    seconds: Mapping[str, float],
    transport: str,
    write: Callable[[StudyRecord], object] = lambda record: None,
) -> Executed:
    """Runs a study to its record; a failure becomes part of it.

    Args:
        write: keeps the record before the study is over; what it raises leaves the study open.
    """
    started = run.clock.monotonic_s()
    made: list[StudyRecord] = []

    def keep(outcome: Finished | StudyFailed) -> None:
        took = {**seconds, "rounds": run.clock.monotonic_s() - started, **run.phase_seconds()}
        made.append(_record(outcome, took, transport))
        write(made[-1])

    run.keep, failed = keep, None
    try:
        run.run()
    except StudyFailed as problem:
        failed = problem
    return Executed(made[-1], failed)


def _record(outcome: Finished | StudyFailed, took: Mapping[str, float], transport: str) -> StudyRecord:
    done = outcome if isinstance(outcome, Finished) else None
    return StudyRecord(
        None if done is None else done.theta,
        outcome.outcomes,
        outcome.accepted,
        outcome.refused,
        outcome.ledgers,
        "" if done is not None else str(outcome),
        took,
        transport,
        None if done is None else done.estimate,
        {} if done is None else done.analysis,
    )


def serve(
    home: Home,
    study: Study,
    listen: str,
    out: Path,
    report: Callable[[Progress], None],
    tests: Path | None,
    *,
    assessment: bool = True,
) -> Mapping[str, Any]:
    """Runs the study; returns the result that was written to `out`.

    Args:
        assessment: write the privacy impact assessment too; otherwise `pia build` does it later.

    Raises:
        StudyFailed: after everything that is known was written; exit code 3.
        DiskFault: of the state or of `out`; the study stays open, and the same command goes on with it.
        ListenError, KeyFileError, EnrolmentError, StudyError, OutTaken: before anything is offered.
    """
    signal.signal(signal.SIGTERM, _terminate)
    clock = SystemClock()
    own, roster = keys.load(home.keys), enrolment.load_roster(home.keys)
    if roster.roster.ids != study.hospitals:
        raise StudyFailed(
            f"the study names {', '.join(study.hospitals)}, the signed roster {', '.join(roster.roster.ids)}; "
            "draft a roster for this study and have it signed"
        )
    check_out(out, study.id)
    started = clock.monotonic_s()
    report(Progress("agreement", "study agreement: noise is calibrated for the whole study"))
    state = CoordinatorState(home.state / "coordinator.db")
    agreement = agreement_for(study, state)
    result: dict[str, Any] = {}
    server = LinkServer(listen, own, roster)
    port = server.start()
    try:
        report(Progress("listening", f"listening on port {port} for {', '.join(study.hospitals)}", port=port))
        run = StudyRun(
            agreement,
            roster.roster,
            own.identity_private,
            Gatherer(server, clock, study.deadline_s, report),
            state,
            clock,
            OsEntropy(),
            report,
            home.state / "spool",
        )
        set_startup_aside()
        keep_freed_memory(os.environ)

        def write(record: StudyRecord) -> None:
            with disk_faults(RESULTS, out):
                rounds = state.rounds(run.study_hash)
                result.update(write_study(out, agreement, roster.signed, record, rounds))

        executed = execute(run, {"agreement": clock.monotonic_s() - started}, "mutual_tls_1_3", write)
    finally:
        server.stop()
        state.close()
    if assessment:
        written = clock.monotonic_s()
        built = build_pia(out, identity=own.identity_private, tests=tests)
        report(
            Progress(
                "pia",
                f"privacy impact assessment: {built.status}, {built.html}",
                seconds=clock.monotonic_s() - written,
            )
        )
    if executed.failed is not None:
        raise executed.failed
    return result


def agreement_for(study: Study, state: CoordinatorState) -> Agreement:
    """The agreement of a new study, or of one that an earlier process began.

    Raises:
        StudyOver: the study reached its end before, or another one has its id.
    """
    stored = state.stored_study(study.id)
    if stored is None:
        return build(study)
    data, status = stored
    agreement = from_bytes(data)
    if agreement.study != study:
        raise StudyOver(f"study id {study.id} belongs to another study that was run here; choose a new id")
    if status != "open":
        # The hospitals closed it in their ledgers when they handed them over.
        raise StudyOver(f"study {study.id} ended before ({status}); a new run is a new study with a new id")
    return agreement


def _terminate(number: int, frame: object) -> None:
    raise Terminated
