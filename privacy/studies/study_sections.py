"""The sections of a study file as written: types and ranges of each key (what they mean together: study.py)."""

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, StrictBool, StrictInt, StrictStr
from pydantic import Field as Setting

Positive = Annotated[float, Setting(strict=True, gt=0, allow_inf_nan=False)]
Share = Annotated[float, Setting(strict=True, gt=0, le=1, allow_inf_nan=False)]
PartShare = Annotated[float, Setting(strict=True, ge=0, lt=1, allow_inf_nan=False)]
Count = Annotated[StrictInt, Setting(ge=1)]
Identifier = Annotated[StrictStr, Setting(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Text = Annotated[StrictStr, Setting(max_length=2000)]
Number = Annotated[float, Setting(strict=True, allow_inf_nan=False)]
Inner = Annotated[float, Setting(strict=True, gt=0, lt=1, allow_inf_nan=False)]
# What `where` compares a field with.
Condition = StrictBool | StrictStr | Number | tuple[Number, Number]


class Section(BaseModel):
    """A table of the study file; unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class About(Section):
    """`[study]`: what is asked, of how many patients, over how long.

    Attributes:
        horizon_days: follow-up is censored there for everybody, from the protocol.
        intervals: number K of pieces of the baseline hazard.
        duo: code of the purpose in the Data Use Ontology, what a consent register is asked; "" for none.
        disease: MONDO code, with duo = "DUO:0000007" (disease specific research) only.
        available: columns that hospitals could have given, the study's own fields among them; the assessment lists what
            is used against it.
        n_public: per hospital the number of patients declared before extraction; never a row count.
    """

    id: Identifier
    title: Text = ""
    purpose: Text = ""
    duo: Annotated[StrictStr, Setting(pattern=r"^(DUO:\d{7})?$")] = ""
    disease: Annotated[StrictStr, Setting(pattern=r"^(MONDO:\d{7})?$")] = ""
    available: tuple[Annotated[StrictStr, Setting(min_length=1, max_length=100)], ...] = ()
    horizon_days: Positive
    intervals: Annotated[StrictInt, Setting(ge=2, le=100)] = 10
    n_public: dict[Identifier, Annotated[StrictInt, Setting(ge=1, le=1 << 32)]]


class Consortium(Section):
    """`[cohort]`: who takes part and how many must answer."""

    hospitals: tuple[Identifier, ...] = ()
    threshold: Count | None = None
    colluding: Annotated[StrictInt, Setting(ge=0)] = 1
    minimum_answers: Count | None = None
    deadline_s: Positive = 600.0


class SecureAggregation(Section):
    """`[secure_aggregation]`: the graph of who masks against whom; the neighbors follow from n, T and dropout (graph_choice.py).

    Attributes:
        graph: "complete" (everybody against everybody) or "sparse" (random neighbors, for more than about 100 hospitals).
        dropout: share of hospitals that may be silent in a round; 0.10 where not given.
        neighbors, neighbor_threshold: k and t_k instead of those by the rule; refused unless as safe.
    """

    graph: Literal["complete", "sparse"] = "complete"
    dropout: Inner | None = None
    neighbors: Count | None = None
    neighbor_threshold: Count | None = None


class Privacy(Section):
    """`[privacy]`: the mode and the budget of one patient for everything that a hospital releases.

    Attributes:
        evaluation_share: of the plan's mu^2, for the metrics of the trained model on the study's own patients; 0 for none. In mode none,
            where nothing is paid, any share above 0 asks for them.
        analysis_share: of mu^2, for the other results of `[analysis]`; a tenth beside a model, all of it without one.
    """

    mode: StrictStr = "local"
    epsilon: Annotated[float, Setting(strict=True, gt=0, le=1000, allow_inf_nan=False)] | None = None
    delta: Annotated[float, Setting(strict=True, gt=0, le=1e-3, allow_inf_nan=False)] | None = None
    evaluation_share: PartShare = 0.0
    analysis_share: PartShare | None = None


class Stage(Section):
    """`[stage]`: what happens to the rows before training; epsilon and delta are its own, added to those of [privacy]."""

    kind: StrictStr = "none"
    k: Annotated[StrictInt, Setting(ge=2, le=1000)] | None = None
    epsilon: Annotated[float, Setting(strict=True, gt=0, le=50, allow_inf_nan=False)] | None = None
    delta: Annotated[float, Setting(strict=True, gt=0, le=1e-3, allow_inf_nan=False)] | None = None


class Trial(Section):
    """`[model] trial`: the arms of a randomized trial and how patients were allocated to them.

    Attributes:
        arm: name of the field that holds the arm; its first category is the reference.
        allocation: for each category its part in the allocation, as 1 to 1 or 2 to 1, from the protocol.
    """

    arm: StrictStr
    allocation: dict[StrictStr, Positive]


class Model(Section):
    """`[model]`: family, recipe and strategy; the numbers default by the public rule of privacy/studies/training.py."""

    family: StrictStr = "piecewise_exponential"
    recipe: StrictStr = "auto"
    trial: Trial | None = None
    strategy: StrictStr | None = None
    rounds: Annotated[StrictInt, Setting(ge=1, le=10_000)] | None = None
    local_steps: Annotated[StrictInt, Setting(ge=1, le=100_000)] | None = None
    sample_rate: Share | None = None
    clip_l2: Positive | None = None
    learning_rate: Positive | None = None
    server_learning_rate: Positive | None = None
    hidden: (
        Annotated[
            tuple[Annotated[StrictInt, Setting(ge=1, le=4096)], ...],
            Setting(min_length=1, max_length=4),
            BeforeValidator(lambda v: (v,) if isinstance(v, int) else v),
        ]
        | None
    ) = None


class Query(Section):
    """`[[analysis.query]]`: one question about the patients; its release takes an equal part of the analysis' share.

    Attributes:
        name: of the release that pays for it; its kind and number where it has none.
        field: a covariate; none for a count.
        where: field -> value or [from, to), all of which must hold.
        by: fields by whose public levels the answer is divided.
        bins: of a histogram or quantile, equal and public; the field's cuts or a default where not given.
        quantiles: in (0, 1); the quartiles where not given.
    """

    name: Annotated[StrictStr, Setting(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,47}$")] | None = None
    kind: Literal["count", "mean", "histogram", "quantile"]
    field: StrictStr | None = None
    where: dict[StrictStr, Condition] = {}
    by: Annotated[tuple[StrictStr, ...], Setting(max_length=3)] = ()
    bins: Annotated[StrictInt, Setting(ge=2, le=200)] | None = None
    quantiles: Annotated[tuple[Inner, ...], Setting(min_length=1, max_length=20)] | None = None


class Analysis(Section):
    """`[analysis]`: results asked for beside the model, or without one.

    Attributes:
        kaplan_meier: one curve of all patients.
        kaplan_meier_by: fields by whose public levels curves are asked for, one release each.
        log_rank: compare those curves.
        metrics: what `[privacy] evaluation_share` pays for.
        minimum_cell: in mode none, where nothing is noised, smaller counts are left out of the result.
        query: further questions.
    """

    kaplan_meier: StrictBool = False
    kaplan_meier_by: tuple[StrictStr, ...] = ()
    log_rank: StrictBool = False
    cox: StrictStr = "none"
    metrics: tuple[StrictStr, ...] = ("c_index",)
    minimum_cell: Annotated[StrictInt, Setting(ge=1, le=1000)] = 5
    query: Annotated[tuple[Query, ...], Setting(max_length=100)] = ()

    @property
    def asks_patients(self) -> bool:
        """Whether anything is released for it."""
        return self.kaplan_meier or bool(self.kaplan_meier_by) or bool(self.query) or self.log_rank
