"""The public rule that turns a study into training settings; the only place where their numbers live.

Nothing here may depend on patients: a setting chosen by looking at a table would be a release (rule 7 of the
design's privacy page). Whatever the study file states replaces the rule's number.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict
from pydantic import Field as Setting

from privacy.studies.column_rules import column_scale, hessian_is_readable, spread
from privacy.studies.study import Study

ADAPTIVE_STRATEGIES = frozenset({"fedadam", "fedyogi", "fedadagrad"})


class Training(BaseModel):
    """Every number that a hospital's or the coordinator's optimizer acts on; part of the agreement.

    Attributes:
        family: "piecewise_exponential" or "mlp"; "none" for a study that trains nothing.
        recipe: "dp_sgd" (Poisson samples, clipped, noised), "full_batch" (exact gradients, no guarantee), "newton" (weighted
            noisy Newton), "adam" (noisy sums of gradients) or "trial" (arms alone); privacy/recipes/tasks.py says what each asks for; "none" trains nothing.
        strategy: Flower strategy of the coordinator; the last three recipes are strategies themselves.
        rounds: training rounds; life table, Hessian and recalibration come beside them.
        local_steps: optimizer steps of one hospital in one round.
        sample_rate: chance of each patient to be in one step's sample; 1 for full_batch.
        clip_l2: L2 bound of one patient's gradient; not used by full_batch.
        optimizer: of the hospital, fresh in every round; "adam" (betas .9, .999) or "sgd" without momentum; "none" where
            the hospitals send statistics and the coordinator takes the steps.
        learning_rate: of the hospital's optimizer, on gradients divided by n_public (x sample_rate); of the recipe's own
            steps where the hospitals send statistics.
        learning_rate_final_share: the rate falls along half a cosine over all rounds to this share of itself; 1 keeps it.
        server_learning_rate: of the strategy; 1 for plain averaging.
        life_table: whether the baseline starts from a (noised) life table.
        average_last: the result is the mean of the last so many rounds' models; post-processing.
        parameter_clip: each parameter is held in [-parameter_clip, parameter_clip] before fixed point.
        hidden: widths of the hidden layers of "mlp"; empty otherwise.
        recalibration: "slope" and level, "level" alone, or "none", after the fit (privacy/recipes/recalibration.py).
        column_scale: public factor of the columns inside the score of "newton"; 1 elsewhere.
        column_spread: expected variance of each scaled column, the public curvature of "newton"; empty where a Hessian is released.
        allocation: public share of each arm of "trial", the reference first; empty elsewhere.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    family: Literal["piecewise_exponential", "mlp", "none"]
    recipe: Literal["dp_sgd", "full_batch", "newton", "adam", "trial", "none"]
    strategy: Literal[
        "fedavg", "fedavgm", "fedadam", "fedyogi", "fedadagrad", "newton", "adam", "trial", "none"
    ]
    rounds: Annotated[int, Setting(ge=1)]
    local_steps: Annotated[int, Setting(ge=1)]
    sample_rate: Annotated[float, Setting(gt=0, le=1)]
    clip_l2: Annotated[float, Setting(gt=0)]
    optimizer: Literal["adam", "sgd", "none"]
    learning_rate: Annotated[float, Setting(gt=0)]
    learning_rate_final_share: Annotated[float, Setting(gt=0, le=1)]
    server_learning_rate: Annotated[float, Setting(gt=0)]
    life_table: bool = True
    average_last: Annotated[int, Setting(ge=1)] = 1
    parameter_clip: Annotated[float, Setting(gt=0)] = 20.0
    hidden: tuple[int, ...] = ()
    recalibration: Literal["none", "level", "slope"] = "none"
    column_scale: Annotated[float, Setting(gt=0)] = 1.0
    column_spread: tuple[Annotated[float, Setting(gt=0)], ...] = ()
    allocation: tuple[Annotated[float, Setting(gt=0, lt=1)], ...] = ()

    @property
    def sends_models(self) -> bool:
        """Whether hospitals train and send changes of the model; otherwise they send sums over patients."""
        return self.recipe in ("dp_sgd", "full_batch")


