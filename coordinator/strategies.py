"""Flower's strategies by the names of the study file."""

from __future__ import annotations

from flwr.serverapp.strategy import FedAdagrad, FedAdam, FedAvg, FedAvgM, FedYogi, Strategy

from privacy.training import Training

# Adam's denominator floor for models whose gradients are divided by the number of patients.
SERVER_TAU = 1e-6


def make_strategy(training: Training, hospitals: int) -> Strategy:
    """The strategy of an agreement; it sees one reply a round, evaluates nothing and waits for nobody."""
    quiet = {
        "fraction_evaluate": 0.0,
        "min_train_nodes": hospitals,
        "min_evaluate_nodes": 0,
        "min_available_nodes": hospitals,
    }
    rate = training.server_learning_rate
    match training.strategy:
        case "fedavg":
            return FedAvg(**quiet)
        case "fedavgm":
            return FedAvgM(**quiet, server_learning_rate=rate, server_momentum=0.9)
        case "fedadam":
            return FedAdam(**quiet, eta=rate, tau=SERVER_TAU)
        case "fedyogi":
            return FedYogi(**quiet, eta=rate, tau=SERVER_TAU)
        case "fedadagrad":
            return FedAdagrad(**quiet, eta=rate, tau=SERVER_TAU)
