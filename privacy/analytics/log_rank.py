r"""Log-rank test of several groups from their exit histograms, with the noise in them counted.

U_g = sum_k (d_gk - Y_gk d_k / Y_k) compares the events of a group with those expected were all hazards equal; under the null its sampling
covariance is the hypergeometric V. Noise on the cells moves U too: with m_k = D_k - (d_k / Y_k) R_k and p_gk = Y_gk / Y_k,

    dU_g / dv_h = sum_k (1[g = h] - p_gk) m_k,

so noise of standard deviation s on each cell adds s^2 sum_h (dU_g / dv_h)(dU_g' / dv_h)' to V. Without that term a true null is
rejected about one time in three at epsilon 1 (`tests/statistical/test_log_rank.py` runs both). The statistic U' (V + noise)^-1 U is
compared with chi-square on G - 1 degrees of freedom.

The second-order part of U, -sum_k (m_k e)(R_k e_g - p_gk R_k e) / Y_k with e the noise, has a variance of its own. It is added too; it
matters where noise is an appreciable share of who is at risk.

Source: Mantel 1966; Peto & Peto 1972; the noise term is this project's.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import chdtrc

from privacy.analytics.survival import Cells
from privacy.studies.grid import FloatArray


@dataclass(frozen=True, slots=True)
class LogRank:
    """The test's outcome.

    Attributes:
        statistic: chi-square; `freedom` its degrees of freedom.
        p_value: in [0, 1].
        observed, expected: events of each group under the null, (G,).
        until_interval: intervals that were compared; later ones drown in noise.
    """

    statistic: float
    freedom: int
    p_value: float
    observed: FloatArray
    expected: FloatArray
    until_interval: int


def log_rank(cells: Cells) -> LogRank | None:
    """The test over all groups of `cells`; None where fewer than two groups have anybody at risk clear of the noise."""
    known = [g for g, values in enumerate(cells.values) if cells.clear(values) > 0]
    if len(known) < 2:
        return None
    values = cells.values[known]
    shown = cells.clear(values.sum(axis=0), len(known))
    picks, sums = cells.picks_events[:shown], cells.sums_at_risk[:shown]
    events, at_risk = values @ picks.T, values @ sums.T
    all_events, everyone = events.sum(axis=0), at_risk.sum(axis=0)
    share = all_events / everyone
    observed, expected = events.sum(axis=1), (at_risk * share).sum(axis=1)
    part = at_risk / everyone
    sampling = _hypergeometric(part, all_events, everyone)
    moves = picks - share[:, None] * sums
    covariance = sampling
    if cells.noise_sd > 0:
        second = cells.noise_sd**2 * _second_order(part, moves, sums, everyone)
        covariance = sampling + cells.noise_sd**2 * (_first_order(part, moves) + second)
    # The last group's value follows from the others: all add up to zero.
    score = (observed - expected)[:-1]
    statistic = float(score @ np.linalg.pinv(covariance[:-1, :-1], hermitian=True) @ score)
    freedom = len(known) - 1
    full_observed, full_expected = (np.full(len(cells.values), np.nan) for _ in range(2))
    full_observed[known], full_expected[known] = observed, expected
    return LogRank(
        statistic,
        freedom,
        float(chdtrc(freedom, max(statistic, 0.0))),
        full_observed,
        full_expected,
        shown,
    )


def _hypergeometric(part: FloatArray, events: FloatArray, everyone: FloatArray) -> FloatArray:
    """Covariance of U without noise, (G, G); `part` is (G, K)."""
    weight = np.maximum(events, 0.0) * (everyone - events) / np.maximum(everyone - 1.0, 1.0)
    total = np.diag(part @ weight) - (part * weight) @ part.T
    return np.asarray(total)


def _first_order(part: FloatArray, moves: FloatArray) -> FloatArray:
    """sum_h (dU_g / dv_h)(dU_g' / dv_h)', (G, G); `moves` is m, (K, cells)."""
    groups = len(part)
    own, shared = moves.sum(axis=0), part @ moves
    gradient = np.eye(groups)[:, :, None] * own - shared[:, None, :]
    return np.asarray(np.einsum("ghm,jhm->gj", gradient, gradient))


def _second_order(part: FloatArray, moves: FloatArray, sums: FloatArray, everyone: FloatArray) -> FloatArray:
    """Covariance of the second-order part for noise of unit variance, (G, G), by Isserlis' theorem.

    With a_k = m_k e / Y_k and b_gk = R_k (e_g - p_gk e), e the sum of the groups' noise e_g:
    cov(a_k b_gk, a_l b_hl) = cov(a_k, a_l) cov(b_gk, b_hl) + cov(a_k, b_hl) cov(a_l, b_gk).
    """
    groups = len(part)
    scaled = moves / everyone[:, None]
    a_with_a = groups * (scaled @ scaled.T)
    # e is in e_g once and in the sum of all `groups` times.
    at_k, at_l = part[:, None, :, None], part[None, :, None, :]
    shared = np.eye(groups)[:, :, None, None] - at_k - at_l + groups * at_k * at_l
    b_with_b = shared * (sums @ sums.T)
    a_with_b = (scaled @ sums.T)[None] * (1.0 - groups * part)[:, None, :]
    first = np.einsum("kl,ghkl->gh", a_with_a, b_with_b)
    second = np.einsum("hkl,glk->gh", a_with_b, a_with_b)
    return np.asarray(first + second)
