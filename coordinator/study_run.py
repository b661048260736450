"""One study from the offer to the last receipt: joins the hospitals, runs the rounds under a Flower strategy, collects the ledgers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from flwr.app import ArrayRecord
from flwr.serverapp import ServerApp
from numpy.typing import NDArray

from coordinator.analysis_rounds import analyze
from coordinator.attendance import absent, left_out, needs_quorum
from coordinator.clock import Clock
from coordinator.declared import enough_answers, enough_rounds
from coordinator.disk_faults import DiskFault
from coordinator.entropy import Entropy
from coordinator.flower_link import Context as FlowerContext
from coordinator.flower_link import Grid, adopt_identity, empty_context
from coordinator.folded_sums import FoldedSums
from coordinator.gather import Gatherer, Silence
from coordinator.grid import Answer, SecureGrid
from coordinator.held_arrays import record_of, values_of
from coordinator.join import StudyFailed, collect_ledgers, offer_study
from coordinator.outcome import Outcome, remembered
from coordinator.progress import Progress
from coordinator.round_ends import RoundEnds
from coordinator.rounds import RoundEngine
from coordinator.spare_noise import spare_noise_of
from coordinator.spool import check_room
from coordinator.state import CoordinatorState
from coordinator.strategies import fold_strategy, make_strategy
from privacy.recipes.fit import Fit, Statistic
from privacy.recipes.intervals import Estimate
from privacy.studies.agreement import Agreement
from privacy.studies.exchange import (
    ExchangeError,
    fit_rounds,
    mean_update,
    model_view,
    order_settings,
    statistic,
    task_at,
    task_of,
    total_rounds,
)
from privacy.studies.next_model import begin_fit, start_model
from secagg.context import SESSION_ID_BYTES, Context
from secagg.errors import ProtocolError
from secagg.params import PROTOCOL_VERSION
from secagg.roster import Roster
from secagg.secret import SecretBytes
from secagg.wire import codec
from secagg.wire.records import StudyEnd


@dataclass(frozen=True, slots=True)
class Finished:
    """A study that reached its last round.

    Attributes:
        theta: final parameters; None where nothing is trained.
        estimate: coefficients with their errors, where the recipe knows them.
        outcomes: every round in order, aborted ones included.
        accepted: hospitals that accepted the study.
        refused: hospitals that did not, or never connected, with the reason.
        ledgers: signed ledger exports as received, by hospital.
        analysis: released sums of the analysis, by task.
    """

    theta: NDArray[np.float64] | None
    outcomes: tuple[Outcome, ...]
    accepted: tuple[str, ...]
    refused: tuple[Silence, ...]
    ledgers: dict[str, bytes]
    estimate: Estimate | None = None
    analysis: dict[str, Statistic] = field(default_factory=dict)


@dataclass(slots=True)
class StudyRun:
    """Everything one run needs, and what it knows so far."""

    agreement: Agreement
    roster: Roster
    identity: SecretBytes
    gatherer: Gatherer
    state: CoordinatorState
    clock: Clock
    entropy: Entropy
    report: Callable[[Progress], None]
    spool_directory: Path
    outcomes: list[Outcome] = field(default_factory=list)
    models: list[NDArray[np.float64]] = field(default_factory=list)
    estimate: Estimate | None = None
    members: frozenset[str] = frozenset()
    engine: RoundEngine | None = None
    accepted: frozenset[str] = frozenset()
    refused: tuple[Silence, ...] = ()
    join_seconds: float = 0.0
    replay: set[int] = field(default_factory=set)
    # What the study came to, before it is over: what this raises leaves it open.
    keep: Callable[[Finished | StudyFailed], object] = field(default=lambda outcome: None)
    ends: RoundEnds = field(init=False)

    def __post_init__(self) -> None:
        self.ends = RoundEnds(self.agreement, self.state, self.gatherer, self.clock, self.report)

    @property
    def study_hash(self) -> bytes:
        return bytes.fromhex(self.agreement.hash)

    def run(self) -> Finished:
        """Blocks until the study is over.

        Raises:
            StudyFailed: too few hospitals accepted, or the life table or too many rounds were aborted.
            DiskFault: this machine's disk; the study stays open, and another run goes on with it.
        """
        try:
            return self._run()
        finally:
            self.ends.close()

    def _run(self) -> Finished:
        study, opened = self.agreement.study, self.clock.now().isoformat(timespec="seconds")
        self.state.open_study(self.study_hash, study.id, self.agreement.to_bytes(), opened)
        self._restore()
        try:
            self._join()
            theta = self._train(*self._start()) if study.has_model else None
            self.ends.settle()
            analysis = analyze(self.agreement, theta, self._round)
            enough_answers(self.agreement, self.outcomes)
        except StudyFailed as failed:
            self.ends.settle()
            failed.accepted = tuple(sorted(self.accepted))
            failed.refused = failed.refused or self.refused
            failed.outcomes = tuple(self.outcomes)
            failed.ledgers = collect_ledgers(self.gatherer, self.study_hash, self.members)
            self._end("failed", str(failed), failed)
            raise
        finished = Finished(
            theta,
            tuple(self.outcomes),
            tuple(sorted(self.accepted)),
            self.refused,
            collect_ledgers(self.gatherer, self.study_hash, self.members),
            self.estimate,
            analysis,
        )
        self._end("done", "", finished)
        return finished

    def phase_seconds(self) -> dict[str, float]:
        """Wall time of joining, and of the rounds by task."""
        took = {"join": self.join_seconds}
        for outcome in self.outcomes:
            task = task_of(self.agreement, outcome.round)
            took[task] = took.get(task, 0.0) + outcome.seconds
        return took

    def _restore(self) -> None:
        """The strategy rebuilds its state by running over what an earlier process left, and the first live round follows."""
        self.replay = self.ends.resume()
        if self.replay:
            last = max(self.replay)
            self.report(Progress("resumed", f"resumed: rounds 1 to {last} were run before the restart"))

    def _join(self) -> None:
        started = self.clock.monotonic_s()
        if self.replay >= set(range(1, total_rounds(self.agreement) + 1)):
            self._meet_again()
            return
        self.accepted, self.refused = offer_study(self.gatherer, self.agreement, self.roster, self.report)
        try:
            self._open_session(self.accepted)
        except ProtocolError as error:
            raise StudyFailed(f"no session could be opened: {error}") from error
        self.join_seconds = self.clock.monotonic_s() - started

    def _meet_again(self) -> None:
        """Every round was run before: only ledgers are asked for, and who closed its own before and was started anew takes part no more."""
        stored = (self.ends.replayed(number) for number in sorted(self.replay))
        answered = frozenset[str]().union(*(outcome.answered for outcome in stored))
        self.members, self.refused = offer_study(
            self.gatherer, self.agreement, self.roster, self.report, needed=0
        )
        self.accepted = self.members | answered
        self.refused = tuple(silence for silence in self.refused if silence.hospital not in self.accepted)

    def _end(self, status: str, reason: str, outcome: Finished | StudyFailed) -> None:
        """What the study leaves is kept before it is over: neither hospitals nor the state let it be run again for it."""
        self.keep(outcome)
        self.state.close_study(self.study_hash, status, reason)
        for hospital in sorted(self.gatherer.link.connected()):
            self.gatherer.tell(hospital, codec.pack("study_end", StudyEnd(status, reason[:500])))

    def _open_session(self, accepted: frozenset[str]) -> None:
        agreement, roster = self.agreement, self.roster
        self.engine = RoundEngine(
            self.identity,
            agreement.secagg,
            roster,
            self.gatherer,
            self.clock,
            self.report,
            self.spool_directory,
        )

        def fresh() -> Context:
            session = self.entropy.take(SESSION_ID_BYTES)
            self.state.add_session(session, self.study_hash, self.clock.now().isoformat(timespec="seconds"))
            return Context(PROTOCOL_VERSION, self.study_hash, roster.hash, session)

        silent = self.engine.open_session(fresh, 1 + max(self.replay, default=0), accepted)
        self.members = accepted - set(silent)
        self.refused = (*self.refused, *(silent[hospital] for hospital in sorted(silent)))
        self.report(Progress("session", f"keys agreed by {', '.join(sorted(self.members))}"))

    def _round(self, number: int, model: bytes | memoryview) -> Outcome:
        """One round, on the disk and announced."""
        outcome = self._run_round(number, model)
        self.ends.settle()
        return outcome

    def _run_round(self, number: int, model: bytes | memoryview) -> Outcome:
        """One round whose end may still be on its way to the disk; the round before it is settled before its order leaves."""
        self.outcomes[-1:] = [remembered(one, self.state.file_bytes) for one in self.outcomes[-1:]]
        if number in self.replay:
            self.outcomes.append(self.ends.replayed(number))
            return self.outcomes[-1]
        assert self.engine is not None
        task = task_of(self.agreement, number)
        previous = next((o.receipt for o in reversed(self.outcomes) if o.receipt is not None), b"")
        settings = order_settings(self.agreement, number)
        ordered = self.engine.order(number, task, model, settings, previous)
        # From here to the order nothing waits or prints: what is announced and the order then leave in one frame.
        self.ends.announce()
        # Behind a finished round nobody is at fault; the state is asked across restarts too.
        done = self.outcomes and self.outcomes[-1].status == "done"
        shown = {} if done else self.state.culprits(self.study_hash, number - 1)
        out = left_out(number, shown, self.members)
        asked = self.members - out.keys()
        needs_quorum(self.agreement, self.gatherer, number, asked, lambda: self.ends.wait_with(number))
        present = asked & self.gatherer.link.connected()
        self._needs_room(number, len(present))
        self.ends.begin(number)
        self.engine.tell(ordered, present)
        self.ends.say()
        last = total_rounds(self.agreement)
        self.report(Progress("round_started", f"round {number} of {last}: {task}", round=number, rounds=last))
        spare = spare_noise_of(self.agreement, task_at(self.agreement, number))
        outcome = self.engine.run(ordered, present, absent(present, self.members, self.refused) | out, spare)
        self.outcomes.append(outcome)
        self.ends.write(outcome)
        if self.engine.fault is not None:
            raise self.engine.fault
        return outcome

    def _needs_room(self, number: int, present: int) -> None:
        """The order does not leave where the vectors find no room."""
        try:
            check_room(self.spool_directory, self.agreement.secagg.vector_bytes, present)
        except DiskFault:
            self.ends.wait_with(number)
            raise

    def _start(self) -> tuple[NDArray[np.float64], Fit | None]:
        """The common start: the life table's baseline where the study has one, otherwise a flat one; and the fold, if the recipe has one."""
        if not self.agreement.training.life_table:
            return start_model(self.agreement, None, ()), None
        outcome = self._round(1, b"")
        if outcome.total is None:
            raise StudyFailed(f"the life table's round was aborted: {outcome.reason}")
        try:
            table = (self.agreement, outcome.total, outcome.answered)
            fit = begin_fit(*table)
            return (start_model(*table) if fit is None else fit.ordered(task_of(self.agreement, 2))), fit
        except ExchangeError as error:
            raise StudyFailed(str(error)) from error

    def _train_round(self, theta: NDArray[np.float64], server_round: int) -> Answer | None:
        """One round behind the start; None where it was aborted and the study can go on without.

        Raises:
            StudyFailed: the sum is not what the agreement says, or a round that the rest builds on was aborted.
        """
        number = server_round + int(self.agreement.training.life_table)
        task = task_at(self.agreement, number)
        outcome = self._run_round(number, model_view(theta))
        if outcome.total is None:
            if not task.repeats:
                raise StudyFailed(f"the round of {task.name} was aborted: {outcome.reason}")
            return None
        weight = sum(self.agreement.study.n_public[hospital] for hospital in outcome.answered)
        try:
            if task.payload == "statistic":
                released = statistic(self.agreement, task, outcome.total, outcome.answered)
                return Answer(released.values, weight, released.noise_sd, task.name)
            model = mean_update(self.agreement, outcome.total, outcome.answered)
        except ExchangeError as error:
            raise StudyFailed(str(error)) from error
        model += theta
        return Answer(model, weight, 0.0, task.name)

    def _train(self, start: NDArray[np.float64], fit: Fit | None) -> NDArray[np.float64]:
        """Flower's strategy over the secure grid: the fold's result, or the mean of the last models."""
        adopt_identity()
        agreement = self.agreement
        first = 1 + int(agreement.training.life_table)
        rounds = fit_rounds(agreement) - first + 1
        strategy = (
            make_strategy(agreement.training, agreement.n)
            if fit is None
            else fold_strategy(fit, lambda done: self._task_after(done), agreement.n)
        )
        app = ServerApp()

        @app.main()  # type: ignore[untyped-decorator]  # flwr is checked as Any
        def main(grid: Grid, context: FlowerContext) -> None:
            strategy.start(
                grid=grid,
                initial_arrays=record_of(start),
                num_rounds=rounds,
                evaluate_fn=self._keep if fit is None else None,
            )

        app(SecureGrid(agreement.n, self._train_round), empty_context())
        enough_rounds(agreement, self.outcomes)
        if isinstance(strategy, FoldedSums):
            self.estimate = strategy.fit.estimate
            return strategy.fit.result
        return np.asarray(np.mean(self.models, axis=0), dtype=np.float64)

    def _task_after(self, server_round: int) -> str | None:
        """What the round after a server round is for, None after the last."""
        number = server_round + int(self.agreement.training.life_table) + 1
        return task_of(self.agreement, number) if number <= fit_rounds(self.agreement) else None

    def _keep(self, server_round: int, arrays: ArrayRecord) -> None:
        """Remembers the models that the average is of; post-processing of what was released."""
        training = self.agreement.training
        left = fit_rounds(self.agreement) - int(training.life_table) - server_round
        if server_round > 0 and left < training.average_last:
            self.models.append(np.clip(values_of(arrays), -training.parameter_clip, training.parameter_clip))
