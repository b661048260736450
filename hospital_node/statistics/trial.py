"""Each patient's part of a trial's score; the bound and its proof are in `privacy.recipes.trial`."""

import numpy as np

from hospital_node.statistics.newton import stopped_residuals
from hospital_node.survival.follow_up import FollowUp
from hospital_node.survival.piecewise import hazards
from privacy.studies.grid import FloatArray


def arm_rows(log_hazards: FloatArray, risk: FloatArray, patients: FollowUp) -> FloatArray:
    """The stopped martingale in the coordinate of the patient's arm, zero in the others, shape (n, G).

    Args:
        log_hazards: (K,) of the round's model.
        risk: (n,) linear predictors.
        patients: n of them; their columns are the dummies of all arms but the reference.
    """
    residuals = stopped_residuals(patients.exposure * hazards(log_hazards, risk), patients.events)
    reference = 1.0 - patients.x.sum(axis=1, keepdims=True)
    return np.asarray(residuals.sum(axis=1)[:, None] * np.hstack([reference, patients.x]))
