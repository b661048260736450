r"""Survival curves from an exit histogram that may carry noise: Kaplan-Meier, Nelson-Aalen, number at risk, restricted mean.

A patient is one cell of the histogram interval x event (sensitivity 1); where observation can begin late, one more cell of a histogram
of entries (sensitivity sqrt 2). Numbers at risk are sums of cells, which is free; released directly they would change along a patient's
whole follow-up and cost sqrt(K + 1).

The convention is that of an exact estimate on data rounded to the grid: an exit counts at the end of its interval, an entry at its start.

Write v for the cells, d = D v for events and Y = R v for the numbers at risk. Every estimate is a smooth function of v, so noise of
standard deviation s on each cell adds s^2 J J' to its sampling covariance, J the Jacobian (delta method). Greenwood's formula stays
the sampling part. Where the number at risk is not well above its own noise the expansion fails, and the curve ends there.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from privacy.studies.grid import FloatArray

# Standard deviations of its noise by which a number at risk must exceed zero.
CLEAR_OF_NOISE = 4.0
Z95 = 1.959963984540054


@cache
def _design(intervals: int, has_entries: bool) -> tuple[FloatArray, FloatArray]:
    """D and R, each (K, m); read only."""
    square = np.ones((intervals, intervals))
    none, later, before = np.zeros_like(square), np.triu(square), -np.tril(square, -1)
    if has_entries:
        return np.hstack([np.eye(intervals), none, none]), np.hstack([before, before, np.tril(square)])
    return np.hstack([np.eye(intervals), none]), np.hstack([later, later])


@dataclass(frozen=True, slots=True)
class Cells:
    """Cells of one group or of several, and how events and numbers at risk are sums of them.

    Attributes:
        values: (groups, m); m = 2K (events, then censorings), 3K with entries behind them.
        noise_sd: of each cell; 0 without noise.
        intervals: K.
    """

    values: FloatArray
    noise_sd: float
    intervals: int

    @property
    def has_entries(self) -> bool:
        """Whether patients may come under observation late."""
        return bool(self.values.shape[1] == 3 * self.intervals)

    @property
    def picks_events(self) -> FloatArray:
        """D, (K, m)."""
        return _design(self.intervals, self.has_entries)[0]

    @property
    def sums_at_risk(self) -> FloatArray:
        """R, (K, m): who leaves in this interval or later, or who came by this interval and has not left before it."""
        return _design(self.intervals, self.has_entries)[1]

    @property
    def at_risk_noise_sd(self) -> FloatArray:
        """Standard deviation of the noise in each number at risk of one group, (K,)."""
        return np.asarray(self.noise_sd * np.sqrt((self.sums_at_risk**2).sum(axis=1)))

    def clear(self, values: FloatArray, groups: int = 1) -> int:
        """How many intervals come before the first whose number at risk drowns in noise.

        Args:
            values: (m,) cells, of one group or of `groups` added up.
        """
        at_risk = self.sums_at_risk @ values
        least = np.maximum(CLEAR_OF_NOISE * np.sqrt(groups) * self.at_risk_noise_sd, 0.5)
        bad = np.flatnonzero(at_risk < least)
        return int(bad[0]) if len(bad) else self.intervals


@dataclass(frozen=True, slots=True)
class Curve:
    """One group's curve at the ends of its first `len(survival)` intervals; the arrays are (m,) with m <= K.

    Attributes:
        times_days: ends of the intervals.
        at_risk: at the start of each interval; `events` in it.
        survival: Kaplan-Meier, within [0, 1] and never rising.
        interval: (m, 2) 95 % band, pointwise; NaN where there is none.
        hazard: Nelson-Aalen cumulative hazard; `hazard_se` its standard error, sampling and noise.
        restricted_mean: days up to times_days[-1], area under the curve by the trapezoid rule, since exits lie anywhere in an interval.
        restricted_mean_se: sampling and noise.
    """

    times_days: FloatArray
    at_risk: FloatArray
    events: FloatArray
    survival: FloatArray
    interval: FloatArray
    hazard: FloatArray
    hazard_se: FloatArray
    restricted_mean: float
    restricted_mean_se: float


def curve(values: FloatArray, cells: Cells, times_days: FloatArray) -> Curve:
    """The curve of one group.

    Args:
        values: (m,) its cells, or several groups' added up.
        cells: the noise in one of them, and the design.
        times_days: (K + 1,) boundaries from 0.
    """
    shown = cells.clear(values)
    picks, sums = cells.picks_events[:shown], cells.sums_at_risk[:shown]
    events, at_risk = picks @ values, sums @ values
    share = events / at_risk
    # Noise can leave more events than patients; exactly all of them is a curve at zero.
    step = 1.0 - np.minimum(share, 1.0)
    survival = _falling(np.clip(np.cumprod(step), 0.0, 1.0))
    alive = np.maximum(step, 1e-9)
    greenwood = np.cumsum(np.maximum(share, 0.0) / (at_risk * alive))
    slope = (picks - share[:, None] * sums) / at_risk[:, None]
    noise = cells.noise_sd * np.cumsum(-slope / alive[:, None], axis=0)
    covariance = _of_cumulated(greenwood) + noise @ noise.T
    noise_of_hazard = cells.noise_sd * np.cumsum(slope, axis=0)
    hazard_variance = np.cumsum(np.maximum(share, 0.0) / at_risk) + (noise_of_hazard**2).sum(axis=1)
    mean, mean_se = _restricted_mean(survival, covariance, times_days[: shown + 1])
    return Curve(
        times_days[1 : shown + 1],
        at_risk,
        events,
        survival,
        _band(survival, np.sqrt(np.diag(covariance)), noisy=cells.noise_sd > 0),
        np.cumsum(share),
        np.sqrt(hazard_variance),
        mean,
        mean_se,
    )


def _of_cumulated(variance: FloatArray) -> FloatArray:
    """Covariance of sums of independent terms from the variances of the sums, (m, m): the shorter sum's."""
    index = np.arange(len(variance))
    return np.asarray(variance[np.minimum.outer(index, index)])


