"""A recipe is a sequence of tasks; each names its release, its vector, its sensitivity and its share of the budget.

What hospitals compute for a task: `hospital_node.statistics` (and `hospital_node.dp_sgd` for "train"). What the coordinator makes
of the sums: `privacy.recipes.fit` (and Flower's own strategies for "train"). Whoever adds a recipe adds it in these places.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    # The settings follow from a study, and a study knows its tasks' vectors.
    from privacy.studies.training import Training

# "counts": whole patients. "change": the weighted change of a model in fixed point. "statistic": a sum over patients in
# units of 2^-40 of its clip, noised as integers and never rounded again.
Payload = Literal["counts", "change", "statistic"]
# "fit": the recipe's own rounds, which lead to a model. "analysis": what is asked beside or without one.
Part = Literal["fit", "analysis"]

# Shares of mu^2, the squared parameter of Gaussian differential privacy, which adds up over full-batch releases.
LIFE_TABLE_SHARE = 0.10
HESSIAN_SHARE = 0.30
MEANS_SHARE = 0.05
RECALIBRATION_SHARE = 0.15
MOMENTS_SHARE = 0.20

# |c (1, x)| is held to sqrt(1 + B^2) by the score weight c.
B_SQUARED = 4.0
# Frobenius bound of one patient's part of the Hessian.
HESSIAN_CLIP = 1.5 * (1.0 + B_SQUARED)
# Most columns of a model whose Hessian is released: its length grows with their square.
HESSIAN_COLUMNS = 50
# Proved in privacy.recipes.newton.
SCORE_CLIP = sqrt(max(B_SQUARED + 2.0, 4.0))
# Without the tilt's coordinate: proved in privacy.recipes.few_events.
PLAIN_SCORE_CLIP = sqrt(1.0 + B_SQUARED)
# A stopped martingale in the coordinate of one arm: proved in privacy.recipes.trial.
TRIAL_CLIP = 1.0
# |(1, l/6, (l/6)^2)| for |l| <= 6.
MOMENTS_CLIP = sqrt(3.0)

RISK_BINS = 8


@dataclass(frozen=True, slots=True)
class Task:
    """What hospitals are asked for in one or several rounds in a row.

    Attributes:
        name: of the task and of the release that pays for it.
        payload: how the vector's integers are to be read.
        length: coordinates of the payload.
        rounds: how many rounds in a row have this task, >= 1.
        clip_l2: L2 bound of what one row adds, in the statistic's unit.
        share: of the plan's mu^2 over all its rounds; 0 where the noise is not calibrated by shares.
        repeats: whether the study can go on when one of its rounds is aborted.
        carries: numbers that an order carries behind the model's parameters, from earlier sums.
        part: whether the recipe needs the sum, or the analysis.
        carries_model: whether the order carries a model.
    """

    name: str
    payload: Payload
    length: int
    rounds: int
    clip_l2: float
    share: float = 0.0
    repeats: bool = False
    carries: int = 0
    part: Part = "fit"
    carries_model: bool = True


def tasks(training: Training, intervals: int, columns: int, parameters: int) -> tuple[Task, ...]:
    """The tasks of a study in the order of its rounds.

    Args:
        training: the study's settings.
        intervals: K. columns: d of the design matrix. parameters: length of the model's flat vector.
    """
    if training.recipe == "none":
        return ()
    if training.sends_models:
        table = Task("life_table", "counts", 2 * intervals, 1, 1.0, carries_model=False)
        train = Task("train", "change", parameters, training.rounds, training.clip_l2, repeats=True)
        return (table, train) if training.life_table else (train,)
    rest = 1.0 if training.recalibration == "none" else 1.0 - RECALIBRATION_SHARE
    share = rest * LIFE_TABLE_SHARE
    table = Task("life_table", "statistic", 2 * intervals, 1, 1.0, share, carries_model=False)
    return (table, *_fitting(training, columns, parameters, rest), *_recalibrating(training, intervals))


def _fitting(training: Training, columns: int, parameters: int, rest: float) -> tuple[Task, ...]:
    if training.recipe == "adam":
        share = rest * (1.0 - LIFE_TABLE_SHARE)
        return (
            Task("gradient", "statistic", parameters, training.rounds, training.clip_l2, share, repeats=True),
        )
    if training.recipe == "trial":
        share, arms = rest * (1.0 - LIFE_TABLE_SHARE), len(training.allocation)
        return (Task("trial", "statistic", arms, training.rounds, TRIAL_CLIP, share, repeats=True),)
    p = columns + 1
    if training.column_spread:
        share = rest * (1.0 - LIFE_TABLE_SHARE - MEANS_SHARE)
        means = Task("means", "statistic", p, 1, PLAIN_SCORE_CLIP, rest * MEANS_SHARE, repeats=True)
        score = Task(
            "newton", "statistic", p, training.rounds, PLAIN_SCORE_CLIP, share, repeats=True, carries=columns
        )
        return (means, score)
    share = rest * (1.0 - LIFE_TABLE_SHARE - HESSIAN_SHARE)
    return (
        Task("hessian", "statistic", p * (p + 1) // 2, 1, HESSIAN_CLIP, rest * HESSIAN_SHARE),
        Task("newton", "statistic", p + 1, training.rounds, SCORE_CLIP, share, repeats=True),
    )


def _recalibrating(training: Training, intervals: int) -> tuple[Task, ...]:
    if training.recalibration == "none":
        return ()
    moments = Task(
        "predictor_moments",
        "statistic",
        3,
        1,
        MOMENTS_CLIP,
        RECALIBRATION_SHARE * MOMENTS_SHARE,
        repeats=True,
    )
    left = RECALIBRATION_SHARE * (1.0 - MOMENTS_SHARE)
    table = Task("risk_table", "statistic", RISK_BINS * intervals * 2, 1, 1.0, left, repeats=True)
    return (moments, table)
