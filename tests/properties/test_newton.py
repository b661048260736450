"""No patient moves a statistic of the Newton recipe by more than its bound, however odd; the search looks for one who does."""

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hospital_node.statistics import newton as statistics
from hospital_node.statistics.tables import moment_rows
from hospital_node.statistics.trial import arm_rows
from hospital_node.survival.follow_up import FollowUp
from privacy.recipes.newton import unpack
from privacy.recipes.tasks import HESSIAN_CLIP, MOMENTS_CLIP, PLAIN_SCORE_CLIP, SCORE_CLIP, TRIAL_CLIP

K = 5
# Rounding of a hazard of e^12; the integers that leave are held to the bound exactly.
LOOSE = 1 + 1e-9


def numbers(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high, allow_nan=False)


@st.composite
def patients(draw: st.DrawFn) -> tuple[FollowUp, float]:
    """One patient with any covariates, exposure and event, and any column scale."""
    x = draw(arrays(np.float64, draw(st.integers(1, 6)), elements=numbers(-1, 1)))
    exposure = draw(arrays(np.float64, K, elements=numbers(0, 1)))
    events = np.zeros(K)
    if draw(st.booleans()):
        events[draw(st.integers(0, K - 1))] = 1.0
    return FollowUp(x[None, :], exposure[None, :], events[None, :]), draw(numbers(0.5, 4))


HAZARDS = arrays(np.float64, K, elements=numbers(-12, 12))
LATE_EVENT = FollowUp(np.ones((1, 1)), np.ones((1, K)), np.eye(K)[[-1]])
EARLY_EVENT = FollowUp(np.ones((1, 1)), np.zeros((1, K)), np.eye(K)[[0]])


@settings(max_examples=300, deadline=None)
@given(patients(), HAZARDS, numbers(-12, 12))
@example((EARLY_EVENT, 2.0), np.zeros(K), 0.0)
@example((LATE_EVENT, 1.0), np.log(np.array([1.0, 1e-9, 1e-9, 1e-9, 1e-9])), 0.0)
def test_score(patient: tuple[FollowUp, float], log_hazards: np.ndarray, risk: float) -> None:
    follow_up, scale = patient
    row = statistics.score_rows(log_hazards, np.array([risk]), scale, follow_up)[0]
    assert np.linalg.norm(row) <= SCORE_CLIP * LOOSE


def test_the_bound_of_the_score_is_reached() -> None:
    """So a smaller one would be wrong: an event at once by a patient on the covariate bound."""
    row = statistics.score_rows(np.zeros(K), np.zeros(1), 2.0, EARLY_EVENT)[0]
    assert np.isclose(np.linalg.norm(row), SCORE_CLIP)


@settings(max_examples=200, deadline=None)
@given(patients(), HAZARDS, numbers(-12, 12))
def test_a_martingale_that_stops_lies_within_one(
    patient: tuple[FollowUp, float], log_hazards: np.ndarray, risk: float
) -> None:
    follow_up, _ = patient
    spent = follow_up.exposure * np.exp(np.minimum(log_hazards + risk, 30.0))
    residuals = statistics.stopped_residuals(spent, follow_up.events)
    assert abs(residuals.sum()) <= LOOSE
    assert np.abs(residuals).sum() <= 2 * LOOSE
    # The same without stopping is what the bound does not cover.
    if spent.sum() > 3:
        assert abs((follow_up.events - spent).sum()) > 1


@settings(max_examples=300, deadline=None)
@given(patients(), HAZARDS)
def test_hessian(patient: tuple[FollowUp, float], log_hazards: np.ndarray) -> None:
    follow_up, scale = patient
    row = statistics.hessian_rows(log_hazards, scale, follow_up)[0]
    assert np.linalg.norm(row) <= HESSIAN_CLIP * LOOSE
    matrix = unpack(row)
    assert np.isclose(np.linalg.norm(matrix), np.linalg.norm(row))
    assert np.linalg.eigvalsh(matrix).min() >= -1e-12


@given(arrays(np.float64, 4, elements=numbers(-1e6, 1e6)))
def test_moments(risk: np.ndarray) -> None:
    assert np.linalg.norm(moment_rows(risk), axis=1).max() <= MOMENTS_CLIP * LOOSE


@settings(max_examples=300, deadline=None)
@given(
    st.integers(0, 4),
    st.integers(2, 5),
    arrays(np.float64, K, elements=numbers(0, 1)),
    st.integers(-1, K - 1),
    HAZARDS,
    numbers(-12, 12),
)
@example(0, 2, np.zeros(K), 0, np.zeros(K), 0.0)
@example(1, 2, np.ones(K), -1, np.zeros(K), 5.0)
def test_the_score_of_a_trial(
    arm: int, arms: int, exposure: np.ndarray, event: int, log_hazards: np.ndarray, risk: float
) -> None:
    """In one coordinate, the own arm's, and within 1, whatever the patient's hazard."""
    arm = arm % arms
    x = (np.arange(1, arms) == arm).astype(float)
    events = np.zeros(K)
    if event >= 0:
        events[event] = 1.0
    row = arm_rows(log_hazards, np.array([risk]), FollowUp(x[None, :], exposure[None, :], events[None, :]))[0]
    assert np.linalg.norm(row) <= TRIAL_CLIP * LOOSE
    np.testing.assert_array_equal(np.delete(row, arm), 0.0)


def test_the_bound_of_a_trial_is_reached() -> None:
    row = arm_rows(np.zeros(K), np.zeros(1), EARLY_EVENT)[0]
    assert np.isclose(np.linalg.norm(row), TRIAL_CLIP)
    assert np.isclose(np.linalg.norm(row_without_tilt(EARLY_EVENT)), PLAIN_SCORE_CLIP)


def row_without_tilt(patient: FollowUp) -> np.ndarray:
    return np.asarray(statistics.score_rows(np.zeros(K), np.zeros(1), 2.0, patient)[0, :-1])


@settings(max_examples=200, deadline=None)
@given(patients(), HAZARDS, numbers(-12, 12), numbers(-1, 1))
def test_score_without_the_tilt(
    patient: tuple[FollowUp, float], log_hazards: np.ndarray, risk: float, center: float
) -> None:
    """Whatever the released center is."""
    follow_up, scale = patient
    assert np.linalg.norm(statistics.weighted_covariates(scale, follow_up)) <= PLAIN_SCORE_CLIP * LOOSE
    follow_up = statistics.centered(follow_up, np.full(follow_up.x.shape[1], center))
    row = statistics.score_rows(log_hazards, np.array([risk]), scale, follow_up)[0, :-1]
    assert np.linalg.norm(row) <= PLAIN_SCORE_CLIP * LOOSE
