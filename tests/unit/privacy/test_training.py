"""The public rule for training settings."""

import pytest

from privacy.training import resolve_training
from tests.study_files import study

NONE = ('mode = "local"', 'mode = "none"')


def test_local_dp_sgd() -> None:
    settings = resolve_training(study())
    assert (settings.recipe, settings.strategy, settings.optimizer) == ("dp_sgd", "fedavg", "adam")
    assert (settings.rounds, settings.local_steps, settings.sample_rate, settings.clip_l2) == (
        10,
        20,
        0.1,
        1.0,
    )
    assert (settings.server_learning_rate, settings.hidden) == (1.0, ())


def test_without_noise_one_gradient_a_round() -> None:
    settings = resolve_training(study(NONE))
    assert (settings.recipe, settings.strategy, settings.optimizer) == ("full_batch", "fedadam", "sgd")
    assert (settings.local_steps, settings.sample_rate, settings.learning_rate) == (1, 1.0, 1.0)


@pytest.mark.parametrize("strategy", ["fedavg", "fedavgm"])
def test_averaging_strategies_take_steps_at_home(strategy: str) -> None:
    settings = resolve_training(study(NONE, ("[model]", f'[model]\nstrategy = "{strategy}"')))
    assert (settings.optimizer, settings.local_steps) == ("adam", 20)


def test_a_network_has_layers_and_smaller_steps() -> None:
    mlp = resolve_training(study(("piecewise_exponential", "mlp")))
    assert mlp.hidden == (16,)
    assert mlp.learning_rate < resolve_training(study()).learning_rate


def test_the_study_file_overrides_the_rule() -> None:
    stated = "rounds = 3\nlocal_steps = 4\nsample_rate = 0.5\nclip_l2 = 2\nlearning_rate = 0.1\nserver_learning_rate = 0.7\nhidden = 5"
    settings = resolve_training(study(('"piecewise_exponential"', f'"mlp"\n{stated}')))
    assert (settings.rounds, settings.local_steps, settings.sample_rate, settings.clip_l2) == (3, 4, 0.5, 2.0)
    assert (settings.learning_rate, settings.server_learning_rate, settings.hidden) == (0.1, 0.7, (5,))
