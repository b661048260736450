"""What one hospital does for a study: the tasks of its recipe, each one vector in and one vector out."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from hospital_node.analytics.rows import Asked, rows_of_ask
from hospital_node.cohort import Cohort
from hospital_node.dp_sgd import release_life_table, train_local
from hospital_node.entropy import Entropy
from hospital_node.statistics.sums import SpareNoise, summed
from hospital_node.statistics.tasks import Patients, rows_of
from hospital_node.survival.follow_up import FollowUp
from hospital_node.survival.model import SurvivalModel, build_model
from privacy.analytics.asks import Ask
from privacy.guarantees.plan import DpPlan, Release
from privacy.noise.mechanisms import Sampler
from privacy.studies.agreement import Agreement
from privacy.studies.exchange import statistic_release
from privacy.studies.grid import FloatArray, IntArray
from privacy.studies.trained_model import layout_of
from privacy.studies.training import Training

Behind = Literal["patients", "private", "copies"]
# A model or counts as float64, a noised statistic as int64.
Answer = FloatArray | IntArray


@dataclass(frozen=True, slots=True)
class LocalStudy:
    """The hospital's patients, the agreed settings, and its sources of randomness.

    Attributes:
        model: the survival model.
        cohort: after the stage, times censored at the horizon; never printed.
        grid_days: (K + 1,) boundaries of the intervals.
        training: what the optimizer acts on.
        plan: what noises each release; None in mode "none" and behind a private synthesizer.
        statistics: for each task that is a noised sum over patients the units and noise of one round.
        n_public: the hospital's declared size.
        sampler: noise.
        entropy: Poisson samples.
        asks: what [analysis] asks, by task.
        cells: columns of the table after its stage that the asks are about.
        pseudonyms: of the cohort's patients, in its order, or of those behind it where it is synthetic; () where no consent register is asked.
        behind: what the cohort's rows are: "patients", "private" synthetic ones, which a withdrawal does not reach any more, or
            "copies" of a generator without guarantee.
        spare: the layers of the noise of the last statistic.
    """

    model: SurvivalModel
    cohort: Cohort = field(repr=False)
    grid_days: FloatArray
    training: Training
    plan: DpPlan | None
    n_public: int
    sampler: Sampler
    entropy: Entropy
    statistics: Mapping[str, Release] = field(default_factory=dict)
    asks: Mapping[str, Ask] = field(default_factory=dict)
    cells: Mapping[str, FloatArray] = field(default_factory=dict, repr=False)
    pseudonyms: tuple[str, ...] = field(default=(), repr=False)
    behind: Behind = "patients"
    spare: SpareNoise = field(default_factory=SpareNoise, repr=False, compare=False)
    patients: FollowUp = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Place the patients on the grid, once for all rounds."""
        object.__setattr__(self, "patients", FollowUp.of(self.cohort, self.grid_days))

    @classmethod
    def of(
        cls,
        agreement: Agreement,
        hospital: str,
        cohort: Cohort,
        sampler: Sampler,
        entropy: Entropy,
        cells: Mapping[str, FloatArray] | None = None,
    ) -> Self:
        """The study of an agreement as `hospital` runs it."""
        return cls(
            model=build_model(layout_of(agreement)),
            cohort=cohort,
            grid_days=np.asarray(agreement.times_days, dtype=np.float64),
            training=agreement.training,
            plan=agreement.noising,
            n_public=agreement.study.about.n_public[hospital],
            sampler=sampler,
            entropy=entropy,
            statistics={
                task.name: statistic_release(agreement, task)
                for task in agreement.tasks
                if task.payload == "statistic"
            },
            asks={ask.name: ask for ask in agreement.study.asks},
            cells=cells or {},
        )

    @property
    def sends_statistics(self) -> bool:
        """Whether the recipe's vectors are noised sums, and the coordinator takes the steps."""
        return not self.training.sends_models

    def paid_by(self, task: str) -> str:
        """Name of the release whose noise is in a task's answer; in mode none, where there is none, the task's own.

        Raises:
            PlanError: the plan has no such release.
        """
        if task in self.statistics:
            return self.statistics[task].name
        return task if self.plan is None else self.plan.release(task).name

    def select(self, chosen: NDArray[np.bool_]) -> Self:
        """The same study with the chosen patients only; sampling rate, steps and denominators stay as declared.

        A private synthetic table was released when it was drawn, and stays while anybody permits. One without guarantee may hold whom it was
        fitted to, so it goes as a whole when one of them does.
        """
        pseudonyms = tuple(p for p, is_in in zip(self.pseudonyms, chosen, strict=True) if is_in)
        if self.behind == "private" and chosen.any():
            return replace(self, pseudonyms=pseudonyms)
        if self.behind != "patients":
            chosen = np.zeros(len(self.cohort), dtype=np.bool_)
        cells = {name: values[chosen] for name, values in self.cells.items()}
        return replace(self, cohort=self.cohort.select(chosen), pseudonyms=pseudonyms, cells=cells)

    def life_table(self) -> FloatArray:
        """Task "life_table": the exit histogram, shape (2K,), noised under a plan."""
        return release_life_table(self.cohort, self.grid_days, self.plan, self.sampler)

    def train(self, theta: FloatArray, round_number: int) -> FloatArray:
        """Task "train": the common model after this hospital's local steps, shape (dim,).

        Args:
            theta: (dim,) the round's common model.
            round_number: 1 to `training.rounds`.

        Raises:
            LayoutError, TrainingMismatchError, PlanError: see `train_local`.
        """
        return train_local(
            self.model,
            theta,
            self.patients,
            self.training,
            self.plan,
            self.n_public,
            round_number - 1,
            self.sampler,
            self.entropy,
        )

    def statistic(self, task: str, theta: FloatArray) -> IntArray:
        """A task whose vector is a noised sum over patients: integers in the release's units, exact without a plan.

        Args:
            task: one of `statistics`.
            theta: (dim,) the round's common model, and what the task carries behind it; ignored by the life table.

        Raises:
            LayoutError: theta is not of this model.
        """
        release = self.statistics[task]
        sampler = None if self.plan is None else self.sampler
        if task in self.asks:
            asked = Asked.of(self.cells, self.cohort, self.grid_days)
            layout = self.model.layout

            def risk(chosen: slice) -> FloatArray:
                return layout.risk(layout.checked(theta), self.cohort.x[chosen])

            answers = rows_of_ask(self.asks[task], asked, theta, risk)
            return summed(len(asked), answers, release, sampler, self.spare)
        everyone = Patients.of(self.cohort, self.patients, self.grid_days)
        layout = self.model.layout
        checked, carried = layout.checked(theta[: layout.dim]), theta[layout.dim :]
        rows = rows_of(task, self.model, self.training, checked, everyone, carried)
        return summed(len(everyone), rows, release, sampler, self.spare)
