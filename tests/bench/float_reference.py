"""The same training in plain floating point, written apart from the product: what integers and machines must not cost.

Same bounds, same Poisson rate, same total noise; noise by numpy, gradients and Adam written out again.
"""

import numpy as np

from privacy.studies.agreement import Agreement
from privacy.studies.grid import FloatArray


def federated_average(
    agreement: Agreement,
    x: list[FloatArray],
    exposure: list[FloatArray],
    events: list[FloatArray],
    n_public: list[int],
    rng: np.random.Generator,
) -> FloatArray:
    """Coefficients (d,) after all rounds of local DP-SGD with life-table start; one list entry per hospital."""
    assert agreement.plan is not None
    training, plan = agreement.training, agreement.plan
    table_noise, noise = (plan.release(name).noise_multiplier for name in ("life_table", "train"))
    K = agreement.study.intervals
    ev, ce = np.zeros(K), np.zeros(K)
    for u, y in zip(exposure, events, strict=True):
        ev += y.sum(0) + table_noise * rng.normal(size=K)
        last = (u > 0).cumsum(1).argmax(1)
        ce += np.bincount(last[y.sum(1) == 0], minlength=K) + table_noise * rng.normal(size=K)
    ev, ce = np.maximum(ev, 0.5), np.maximum(ce, 0)
    at_risk = (ev + ce)[::-1].cumsum()[::-1] - ce / 2 - ev / 2
    alpha = np.log(np.clip(ev / np.maximum(at_risk, 1), 1e-4, 5))
    theta = np.concatenate([alpha, np.zeros(x[0].shape[1])])
    weights = np.array(n_public) / sum(n_public)
    total = training.rounds * training.local_steps
    for r in range(training.rounds):
        answers = []
        for X, u, y, n in zip(x, exposure, events, n_public, strict=True):
            local, m, v = theta.copy(), np.zeros_like(theta), np.zeros_like(theta)
            for s in range(training.local_steps):
                drawn = rng.random(len(X)) < training.sample_rate
                res = y[drawn] - u[drawn] * np.exp(local[:K] + (X[drawn] @ local[K:])[:, None])
                rows = np.hstack([res, res.sum(1, keepdims=True) * X[drawn]])
                norms = np.linalg.norm(rows, axis=1, keepdims=True)
                rows *= np.minimum(1, training.clip_l2 / np.maximum(norms, 1e-300))
                g = rows.sum(0) + noise * training.clip_l2 * rng.normal(size=len(theta))
                g /= training.sample_rate * n
                m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
                progress = (r * training.local_steps + s) / total
                final = training.learning_rate_final_share
                rate = training.learning_rate * (final + (1 - final) * (1 + np.cos(np.pi * progress)) / 2)
                local += rate * (m / (1 - 0.9 ** (s + 1))) / (np.sqrt(v / (1 - 0.999 ** (s + 1))) + 1e-8)
                local = np.clip(local, -training.parameter_clip, training.parameter_clip)
            answers.append(local)
        theta = weights @ np.array(answers)
    return np.asarray(theta[K:])
