"""The public rule for training settings."""

import pytest

from privacy.studies.training import resolve_training
from tests.study_files import study

NONE = ('mode = "local"', 'mode = "none"')


def test_local_dp_sgd() -> None:
    settings = resolve_training(study(("[model]", '[model]\nrecipe = "dp_sgd"')))
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


DISTRIBUTED = ('mode = "local"', 'mode = "distributed"')


def test_distributed_takes_newton_steps_for_a_linear_model_and_adam_for_a_network() -> None:
    newton = resolve_training(study(DISTRIBUTED))
    assert (newton.recipe, newton.strategy, newton.optimizer) == ("newton", "newton", "none")
    assert (newton.rounds, newton.learning_rate, newton.average_last) == (20, 0.3, 10)
    network = resolve_training(study(DISTRIBUTED, ("piecewise_exponential", "mlp")))
    assert (network.recipe, network.rounds, network.average_last) == ("adam", 200, 100)
    many = "".join(
        f'[[field]]\nname = "f{j}"\ntype = "bool"\nrole = "feature"\npurpose = "p"\n' for j in range(50)
    )
    wide = resolve_training(study(DISTRIBUTED, ("[[field]]", many + "[[field]]")))
    assert (wide.recipe, len(wide.column_spread)) == ("newton", 56)


def test_newton_in_local_mode_takes_five_rounds_with_the_full_noise() -> None:
    chosen = study(("[model]", '[model]\nrecipe = "newton"'))
    settings = resolve_training(chosen)
    assert (settings.rounds, settings.average_last, chosen.noise_shares) == (5, 3, 1)


def test_a_slope_is_recalibrated_from_1500_declared_patients_on() -> None:
    adam = ("[model]", '[model]\nrecipe = "adam"')
    assert resolve_training(study(adam)).recalibration == "slope"
    assert resolve_training(study(adam, ("c = 600", "c = 599"))).recalibration == "level"


def test_noise_comes_in_shares_that_survive_colluders_and_one_curious_hospital() -> None:
    five = (
        ("n_public = {a = 400, b = 500, c = 600}", "n_public = {a = 400, b = 500, c = 600, d = 9, e = 9}"),
        ('hospitals = ["a", "b", "c"]', 'hospitals = ["a", "b", "c", "d", "e"]\nthreshold = 4'),
    )
    assert study(DISTRIBUTED, *five).noise_shares == 3
    assert study(DISTRIBUTED, *five, ("[cohort]", "[cohort]\ncolluding = 0")).noise_shares == 3
    assert study(DISTRIBUTED, *five, ("[cohort]", "[cohort]\ncolluding = 2")).noise_shares == 2
    assert study(*five).noise_shares == 1
