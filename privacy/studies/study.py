"""A study file: parsed once at the edge into one frozen value, or refused with one sentence.

    Study = [study] + [cohort] + [secure_aggregation] + [privacy] + [stage] + [model] + [analysis] + [[field]]

Defaults that depend on several sections are properties here, computed by a public rule from what the file says, so
that a hospital and the coordinator that hold the same bytes hold the same study.
"""

import tomllib
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ValidationError, model_validator
from pydantic import Field as Setting

from privacy.analytics.asks import Ask, asks
from privacy.guarantees.stage_effect import Effect, Rows
from privacy.guarantees.stage_release import StageRelease, additive_cost
from privacy.patients.dictionary import Dictionary
from privacy.patients.field import Field
from privacy.studies import graph_choice, recipe_choice, study_remarks, study_stage
from privacy.studies.built import check_built
from privacy.studies.refusals import NotBuilt as NotBuilt
from privacy.studies.refusals import RefusedModel as RefusedModel
from privacy.studies.refusals import StudyError as StudyError
from privacy.studies.study_checks import first_contradiction
from privacy.studies.study_problems import first_problem
from privacy.studies.study_sections import (
    About,
    Analysis,
    Consortium,
    Model,
    Privacy,
    Section,
    SecureAggregation,
    Stage,
)
from privacy.studies.trial_arms import arms_of
from secagg.params import Neighborhood, default_threshold

MAX_STUDY_BYTES = 4 << 20
# Share of mu^2 for [analysis] beside a model that does not say otherwise.
ANALYSIS_SHARE = 0.10
SECTIONS: dict[str, type[BaseModel]] = {
    "study": About,
    "cohort": Consortium,
    "secure_aggregation": SecureAggregation,
    "privacy": Privacy,
    "stage": Stage,
    "model": Model,
    "analysis": Analysis,
    "field": Field,
}


