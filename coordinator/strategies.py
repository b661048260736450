"""Flower's strategies by the names of the study file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flwr.serverapp.strategy import FedAdagrad, FedAdam, FedAvgM, FedYogi, Strategy

from coordinator.folded_sums import FoldedSums
from coordinator.one_reply import OneReply
from privacy.recipes.fit import Fit
from privacy.studies.training import Training

# Adam's denominator floor for models whose gradients are divided by the number of patients.
SERVER_TAU = 1e-6


class FedAvgMOfSums(FedAvgM, OneReply):  # type: ignore[misc]  # flwr is checked as Any
    """Flower's FedAvgM over the mean that a round answers with."""


class FedAdamOfSums(FedAdam, OneReply):  # type: ignore[misc]  # flwr is checked as Any
    """Flower's FedAdam over the mean that a round answers with."""


class FedYogiOfSums(FedYogi, OneReply):  # type: ignore[misc]  # flwr is checked as Any
    """Flower's FedYogi over the mean that a round answers with."""


class FedAdagradOfSums(FedAdagrad, OneReply):  # type: ignore[misc]  # flwr is checked as Any
    """Flower's FedAdagrad over the mean that a round answers with."""


def make_strategy(training: Training, hospitals: int) -> Strategy:
    """Flower's strategy of an agreement; it sees one reply a round, evaluates nothing and waits for nobody.

    Raises:
        ValueError: the recipe is a strategy itself.
    """
    quiet = _quiet(hospitals)
    rate = training.server_learning_rate
    match training.strategy:
        case "fedavg":
            return OneReply(**quiet)
        case "fedavgm":
            return FedAvgMOfSums(**quiet, server_learning_rate=rate, server_momentum=0.9)
        case "fedadam":
            return FedAdamOfSums(**quiet, eta=rate, tau=SERVER_TAU)
        case "fedyogi":
            return FedYogiOfSums(**quiet, eta=rate, tau=SERVER_TAU)
        case "fedadagrad":
            return FedAdagradOfSums(**quiet, eta=rate, tau=SERVER_TAU)
        case "newton" | "adam" | "trial":
            raise ValueError("recipes that fold statistics are made by fold_strategy")


def fold_strategy(fit: Fit, next_task: Callable[[int], str | None], hospitals: int) -> FoldedSums:
    """The strategy of a recipe whose hospitals send statistics."""
    return FoldedSums(fit, next_task, **_quiet(hospitals))


def _quiet(hospitals: int) -> dict[str, Any]:
    return {
        "fraction_evaluate": 0.0,
        "min_train_nodes": hospitals,
        "min_evaluate_nodes": 0,
        "min_available_nodes": hospitals,
    }
