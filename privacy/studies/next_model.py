"""The model that must follow from signed sums: what a study starts with, what each round orders next, and what comes out.

The coordinator orders it and each hospital works it out again, so that neither can train on another one unseen.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from enum import Enum, auto

import numpy as np
from numpy.typing import NDArray

from privacy.recipes.fit import SAME_MODEL, Fit, Statistic
from privacy.studies.agreement import Agreement
from privacy.studies.exchange import (
    ExchangeError,
    payload_of,
    release_of,
    statistic,
    task_at,
    task_of,
    weight,
)
from privacy.studies.life_table import baseline
from privacy.studies.trained_model import layout_of

# Parameters worked out at a time, so that what is between two steps stays in the processor's cache.
BLOCK = 1 << 15


class Match(Enum):
    """How an ordered model stands to the one that must follow."""

    SAME = auto()
    # Its last digits are others, where linear algebra is in it.
    ALMOST = auto()
    OTHER = auto()


def start_model(
    agreement: Agreement, total: NDArray[np.int64] | None, answered: Collection[str]
) -> NDArray[np.float64]:
    """The common start of the training: the life table's baseline, no effect of any covariate, (parameters,) float64.

    Args:
        total: the life table's sum; None where the study has none.
        answered: hospitals in it.
    """
    intervals = agreement.study.intervals
    layout = layout_of(agreement)
    if total is None or not agreement.study.has_model:
        return layout.start(np.zeros(intervals))
    table = _life_table(agreement, total, answered).values
    return layout.start(baseline(table[:intervals], table[intervals:]))


def _life_table(agreement: Agreement, total: NDArray[np.int64], answered: Collection[str]) -> Statistic:
    """The released counts of the first round, (2 intervals,)."""
    task = task_at(agreement, 1)
    if task.payload == "statistic":
        return statistic(agreement, task, total, answered)
    counts = payload_of(agreement, total, answered, task.length).astype(np.float64)
    noise = 0.0 if agreement.noising is None else release_of(agreement, task).noise_sd(len(answered))
    return Statistic(counts, noise)


def begin_fit(agreement: Agreement, total: NDArray[np.int64] | None, answered: Collection[str]) -> Fit | None:
    """The fold over a study's sums behind its life table's, `total`; None for recipes that average models."""
    if agreement.training.sends_models or not agreement.study.has_model or total is None:
        return None
    return Fit.start(agreement.training, layout_of(agreement), _life_table(agreement, total, answered))


def followed(
    agreement: Agreement,
    fit: Fit | None,
    round_number: int,
    total: NDArray[np.int64],
    answered: Collection[str],
) -> Fit | None:
    """The fold with the sum of round `round_number`; None where sums before it are not known, or the recipe averages models.

    A sum of the analysis changes nothing in it.
    """
    task = task_at(agreement, round_number)
    if agreement.training.sends_models or task.part == "analysis":
        return fit
    if round_number == 1:
        return begin_fit(agreement, total, answered)
    return None if fit is None else fit.after(task.name, statistic(agreement, task, total, answered))


def expected_model(
    agreement: Agreement,
    task: str,
    last_round: int,
    last_model: bytes | None,
    total: NDArray[np.int64],
    answered: Collection[str],
    fit: Fit | None = None,
) -> NDArray[np.float64] | None:
    """The model that a round for `task` must order, where it follows from the latest signed sum and those before it.

    It does after the life table, after a training round under plain averaging, and wherever the recipe is a fold over statistics all of
    which were seen; other strategies keep state that only the coordinator has.

    Args:
        last_round: the round of the latest signed sum this hospital has.
        last_model: the model that was ordered in it; None where the hospital was not told.
        total, answered: that sum and who is in it.
        fit: the fold over all sums up to that one.

    Returns:
        (parameters,) float64, or None where it cannot be told.
    """
    if fit is not None:
        return fit.ordered(task)
    if task_of(agreement, last_round) == "life_table":
        return start_model(agreement, total, answered)
    if last_model is None or not _averages(agreement, last_round, last_model, fit):
        return None
    theta = np.empty(agreement.parameters)
    for start, block in _averaged(agreement, last_model, total, answered):
        theta[start : start + block.size] = block
    return theta


def _averages(agreement: Agreement, last_round: int, last_model: bytes | None, fit: Fit | None) -> bool:
    """Whether the next model is the last one and the mean change, and it can be told."""
    return (
        fit is None
        and task_of(agreement, last_round) != "life_table"
        and agreement.training.strategy == "fedavg"
        and last_model is not None
    )


def _averaged(
    agreement: Agreement, last_model: bytes, total: NDArray[np.int64], answered: Collection[str]
) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """The model behind a training round under plain averaging, `last_model` plus `mean_update`, piece by piece and to the bit.

    Yields:
        Where a piece begins, and the piece, which the next one is written over.

    Raises:
        ExchangeError: the sum or the model is not of this study.
    """
    payload = payload_of(agreement, total, answered, agreement.parameters)
    if len(last_model) != 8 * agreement.parameters:
        raise ExchangeError(f"the last model has {len(last_model)} bytes, not {8 * agreement.parameters}")
    units = sum(weight(agreement, hospital) for hospital in sorted(answered)) * float(
        1 << agreement.fraction_bits
    )
    before, memory = np.frombuffer(last_model, dtype="<f8"), np.empty(min(BLOCK, agreement.parameters))
    for start in range(0, agreement.parameters, BLOCK):
        here = slice(start, start + BLOCK)
        block = np.divide(payload[here], units, out=memory[: payload[here].size])
        block += before[here]
        yield start, block


def match(
    agreement: Agreement,
    theta: NDArray[np.float64],
    expected: NDArray[np.float64],
    *,
    evaluates: bool = False,
) -> Match:
    """How an ordered model, `theta`, stands to the expected one: to the bit, or where linear algebra is in it, almost."""
    if np.array_equal(theta, expected):
        return Match.SAME
    if agreement.training.sends_models and not evaluates:
        return Match.OTHER
    almost = np.allclose(theta, expected, rtol=SAME_MODEL, atol=SAME_MODEL)
    return Match.ALMOST if almost else Match.OTHER


def match_expected(
    agreement: Agreement,
    theta: NDArray[np.float64],
    task: str,
    last_round: int,
    last_model: bytes | None,
    total: NDArray[np.int64],
    answered: Collection[str],
    fit: Fit | None = None,
) -> Match | None:
    """As `match` with the `expected_model` of the other arguments; a long one is compared as it is worked out, up to the first difference.

    Returns:
        None where it cannot be told.
    """
    if agreement.training.sends_models and _averages(agreement, last_round, last_model, fit):
        assert last_model is not None
        pieces = _averaged(agreement, last_model, total, answered)
        same = theta.size == agreement.parameters and all(
            np.array_equal(theta[start : start + block.size], block) for start, block in pieces
        )
        return Match.SAME if same else Match.OTHER
    expected = expected_model(agreement, task, last_round, last_model, total, answered, fit)
    return None if expected is None else match(agreement, theta, expected)


def result_after(
    agreement: Agreement,
    fit: Fit | None,
    last_round: int,
    last_model: bytes | None,
    total: NDArray[np.int64],
    answered: Collection[str],
) -> NDArray[np.float64] | None:
    """The study's model if the sum of `last_round` was the recipe's last, (parameters,); None where it cannot be told."""
    if fit is not None:
        return fit.result
    training = agreement.training
    if training.average_last != 1 or not agreement.study.has_model:
        return None
    next_model = expected_model(agreement, "", last_round, last_model, total, answered)
    return (
        None if next_model is None else np.clip(next_model, -training.parameter_clip, training.parameter_clip)
    )