class Study(Section):
    """A checked study; made by `parse_study` or `study_from_json`, which also refuse what is not built."""

    about: About = Setting(alias="study")
    cohort: Consortium = Consortium()
    secure_aggregation: SecureAggregation = SecureAggregation()
    privacy: Privacy = Privacy()
    stage: Stage = Stage()
    model: Model = Model()
    analysis: Analysis = Analysis()
    fields: tuple[Field, ...] = Setting(alias="field")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        check_built("", self.privacy, self.stage, self.model, self.analysis)
        problem = first_contradiction(self)
        if problem:
            raise StudyError("", problem)
        return self

    @cached_property
    def dictionary(self) -> Dictionary:
        """The fields as a dictionary."""
        return Dictionary(fields=self.fields)

    @property
    def id(self) -> str:
        """Short name, safe in file names."""
        return self.about.id

    @property
    def title(self) -> str:
        """Title, or the id."""
        return self.about.title or self.about.id

    @property
    def purpose(self) -> str:
        """Purpose as the study's authors wrote it; may be empty, which a policy can refuse."""
        return self.about.purpose

    @property
    def horizon_days(self) -> float:
        """Administrative censoring."""
        return self.about.horizon_days

    @property
    def intervals(self) -> int:
        """Pieces of the baseline hazard."""
        return self.about.intervals

    @property
    def hospitals(self) -> tuple[str, ...]:
        """Ids in sorted order."""
        return tuple(sorted(self.cohort.hospitals or self.about.n_public))

    @property
    def n_public(self) -> dict[str, int]:
        """Declared size per hospital, in sorted order."""
        return {hospital: self.about.n_public[hospital] for hospital in self.hospitals}

    @property
    def n_public_total(self) -> int:
        """Declared size of all hospitals together."""
        return sum(self.about.n_public.values())

    @property
    def mode(self) -> str:
        """ "local", "distributed" or "none"."""
        return self.privacy.mode

    @property
    def epsilon(self) -> float | None:
        """What the whole study may cost one patient: [privacy] epsilon and what the stage adds; None in mode none.

        Behind a private synthesizer that of the stage: nothing that is made of its table costs more.
        """
        if self.mode != "none" and not self.noised:
            return self.stage.epsilon
        if self.mode == "none" or self.privacy.epsilon is None:
            return None
        return additive_cost(self._stages, "add/remove")[0] + self.privacy.epsilon

    @property
    def delta(self) -> float | None:
        """As declared, or min(1e-5, 1 / (100 x declared patients)), and what the stage adds; None in mode none."""
        if self.mode == "none":
            return None
        if not self.noised:
            return self.stage.delta
        behind = self.privacy.delta or min(1e-5, 1.0 / (100 * self.n_public_total))
        return additive_cost(self._stages, "add/remove")[1] + behind

    @property
    def effect(self) -> Effect:
        """What the stage does to the guarantee of what is behind it."""
        return study_stage.effect(self)

    @cached_property
    def stage_release(self) -> StageRelease | None:
        """The stage's own entry in plan and ledger; None where it costs nothing of its own, or nothing is noised."""
        return study_stage.release(self)

    @property
    def noised(self) -> bool:
        """Whether the rounds themselves are noised: not in mode none, and not on a private synthesizer's patients."""
        return self.mode != "none" and self.stage.kind != "synthetic_dp"

    @property
    def _stages(self) -> tuple[StageRelease, ...]:
        return () if self.stage_release is None else (self.stage_release,)

    @property
    def colluding(self) -> int:
        """Hospitals that may collude with the coordinator, T."""
        return self.cohort.colluding

    @property
    def threshold(self) -> int:
        """Smallest set that may be summed, t; the smallest that T allows unless the file asks for more."""
        return self.cohort.threshold or default_threshold(len(self.hospitals), self.colluding)

    @cached_property
    def neighborhood(self) -> Neighborhood | None:
        """Neighbors in the sparse graph of secure aggregation, by the public rule; None for the complete graph."""
        return graph_choice.choose(self.secure_aggregation, len(self.hospitals), self.colluding)

    @cached_property
    def graph(self) -> graph_choice.GraphFacts | None:
        """What the sparse graph comes to; None for the complete graph."""
        return graph_choice.facts(self.secure_aggregation, len(self.hospitals), self.colluding)

    @property
    def minimum_answers(self) -> int:
        """Hospitals that must be in every result; the threshold unless the file asks for more."""
        return self.cohort.minimum_answers or self.threshold

    @property
    def deadline_s(self) -> float:
        """How long a round waits for hospitals."""
        return self.cohort.deadline_s

    @property
    def has_model(self) -> bool:
        """Whether anything is trained; family "none" asks [analysis] alone."""
        return self.model.family != "none"

    @property
    def evaluates(self) -> bool:
        """Whether the trained model is evaluated on the study's own patients."""
        return self.has_model and self.privacy.evaluation_share > 0

    @cached_property
    def asks(self) -> tuple[Ask, ...]:
        """What is asked of the patients beside a model, in the order of its rounds."""
        return asks(self.analysis, self.dictionary, self.intervals, evaluates=self.evaluates)

    @property
    def analyses(self) -> tuple[str, ...]:
        """Kinds of what is asked beside a model, as a hospital's policy names them."""
        return tuple(sorted({"evaluation" if ask.needs_model else str(ask.kind) for ask in self.asks}))

    @property
    def analysis_share(self) -> float:
        """Share of mu^2 for what [analysis] asks, the evaluation of the model not included."""
        if not self.analysis.asks_patients:
            return 0.0
        if not self.has_model:
            return 1.0
        stated = self.privacy.analysis_share
        return ANALYSIS_SHARE if stated is None else stated

    @property
    def strategy(self) -> str:
        """Flower strategy: as asked; otherwise fedavg, or fedadam where nothing is noised; none without a model."""
        return recipe_choice.strategy(self)

    @property
    def recipe(self) -> str:
        """As asked; otherwise by the public rule, from the mode, the family and the number of declared columns."""
        return recipe_choice.recipe(self)

    @property
    def allocation(self) -> tuple[float, ...]:
        """Public share of each arm of a trial, the reference first, adding up to 1; empty without `[model] trial`."""
        trial = self.model.trial
        if trial is None:
            return ()
        parts = [trial.allocation[arm] for arm in arms_of(self)]
        return tuple(part / sum(parts) for part in parts)

    @property
    def noise_shares(self) -> int:
        """h = t - max(T, 1): noise shares that nobody who looks can subtract; 1 where every vector has its full noise.

        A curious hospital knows its own share even where none is assumed to collude.
        """
        return self.threshold - max(self.colluding, 1) if self.mode == "distributed" else 1

    @property
    def spare_layers(self) -> int:
        """n - t: layers of each noise share that larger sums than the smallest one do not need; 0 where nothing is taken out.

        Over the sparse graph nothing is: a set opens against t signatures there, so that the sum over the signers alone may be
        solvable, and what they told for all of it would be missing.
        """
        if self.noise_shares == 1 or self.neighborhood is not None:
            return 0
        return len(self.hospitals) - self.threshold

    @property
    def sensitivity_rows(self) -> int:
        """Rows of the training set that one patient can add or remove: k behind the stage `drop`, otherwise 1."""
        return self.effect.rows if isinstance(self.effect, Rows) else 1

    def to_json(self) -> dict[str, Any]:
        """The study as written, defaults of single keys included; `study_from_json` reads it back."""
        return self.model_dump(mode="json", by_alias=True)

    @property
    def row_assumption(self) -> str:
        """What the guarantee assumes where no field tells patients apart; empty otherwise."""
        if self.dictionary.id is not None:
            return ""
        return "each patient has one row: the study has no field with role 'id', so no hospital can check it"

    def remarks(self) -> tuple[str, ...]:
        """Sentences that `lint` prints: legal, but worth a second look."""
        return study_remarks.remarks(self)


def parse_study(toml_text: str, where: str) -> Study:
    """The study that a TOML text describes.

    Args:
        toml_text: content of the file.
        where: its name, for messages.

    Raises:
        StudyError: not TOML, an unknown key, a wrong value, sections that contradict each other.
        NotBuilt: something designed but not built.
        RefusedModel: a model that cannot be private.
    """
    try:
        raw = tomllib.loads(toml_text)
    except tomllib.TOMLDecodeError as error:
        raise StudyError(where, f"not valid TOML: {error}") from None
    return study_from_json(raw, where)


def load_study(path: Path) -> Study:
    """The study in the file at `path`; raises as `parse_study` does, and StudyError for a file that cannot be read."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise StudyError(str(path), f"cannot be read: {error.strerror}") from None
    if len(data) > MAX_STUDY_BYTES:
        raise StudyError(path.name, f"is larger than {MAX_STUDY_BYTES >> 20} MiB, so it is no study file")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise StudyError(path.name, f"is not UTF-8 (byte {error.start}); save it as UTF-8") from None
    return parse_study(text, path.name)


def study_from_json(raw: Mapping[str, Any], where: str) -> Study:
    """As `parse_study`, from the parsed table or from `Study.to_json()`."""
    try:
        return Study.model_validate(raw)
    except ValidationError as error:
        problem = first_problem(error, raw, SECTIONS, where)
    except StudyError as error:
        problem = type(error)(f"{where}: {error.where}" if error.where else where, error.problem)
    raise problem