# The numbers below were chosen on ten public data sets (nwtco, rott2, Framingham, TRACE, ACTG320, Dialysis, flchain,
# support2, GBSG2, Aids2) and simulated ones, none of which is the demo's.
DP_SGD: dict[str, Any] = {
    "recipe": "dp_sgd",
    "rounds": 10,
    "local_steps": 20,
    "sample_rate": 0.1,
    "clip_l2": 1.0,
    "optimizer": "adam",
    "learning_rate": 0.2,
    "learning_rate_final_share": 0.1,
}
# One exact gradient a round, the coordinator's Adam does the rest: the centralized fit, step by step.
ONE_GRADIENT: dict[str, Any] = {
    "recipe": "full_batch",
    "rounds": 80,
    "local_steps": 1,
    "sample_rate": 1.0,
    "clip_l2": 1.0,
    "optimizer": "sgd",
    "learning_rate": 1.0,
    "learning_rate_final_share": 1.0,
}
# Several exact steps at home, then the mean: federated averaging proper.
LOCAL_STEPS: dict[str, Any] = {
    "recipe": "full_batch",
    "rounds": 10,
    "local_steps": 20,
    "sample_rate": 1.0,
    "clip_l2": 1.0,
    "optimizer": "adam",
    "learning_rate": 0.2,
    "learning_rate_final_share": 0.1,
}
# Rounds and step of the weighted Newton recipe. The small step is the rule because the large one diverges where risk is concentrated
# in a small group; local mode, whose every hospital adds the full noise, has no budget for many rounds and takes larger ones.
NEWTON: dict[str, dict[str, Any]] = {
    "distributed": {"rounds": 20, "learning_rate": 0.3, "average_last": 10},
    "local": {"rounds": 5, "learning_rate": 0.7, "average_last": 3},
    "none": {"rounds": 20, "learning_rate": 0.7, "average_last": 1},
}
# Without a Hessian the steps cost nothing but their noise, which does not depend on their number.
PUBLIC_CURVATURE: dict[str, Any] = {"rounds": 20, "learning_rate": 0.3, "average_last": 10}
# The mean of all but the first of few long steps keeps 1.1 times the noise of the plain sum, and lacks 3 % of the way, which is known.
TRIAL: dict[str, Any] = {"rounds": 5, "learning_rate": 0.7, "average_last": 4}
ADAM_SUMS: dict[str, Any] = {"rounds": 200, "learning_rate": 0.05, "average_last": 100}
STATISTICS: dict[str, Any] = {
    "local_steps": 1,
    "sample_rate": 1.0,
    "clip_l2": 1.0,
    "optimizer": "none",
    "learning_rate_final_share": 1.0,
    "server_learning_rate": 1.0,
}
# What a study without a model has in these places; nobody acts on it.
NO_MODEL = STATISTICS | {
    "recipe": "none",
    "strategy": "none",
    "rounds": 1,
    "learning_rate": 1.0,
    "life_table": False,
}
# Declared patients from which a slope is worth its noise.
SLOPE_PATIENTS = 1500
# Momentum 0.9 multiplies a steady change by ten, so a tenth of it is plain averaging in the long run. The adaptive
# ones go further in a round where there are few rounds (chosen on simulated patients).
SERVER_LEARNING_RATE = {
    "dp_sgd": {"fedavg": 1.0, "fedavgm": 0.1, "fedadam": 0.2, "fedyogi": 0.3, "fedadagrad": 1.0},
    "full_batch": {"fedavg": 1.0, "fedavgm": 0.1, "fedadam": 0.1, "fedyogi": 0.1, "fedadagrad": 0.1},
}
# What [model] may state in place of the rule.
OVERRIDES = (
    "rounds",
    "local_steps",
    "sample_rate",
    "clip_l2",
    "learning_rate",
    "server_learning_rate",
    "hidden",
)
MLP: dict[str, Any] = {"hidden": (16,)}
# A network under Adam takes smaller steps.
MLP_ADAM_LEARNING_RATE = 0.05


def _rule(study: Study) -> dict[str, Any]:
    if study.mode == "local" and study.noised:
        return DP_SGD
    return ONE_GRADIENT if study.strategy in ADAPTIVE_STRATEGIES else LOCAL_STEPS


def _averaging(study: Study) -> dict[str, Any]:
    """Settings of the recipes in which hospitals send models."""
    settings = dict(_rule(study))
    settings["strategy"] = study.strategy
    settings["server_learning_rate"] = SERVER_LEARNING_RATE[settings["recipe"]][study.strategy]
    if study.model.family == "mlp":
        settings |= MLP
        if settings["optimizer"] == "adam":
            settings["learning_rate"] = MLP_ADAM_LEARNING_RATE
    return settings


def _statistics(study: Study) -> dict[str, Any]:
    """Settings of the recipes in which hospitals send noisy sums and the coordinator takes the steps."""
    settings: dict[str, Any] = {**STATISTICS, "recipe": study.recipe, "strategy": study.recipe}
    if study.recipe == "adam":
        settings |= ADAM_SUMS
    elif study.recipe == "trial":
        settings |= TRIAL | {"allocation": study.allocation}
    else:
        settings |= (
            NEWTON[study.mode if study.noised else "none"]
            | {"column_scale": column_scale(study)}
            | _curvature(study)
        )
    if study.model.rounds is not None:
        settings["average_last"] = max(1, study.model.rounds // 2)
    if study.model.family == "mlp":
        return settings | MLP
    if study.noised and study.recipe == "adam":
        # Clipping gradients biases level and slope. The stopped, weighted score of "newton" has mean zero, and on simulated patients
        # its calibration was better without this than with the noise of another 15 % of the budget.
        settings["recalibration"] = "slope" if study.n_public_total >= SLOPE_PATIENTS else "level"
    return settings


def _curvature(study: Study) -> dict[str, Any]:
    """Where a released Hessian would drown in its noise, a public one."""
    if hessian_is_readable(study):
        return {}
    scale = column_scale(study, further=True)
    return PUBLIC_CURVATURE | {"column_scale": scale, "column_spread": spread(study, scale)}


def resolve_training(study: Study) -> Training:
    """The settings of a study: the rule for its mode and strategy, overridden by what `[model]` states."""
    if not study.has_model:
        return Training.model_validate({"family": "none", **NO_MODEL})
    averaging = study.recipe in ("dp_sgd", "full_batch")
    settings = _averaging(study) if averaging else _statistics(study)
    for key in OVERRIDES:
        stated = getattr(study.model, key)
        if stated is not None:
            settings[key] = stated
    return Training.model_validate({"family": study.model.family, **settings})
