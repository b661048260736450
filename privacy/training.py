"""The public rule that turns a study into training settings; the only place where their numbers live.

Nothing here may depend on patients: a setting chosen by looking at a table would be a release (rule 7 of the
design's privacy page). Whatever the study file states replaces the rule's number.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict
from pydantic import Field as Setting

from privacy.study import Study

ADAPTIVE_STRATEGIES = frozenset({"fedadam", "fedyogi", "fedadagrad"})


class Training(BaseModel):
    """Every number that a hospital's or the coordinator's optimizer acts on; part of the agreement.

    Attributes:
        family: "piecewise_exponential" or "mlp".
        recipe: "dp_sgd" (Poisson samples, clipped, noised) or "full_batch" (exact gradients, no guarantee).
        strategy: Flower strategy of the coordinator.
        rounds: training rounds; the life table is one more in front of them.
        local_steps: optimizer steps of one hospital in one round.
        sample_rate: chance of each patient to be in one step's sample; 1 for full_batch.
        clip_l2: L2 bound of one patient's gradient; not used by full_batch.
        optimizer: of the hospital, fresh in every round; "adam" (betas .9, .999) or "sgd" without momentum.
        learning_rate: of the hospital's optimizer, on gradients divided by n_public (x sample_rate).
        learning_rate_final_share: the rate falls along half a cosine over all rounds to this share of itself; 1 keeps it.
        server_learning_rate: of the strategy; 1 for plain averaging.
        life_table: whether the baseline starts from a (noised) life table.
        average_last: the result is the mean of the last so many rounds' models; post-processing.
        parameter_clip: each parameter is held in [-parameter_clip, parameter_clip] before fixed point.
        hidden: widths of the hidden layers of "mlp"; empty otherwise.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    family: Literal["piecewise_exponential", "mlp"]
    recipe: Literal["dp_sgd", "full_batch"]
    strategy: Literal["fedavg", "fedavgm", "fedadam", "fedyogi", "fedadagrad"]
    rounds: Annotated[int, Setting(ge=1)]
    local_steps: Annotated[int, Setting(ge=1)]
    sample_rate: Annotated[float, Setting(gt=0, le=1)]
    clip_l2: Annotated[float, Setting(gt=0)]
    optimizer: Literal["adam", "sgd"]
    learning_rate: Annotated[float, Setting(gt=0)]
    learning_rate_final_share: Annotated[float, Setting(gt=0, le=1)]
    server_learning_rate: Annotated[float, Setting(gt=0)]
    life_table: bool = True
    average_last: Annotated[int, Setting(ge=1)] = 1
    parameter_clip: Annotated[float, Setting(gt=0)] = 20.0
    hidden: tuple[int, ...] = ()


# Share of mu^2 that the life table takes under differential privacy.
LIFE_TABLE_SHARE = 0.10

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
    if study.mode == "local":
        return DP_SGD
    return ONE_GRADIENT if study.strategy in ADAPTIVE_STRATEGIES else LOCAL_STEPS


def resolve_training(study: Study) -> Training:
    """The settings of a study: the rule for its mode and strategy, overridden by what `[model]` states."""
    settings = dict(_rule(study))
    settings["server_learning_rate"] = SERVER_LEARNING_RATE[settings["recipe"]][study.strategy]
    if study.model.family == "mlp":
        settings |= MLP
        if settings["optimizer"] == "adam":
            settings["learning_rate"] = MLP_ADAM_LEARNING_RATE
    for key in OVERRIDES:
        stated = getattr(study.model, key)
        if stated is not None:
            settings[key] = stated
    return Training.model_validate({"family": study.model.family, "strategy": study.strategy, **settings})
