"""Renyi divergences of the mixture-of-Gaussians pair, by quadrature: dp-accounting has the pair for PLDs only."""

from math import log, log1p

import numpy as np
from scipy.special import gammaln, logsumexp

from privacy.guarantees.release import Release

# Quadrature step and margin in standard deviations; the trapezoid rule on this smooth, fast-decaying integrand is
# exact to rounding at a twentieth.
_STEP = 0.05
_MARGIN = 14.0


def sampled_rdp(release: Release, orders: tuple[float, ...]) -> np.ndarray:
    """Renyi divergence of ONE step of `release` at each order, the larger of both directions.

    The pair is P = sum_j Binomial(c, q)(j) N(j, z^2) against Q = N(0, z^2), with c = sensitivity_rows (Ganesh 2024,
    arXiv 2401.10294, theorem 3.2: it dominates every pair of neighbors).

    Args:
        release: any kind; full batch uses the closed form order * c^2 / (2 z^2).
        orders: > 1 each.

    Returns:
        Shape (len(orders),), nats.
    """
    z, c, q = release.accounted_multiplier(), release.sensitivity_rows, release.sample_rate
    if q == 1:
        return np.array([order * (c / z) ** 2 / 2 for order in orders])
    counts = np.arange(c + 1)
    log_weights = (
        gammaln(c + 1)
        - gammaln(counts + 1)
        - gammaln(c - counts + 1)
        + counts * log(q)
        + (c - counts) * log1p(-q)
    )
    return np.array([_divergence(order, z, counts, log_weights) for order in orders])


def _divergence(order: float, z: float, counts: np.ndarray, log_weights: np.ndarray) -> float:
    """max(D(P || Q), D(Q || P)) at one order.

    The integrand of the first peaks near order * c at most, that of the second left of zero.
    """
    right = order * counts[-1] + _MARGIN * z
    left = -(order - 1) * counts[-1] - _MARGIN * z
    x = np.arange(left, right, _STEP * z)
    log_q = -0.5 * (x / z) ** 2
    shifts = (counts[:, None] * x[None, :] - counts[:, None] ** 2 / 2) / z**2
    log_ratio = logsumexp(log_weights[:, None] + shifts, axis=0)
    normalizer = log(_STEP) - 0.5 * log(2 * np.pi)
    forward = logsumexp(log_q + order * log_ratio) + normalizer
    backward = logsumexp(log_q + (1 - order) * log_ratio) + normalizer
    return max(0.0, float(forward), float(backward)) / (order - 1)
