"""Each patient's part of the Hessian and of the score; bounds and their proof are in `privacy.recipes.newton`."""

import numpy as np

from hospital_node.survival.follow_up import FollowUp
from hospital_node.survival.piecewise import hazards
from privacy.recipes.newton import STOP_LEVEL, G, tilt_shape, triangle_weights
from privacy.recipes.tasks import HESSIAN_CLIP
from privacy.studies.grid import FloatArray
from privacy.studies.layout import row_by_row


def hessian_rows(log_hazards: FloatArray, scale: float, patients: FollowUp) -> FloatArray:
    """Upper triangles of h X X', off-diagonals times sqrt 2, shape (n, p (p + 1) / 2).

    Args:
        log_hazards: (K,) of the life table; covariates have no effect yet.
        scale: factor of the columns inside X.
        patients: n of them.
    """
    x = _with_intercept(scale, patients)
    squares = (x**2).sum(axis=1)
    weight = score_weight(squares)
    spent = row_by_row(patients.exposure, hazards(log_hazards, np.zeros(1))[0])
    height = weight * np.minimum(1.0, HESSIAN_CLIP / (weight * squares)) * np.minimum(spent, 1.0)
    rows, columns = np.triu_indices(x.shape[1])
    return np.asarray(height[:, None] * x[:, rows] * x[:, columns] * triangle_weights(x.shape[1]))


def score_rows(log_hazards: FloatArray, risk: FloatArray, scale: float, patients: FollowUp) -> FloatArray:
    """(c X M, sum_k phi_k r_k) of each patient, shape (n, p + 1).

    Args:
        log_hazards: (K,) of the round's model.
        risk: (n,) linear predictors.
        scale: factor of the columns inside X.
        patients: n of them.
    """
    x = _with_intercept(scale, patients)
    residuals = stopped_residuals(patients.exposure * hazards(log_hazards, risk), patients.events)
    weight = score_weight((x**2).sum(axis=1))
    score = (weight * residuals.sum(axis=1))[:, None] * x
    along = row_by_row(residuals, tilt_shape(len(log_hazards)))
    return np.hstack([score, along[:, None]])


def weighted_covariates(scale: float, patients: FollowUp) -> FloatArray:
    """c X of each patient, shape (n, p): its norm is at most G by the weight."""
    x = _with_intercept(scale, patients)
    return np.asarray(score_weight((x**2).sum(axis=1))[:, None] * x)


def centered(patients: FollowUp, center: FloatArray) -> FollowUp:
    """The patients with their columns counted from a released center, (d,); the score's bound holds for any."""
    return FollowUp(patients.x - center, patients.exposure, patients.events)


def stopped_residuals(spent: FloatArray, events: FloatArray) -> FloatArray:
    """Martingale residuals by interval, stopped when the cumulative hazard reaches 1, shape (n, K).

    Args:
        spent: (n, K) hazard that each patient spends in each interval.
        events: (n, K) 1 where the event happened.
    """
    until = np.cumsum(spent, axis=1)
    # Not until - spent: beside a hazard of e^11 that difference has lost what was spent before.
    before = np.hstack([np.zeros((len(spent), 1)), until[:, :-1]])
    counted = np.clip(STOP_LEVEL - before, 0.0, spent)
    return np.where(until <= STOP_LEVEL, events, 0.0) - counted


def score_weight(squares: FloatArray) -> FloatArray:
    """c = min(1, G / |X|) from |X|^2, (n,)."""
    return np.asarray(np.minimum(1.0, G / np.sqrt(squares)))


def _with_intercept(scale: float, patients: FollowUp) -> FloatArray:
    return np.hstack([np.ones((len(patients.x), 1)), scale * patients.x])