def _band(survival: FloatArray, log_sd: FloatArray, *, noisy: bool) -> FloatArray:
    """(m, 2). Without noise log(-log S), which stays inside [0, 1]; noise is symmetric and may be larger than 1 - S, so with it S itself."""
    band = np.full((len(survival), 2), np.nan)
    if noisy:
        reach = Z95 * np.maximum(survival, 1e-9) * log_sd
        return np.clip(np.stack([survival - reach, survival + reach], axis=1), 0.0, 1.0)
    inside = (survival > 0) & (survival < 1)
    log_survival = np.log(survival[inside])
    reach = Z95 * log_sd[inside] / log_survival
    for column, sign in ((0, -1.0), (1, 1.0)):
        band[inside, column] = np.exp(log_survival * np.exp(sign * reach))
    band[survival == 1] = 1.0
    return band


def _restricted_mean(
    survival: FloatArray, covariance: FloatArray, boundaries: FloatArray
) -> tuple[float, float]:
    """Area under the curve from 0 to the last boundary, and its standard error."""
    if not len(survival):
        return 0.0, 0.0
    widths = np.diff(boundaries)
    weights = (widths + np.append(widths[1:], 0.0)) / 2
    scaled = weights * survival
    variance = float(scaled @ covariance @ scaled)
    return float(widths[0] / 2 + weights @ survival), float(np.sqrt(max(variance, 0.0)))


def _falling(values: FloatArray) -> FloatArray:
    """The nearest sequence that never rises, in least squares (pool adjacent violators); a curve without noise is its own."""
    blocks: list[tuple[float, int]] = []
    for value in values:
        total, size = float(value), 1
        while blocks and total / size > blocks[-1][0] / blocks[-1][1]:
            before, width = blocks.pop()
            total, size = total + before, size + width
        blocks.append((total, size))
    return np.asarray([total / size for total, size in blocks for _ in range(size)])
