"""The trial mode's fold: from the arms' released scores to hazard ratios with errors that know of the noise."""

from dataclasses import replace

import numpy as np
import pytest

from privacy.recipes.trial import FEW_EVENTS, Trial, floor, trial_estimate

EVENTS = np.full(10, 40.0)
MARGINAL = np.log(np.full(10, 0.05))


def trial(**changes: object) -> Trial:
    start = Trial.start(EVENTS, 5.0, MARGINAL, (0.5, 0.25, 0.25), rate=0.7, average_last=4)
    return replace(start, **changes)


def exact_score(fit: Trial, truth: np.ndarray) -> np.ndarray:
    """What the arms would release, had the patients exactly the hazards of `truth`: linear, as in the error formula."""
    return fit.expected_events(fit.b) * (truth - fit.b)


def test_without_effects_events_fall_as_patients_were_allocated() -> None:
    np.testing.assert_allclose(trial().expected_events(np.zeros(3)), 400 * np.array([0.5, 0.25, 0.25]))


def test_an_arm_with_half_the_hazard_has_half_the_events_while_nobody_is_missing() -> None:
    rare = trial(marginal=MARGINAL - 6)
    at_risk = np.array([0.5, 0.125, 0.25])
    expected = rare.expected_events(np.array([0.0, np.log(0.5), 0.0]))
    np.testing.assert_allclose(expected, 400 * at_risk / at_risk.sum(), rtol=1e-3)


def test_arms_mix_to_the_released_life_table() -> None:
    b = np.array([0.2, -0.6, 0.4])
    theta = trial().model(b)
    log_hazards, log_hr = theta[:10] - b[0], np.append(0.0, theta[10:])
    np.testing.assert_allclose(log_hr, b - b[0])
    spent = np.cumsum(np.exp(log_hazards)[:, None] * np.exp(log_hr), axis=0)
    mixed = np.exp(-spent) @ np.array([0.5, 0.25, 0.25])
    np.testing.assert_allclose(mixed, np.exp(-np.cumsum(np.exp(MARGINAL))))


def test_steps_lead_to_the_effect_and_the_missing_way_is_added() -> None:
    truth = np.array([0.1, -0.5, 0.3])
    fit = trial()
    for _ in range(5):
        fit = fit.after_score(exact_score(fit, truth), 0.0)
    known = trial_estimate(fit)
    np.testing.assert_allclose(known.log_hr, truth[1:] - truth[0], atol=1e-9)
    assert known.standard_error is not None
    # Without noise the usual variance of a log hazard ratio.
    events = fit.expected_events(fit.averaged)
    np.testing.assert_allclose(known.standard_error, np.sqrt(1 / events[1:] + 1 / events[0]))


def test_noise_widens_the_interval_by_what_it_adds() -> None:
    """Many fits on the same events: their spread over noise draws is what the claim adds for noise."""
    rng, sd, truth = np.random.default_rng(4), 12.0, np.array([0.0, -0.4, 0.2])
    effects = []
    for _ in range(400):
        fit = trial()
        for _ in range(5):
            fit = fit.after_score(exact_score(fit, truth) + rng.normal(0, sd, 3), sd)
        effects.append(trial_estimate(fit).log_hr)
    noisy, quiet = (
        trial_estimate(fit).standard_error,
        trial_estimate(replace(fit, noise_sd=(0.0,) * 5)).standard_error,
    )
    assert noisy is not None
    assert quiet is not None
    np.testing.assert_allclose(np.std(effects, axis=0), np.sqrt(noisy**2 - quiet**2), rtol=0.2)


def test_no_interval_where_the_noise_is_as_large_as_the_events() -> None:
    for fit, sd in ((trial(events_sd=200.0), 1.0), (trial(), 150.0)):
        known = trial_estimate(fit.after_score(np.zeros(3), sd))
        assert known.standard_error is None
        assert known.reason == FEW_EVENTS
    assert trial_estimate(trial()).standard_error is None


def test_the_total_is_the_released_one_although_cells_are_floored() -> None:
    noisy = np.array([30.0, -20.0, 25.0, -4.0])
    fit = Trial.start(noisy, 15.0, MARGINAL[:4], (0.5, 0.5), 0.7, 4)
    assert fit.events.sum() == pytest.approx(31.0)
    assert fit.events.min() > 0
    assert fit.events_sd == pytest.approx(30.0)


def test_a_step_of_pure_noise_stays_small() -> None:
    start = Trial.start(np.full(10, -5.0), 15.0, MARGINAL, (0.5, 0.5), 0.7, 4)
    assert np.abs(start.after_score(np.array([40.0, -40.0]), 40.0).b).max() < 1
    assert floor(40.0) > 40
