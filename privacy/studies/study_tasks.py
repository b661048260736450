"""What the rounds of a study ask for, each with its part of the budget, and what they release."""

from dataclasses import replace

from privacy.analytics.asks import MOMENTS, MOMENTS_SHARE, RISK_TABLE
from privacy.guarantees.release import Release
from privacy.recipes.tasks import Task, tasks
from privacy.studies.layout import Layout
from privacy.studies.study import Study
from privacy.studies.training import Training


def tasks_of(study: Study, training: Training) -> tuple[Task, ...]:
    """The tasks of the study's recipe, in the order of its rounds, then those of its analysis.

    What is asked beside the model has its part of the budget set apart first; the recipe's shares are of the rest.
    """
    columns = study.dictionary.columns()
    parameters = Layout(study.intervals, columns, training.hidden).dim
    rest = 1.0 - share_apart(study)
    fit = tasks(training, study.intervals, len(columns), parameters)
    return (*(replace(task, share=task.share * rest) for task in fit), *_analysis(study))


def share_apart(study: Study) -> float:
    """Share of mu^2 that the recipe does not get."""
    return study.analysis_share + (study.privacy.evaluation_share if study.evaluates else 0.0)


def _analysis(study: Study) -> tuple[Task, ...]:
    """Equal parts of the analysis' share for whatever is asked; the evaluation's own share goes to its two releases."""
    asked = [ask for ask in study.asks if not ask.needs_model]
    shares = {ask.name: study.analysis_share / len(asked) for ask in asked}
    shares[MOMENTS] = MOMENTS_SHARE * study.privacy.evaluation_share
    shares[RISK_TABLE] = (1 - MOMENTS_SHARE) * study.privacy.evaluation_share
    return tuple(ask.task(shares[ask.name]) for ask in study.asks)


def expected_releases(study: Study, training: Training) -> tuple[Release, ...]:
    """What the recipe releases, in order, with noise multiplier 1 in place of the calibrated one."""
    return tuple(
        Release(
            task.name,
            "poisson_gaussian" if task.name == "train" and training.sample_rate < 1 else "gaussian",
            1.0,
            study.sensitivity_rows,
            training.sample_rate if task.name == "train" else 1.0,
            task.rounds * training.local_steps if task.name == "train" else task.rounds,
            task.clip_l2,
            shares=study.noise_shares,
            spare=study.spare_layers,
            fewest=study.threshold if study.spare_layers else 0,
        )
        for task in tasks_of(study, training)
    )
