"""The trial mode's fold: from the arms' released scores to their log hazards."""

from dataclasses import replace

import numpy as np
import pytest

from privacy.recipes.trial import Trial, floor

EVENTS = np.full(10, 40.0)
MARGINAL = np.log(np.full(10, 0.05))


def trial(**changes: object) -> Trial:
    start = Trial.start(EVENTS, np.zeros(10), 5.0, (0.5, 0.25, 0.25), rate=0.7, average_last=4)
    return replace(start, **{"marginal": MARGINAL} | changes)


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


def test_the_total_is_the_released_one_although_cells_are_floored() -> None:
    noisy = np.array([30.0, -20.0, 25.0, -4.0])
    fit = Trial.start(noisy, np.zeros(4), 15.0, (0.5, 0.5), 0.7, 4)
    assert fit.events.sum() == pytest.approx(31.0)
    assert fit.events.min() > 0
    assert fit.events_sd == pytest.approx(30.0)


def test_a_step_of_pure_noise_stays_small() -> None:
    start = Trial.start(np.full(10, -5.0), np.full(10, 50.0), 15.0, (0.5, 0.5), 0.7, 4)
    assert np.abs(start.after_score(np.array([40.0, -40.0]), 40.0).b).max() < 1
    assert floor(40.0) > 40
