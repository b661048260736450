"""Noise for a wanted guarantee, computed once when a study is made and then stored in its plan."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import ceil, inf, log, sqrt

from privacy.guarantees.accounting import AccountingError, spent
from privacy.guarantees.composition import FEW_ORDERS, gdp_mu, merged_vectors, pld_epsilon, rdp_epsilon
from privacy.guarantees.plan import DpPlan, Release

# Noise multipliers are whole multiples of 1e-4, so that every party finds the same one.
TICKS = 10_000
_LARGEST_NOISE = 4096
# Times the width of the grid that decides: a tenth of the work, and an epsilon a few ticks away.
_WIDER = 8


def calibrate_local(
    epsilon: float,
    delta: float,
    *,
    sample_rate: float,
    steps: int,
    rounds: int,
    life_table_share: float = 0.10,
    rows: int = 1,
    clip_l2: float = 1.0,
    beside: Sequence[tuple[Release, float]] = (),
) -> DpPlan:
    """Plan of local mode: every hospital's releases are (epsilon, delta)-DP by themselves.

    "life_table" is released once with `life_table_share` of mu^2, whatever is released beside the training with its own share, and
    "train" `rounds * steps` times with the smallest noise that keeps the composition of all within epsilon.

    Args:
        epsilon: > 0, for adding or removing one patient.
        delta: in (0, 1).
        sample_rate: Poisson rate q in (0, 1]; 1 means full batch.
        steps: DP-SGD steps of one round, >= 1.
        rounds: >= 1.
        life_table_share: in [0, 1); 0 leaves the life table out of the plan.
        rows: rows one patient can add or remove; k behind the stage `drop`.
        clip_l2: L2 clip of one row's gradient.
        beside: full-batch releases after the training, with their shares of mu^2; their noise multipliers are replaced.

    Raises:
        AccountingError: no noise multiplier below 4096 reaches epsilon.
        PlanError: a value is out of range.
    """
    mu = gdp_mu(epsilon, delta)
    before: list[Release] = []
    if life_table_share > 0:
        before.append(Release("life_table", "gaussian", _noise_of(mu, life_table_share, rows), rows))
    after = [
        replace(release, noise_multiplier=_noise_of(mu, share / release.steps, release.sensitivity_rows))
        for release, share in beside
    ]
    train = Release(
        "train",
        "gaussian" if sample_rate == 1 else "poisson_gaussian",
        1.0,
        rows,
        sample_rate,
        steps * rounds,
        clip_l2,
    )
    train = smallest_noise(train, (*before, *after), epsilon, delta)
    return DpPlan((*before, train, *after), epsilon, delta)


def calibrate_shares(
    epsilon: float, delta: float, releases: Sequence[Release], budget_shares: Sequence[float]
) -> DpPlan:
    """Plan of full-batch releases that divide mu^2 among them; exact, because full batches compose to one Gaussian.

    Args:
        epsilon: > 0, for adding or removing one patient.
        delta: in (0, 1).
        releases: in order, their noise multipliers are replaced.
        budget_shares: of mu^2 for each over all its steps, adding up to at most 1.

    Raises:
        PlanError: a value is out of range.
    """
    mu = gdp_mu(epsilon, delta)
    while True:
        quiet = [
            replace(release, noise_multiplier=_noise_of(mu, share / release.steps, release.sensitivity_rows))
            for release, share in zip(releases, budget_shares, strict=True)
        ]
        if spent(quiet, delta).number() <= epsilon:
            return DpPlan(tuple(quiet), epsilon, delta)
        # Rounding up to a whole tick covers this but for a coincidence of digits.
        mu *= 1 - 1e-6


def smallest_noise(release: Release, others: tuple[Release, ...], epsilon: float, delta: float) -> Release:
    """`release` with the smallest noise multiplier (a multiple of 1e-4) that keeps all within epsilon.

    The Renyi epsilon of one row for each patient, at a few orders, gives a start and the PLD on a wide grid a near one; the PLD on
    the grid of every account decides, so that the result does not depend on either.

    Raises:
        AccountingError: even a multiplier of 4096 is not enough.
    """

    def with_noise(ticks: int) -> Release:
        return replace(release, noise_multiplier=ticks / TICKS)

    def by_pld(ticks: int) -> float:
        return spent((*others, with_noise(ticks)), delta).epsilon or 0.0

    rows = release.sensitivity_rows
    single = tuple(
        replace(other, sensitivity_rows=1, noise_multiplier=other.noise_multiplier / other.sensitivity_rows)
        for other in others
    )

    def by_rdp(ticks: int) -> float:
        one = replace(release, sensitivity_rows=1, noise_multiplier=ticks / TICKS)
        return rdp_epsilon(merged_vectors((*single, one)), delta, FEW_ORDERS)

    def by_wide_grid(ticks: int) -> float:
        return pld_epsilon(merged_vectors((*others, with_noise(ticks))), delta, "add/remove", _WIDER)

    largest = _LARGEST_NOISE * TICKS
    if by_rdp(largest) > epsilon:
        raise AccountingError(
            f"no noise below {_LARGEST_NOISE} reaches epsilon {epsilon}; use fewer steps or rows"
        )
    start = min(rows * _bisect(by_rdp, 1, largest, epsilon), largest)
    slope = -1.0
    if by_wide_grid(start) < inf:
        start, slope = _secant(by_wide_grid, start, epsilon, near=start // 100_000 + 1)
    return with_noise(_secant(by_pld, start, epsilon, slope)[0])


def _bisect(cost: Callable[[int], float], low: int, high: int, target: float) -> int:
    """Smallest tick within a thousandth whose decreasing `cost` is at most target; `high` is known to be."""
    while high - low > 1 + high // 1000:
        middle = round(sqrt(low * high))
        if cost(middle) > target:
            low = middle
        else:
            high = middle
    return high


def _secant(
    cost: Callable[[int], float], start: int, target: float, slope: float = -1.0, near: int = 1
) -> tuple[int, float]:
    """Smallest tick whose decreasing `cost` is at most target, by secants on log cost over log ticks, and the slope there.

    `good` is always within the target and `bad` beyond it, so the result does not depend on the route. With `near` above 1 it may be so
    many ticks too large.
    """
    tried = {start: cost(start)}
    good = start if tried[start] <= target else None
    bad = None if good else start
    while good is None or bad is None or good - bad > near:
        nearest = min(tried, key=lambda tick: abs(tried[tick] - target))
        guess = ceil(nearest * (target / tried[nearest]) ** (1 / slope))
        if good is not None and guess >= good:
            guess = good - 1
        if bad is not None and guess <= bad:
            guess = bad + 1
        tried[guess] = cost(guess)
        if tried[guess] <= target:
            good = guess
        else:
            bad = guess
        if guess != nearest and tried[guess] != tried[nearest]:
            slope = min(-0.2, (log(tried[guess]) - log(tried[nearest])) / (log(guess) - log(nearest)))
    return good, slope


def _noise_of(mu: float, share: float, rows: int) -> float:
    """Noise multiplier of a full-batch release with this share of mu^2 a step."""
    return _rounded_up(rows / (mu * sqrt(share)))


def _rounded_up(noise: float) -> float:
    return ceil(noise * TICKS) / TICKS
