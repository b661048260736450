"""Cox regression and Harrell's C in numpy: what the quality report needs of survival analysis, without a further dependency."""

import numpy as np

from privacy.studies.grid import FloatArray, IntArray

_RIDGE = 1e-3
_STEPS, _TOLERANCE, _LONGEST_STEP = 30, 1e-6, 2.0
# Held-out patients beyond this are left out of the pairs, which grow with their square.
MOST_PATIENTS = 4000


def cox(x: FloatArray, time: FloatArray, event: IntArray) -> FloatArray:
    """Log hazard ratios, (d,), by Newton steps on the ridge-penalized partial likelihood; ties after Breslow.

    Args:
        x: (n, d) in [-1, 1].
        time: (n,).
        event: (n,) 0 or 1, at least one 1.

    Source: Cox 1972; Breslow 1974.
    """
    order = np.argsort(-time, kind="stable")
    x, time, event = x[order], time[order], event[order]
    # The last patient of each time, in falling time: everybody at risk then.
    last = np.searchsorted(-time, -time, side="right") - 1
    died = np.flatnonzero(event == 1)
    at_risk = last[died]
    beta = np.zeros(x.shape[1])
    for _ in range(_STEPS):
        weight = np.exp(np.clip(x @ beta, -30, 30))
        zero = np.cumsum(weight)[at_risk]
        mean = np.cumsum(weight[:, None] * x, axis=0)[at_risk] / zero[:, None]
        # Patient i stands in the risk set of each event at or before its time: sum of 1 / zero over those.
        shares = np.zeros(len(time) + 1)
        np.add.at(shares, at_risk, 1 / zero)
        behind = np.cumsum(shares[::-1])[::-1][: len(time)]
        hessian = (
            (x * (weight * behind)[:, None]).T @ x - mean.T @ mean + _RIDGE * np.eye(len(beta)) * len(died)
        )
        gradient = x[died].sum(axis=0) - mean.sum(axis=0) - _RIDGE * len(died) * beta
        step = np.linalg.solve(hessian, gradient)
        beta = beta + step * min(1.0, _LONGEST_STEP / max(float(np.abs(step).max()), 1e-12))
        if np.abs(step).max() < _TOLERANCE:
            break
    return np.asarray(beta, dtype=np.float64)


def concordance(time: FloatArray, event: IntArray, risk: FloatArray) -> float | None:
    """Harrell's C: share of comparable pairs in which the higher risk has the earlier event; None without such a pair.

    A pair counts if the earlier exit is an event, or an event and a censoring fall on the same day; equal risks count half.

    Source: Harrell et al. 1982 (JAMA 247).
    """
    right, pairs = 0.0, 0
    for i in np.flatnonzero(event == 1):
        later = (time > time[i]) | ((time == time[i]) & (event == 0))
        pairs += int(later.sum())
        right += float((risk[i] > risk[later]).sum() + 0.5 * (risk[i] == risk[later]).sum())
    return right / pairs if pairs else None


def kaplan_meier(time: FloatArray, event: IntArray, at: FloatArray) -> FloatArray:
    """Probability to be free of the event just after each of `at`, (m,)."""
    exits, position = np.unique(time, return_inverse=True)
    events = np.bincount(position, weights=event, minlength=len(exits))
    leaving = np.bincount(position, minlength=len(exits))
    at_risk = np.cumsum(leaving[::-1])[::-1]
    curve = np.concatenate([[1.0], np.cumprod(1 - events / at_risk)])
    return np.asarray(curve[np.searchsorted(exits, at, side="right")], dtype=np.float64)
