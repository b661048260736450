"""The cost of composed noisy vectors alone: the same releases under three accountants.

The figure is the privacy loss distribution (PLD) of dp-accounting, pessimistic, on fixed grids, so that two
parties who hold the same releases get the same number. Where every release is a full-batch Gaussian the exact
closed form (Gaussian DP) is used. Renyi DP is the second opinion: other mathematics, always at least as large.

Source: Koskela, Jalko & Honkela 2020 (arXiv 1906.03049) and Doroshenko et al. 2022 (arXiv 2207.04380) for the PLD;
Ganesh 2024 (arXiv 2401.10294) for mixtures; Dong, Roth & Su 2022 for Gaussian DP; Mironov 2017 for Renyi DP.
"""

from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache
from math import exp, inf, sqrt

import numpy as np
from dp_accounting import NeighboringRelation, get_epsilon_gaussian, get_sigma_gaussian
from dp_accounting.pld import privacy_loss_distribution
from dp_accounting.pld.common import DifferentialPrivacyParameters
from dp_accounting.pld.privacy_loss_distribution import PrivacyLossDistribution
from dp_accounting.rdp import RdpAccountant
from dp_accounting.rdp.rdp_privacy_accountant import compute_epsilon

from privacy.guarantees.guarantee import Adjacency
from privacy.guarantees.mixture import sampled_rdp
from privacy.guarantees.plan import Charge, Release, stages, vectors
from privacy.guarantees.release import binomial_weights

# Widths of the PLD grid by the size of the Renyi epsilon, and for mixtures, whose losses take longer to tabulate.
# Fixed numbers: two parties that account the same releases must use the same grid. Each is pessimistic; at the first width a finer one lowers
# epsilon by .002 % (mixtures .02 %).
# Entries: largest Renyi epsilon, width, width when a mixture is among the releases.
INTERVALS = ((5.0, 5e-4, 2e-3), (30.0, 1e-3, 2e-3), (200.0, 2e-3, 4e-3), (inf, 1e-2, 1e-2))

# Mass beyond every loss that a composition counts for each step: the library's transforms are of doubles, and what they round away can be missing
# above a loss. Against transforms of 80-bit numbers they lost at most 4.1e-16 a step; this is 17 times that.
ROUNDING = 2.0**-47
_SMALL = 1000

# Below order 2 the library's fractional series does not always converge.
RDP_ORDERS = tuple(order / 10 for order in range(20, 110)) + tuple(
    float(order) for order in (*range(11, 65), *range(72, 257, 8), 384, 512, 1024)
)

# Enough to tell that a Renyi epsilon is small; more orders only make it smaller.
FEW_ORDERS = (3.0, 5.0, 8.0, 12.0, 18.0, 28.0, 44.0, 64.0, 128.0, 512.0)


def merged(charges: Iterable[Charge]) -> tuple[Charge, ...]:
    """Releases with equal parameters added up over their steps, and stages, in one canonical order.

    A plan and the ledger entries of its rounds become the same value, and so exactly the same epsilon.
    """
    charges = tuple(charges)
    return (*sorted(stages(charges), key=repr), *merged_vectors(vectors(charges)))


def merged_vectors(releases: Iterable[Release]) -> tuple[Release, ...]:
    """Noisy vectors with equal parameters added up over their steps, in one canonical order."""
    steps: dict[Release, int] = {}
    for release in releases:
        key = replace(release, steps=1)
        steps[key] = steps.get(key, 0) + release.steps
    return tuple(sorted((replace(key, steps=n) for key, n in steps.items()), key=repr))


def gdp_epsilon(mu: float, delta: float) -> float:
    """Epsilon at `delta` of mu-Gaussian DP (Balle & Wang 2018, theorem 8), rounded up by the search tolerance."""
    if mu <= 0:
        return 0.0
    return float(get_epsilon_gaussian(1 / mu, delta, tol=1e-12)) + 1e-11


def gdp_mu(epsilon: float, delta: float) -> float:
    """Largest mu whose Gaussian DP is (epsilon, delta)-DP; the inverse of `gdp_epsilon`."""
    return 1 / float(get_sigma_gaussian(epsilon, delta))


def gaussian_mu(releases: Iterable[Release]) -> float | None:
    """mu of the composition when every release is full batch, else None: sqrt(sum of steps (rows / z)^2)."""
    total = 0.0
    for release in releases:
        if release.kind != "gaussian":
            return None
        total += release.steps * (release.sensitivity_rows / release.accounted_multiplier()) ** 2
    return sqrt(total)


@lru_cache(maxsize=256)
def pld_epsilon(releases: tuple[Release, ...], delta: float, adjacency: Adjacency, wider: int = 1) -> float:
    """Epsilon by the exact closed form, by the PLD, or for replaced mixtures by group privacy.

    A grid `wider` than that of every account is for a first look: pessimistic as well, and larger.

    Kept: a hospital asks for its plan's epsilon before every round, and reading it off a distribution takes a tenth of a second.
    """
    mu = gaussian_mu(releases)
    if mu is not None:
        return gdp_epsilon(mu if adjacency == "add/remove" else 2 * mu, delta)
    interval = wider * grid_width(releases)
    if adjacency == "replace" and any(_is_mixture(release) for release in releases):
        return _replace_by_group(loss_distribution(releases, "add/remove", interval), delta)
    found = float(loss_distribution(releases, adjacency, interval).get_epsilon_for_delta(delta))
    if adjacency == "add/remove" and delta < _SMALL * _rounding(releases):
        # Here the rounding is felt, and no transform is behind the Renyi epsilon.
        return min(found, rdp_epsilon(releases, delta, RDP_ORDERS))
    return found


def _replace_by_group(account: PrivacyLossDistribution, delta: float) -> float:
    """Replacing is removing and adding: (2 e, (1 + exp(e)) delta(e)), for the smallest such e.

    dp-accounting has no replace pair for mixtures; this bound is valid and not tight.
    """
    low, high = 0.0, 1.0
    while (1 + exp(high)) * account.get_delta_for_epsilon(high) > delta:
        low, high = high, 2 * high
        if high > 500:
            return inf
    while high - low > 1e-6:
        middle = (low + high) / 2
        if (1 + exp(middle)) * account.get_delta_for_epsilon(middle) > delta:
            low = middle
        else:
            high = middle
    return 2 * high


@lru_cache(maxsize=256)
def rdp_epsilon(releases: tuple[Release, ...], delta: float, orders: tuple[float, ...]) -> float:
    """Smallest epsilon over `orders` (Canonne, Kamath & Steinke 2020, proposition 12, in dp-accounting)."""
    if not any(_is_mixture(release) for release in releases):
        account = RdpAccountant(orders)
        for release in releases:
            account.compose(release.event())
        return float(account.get_epsilon(delta))
    losses = sum(
        (release.steps * sampled_rdp(release, orders) for release in releases), np.zeros(len(orders))
    )
    return float(compute_epsilon(orders, losses, delta)[0])


def grid_width(releases: tuple[Release, ...]) -> float:
    """Grid width for a composition, a function of the releases alone."""
    # Fewer orders, a larger epsilon: below the first limit the answer is that of all orders.
    size = rdp_epsilon(releases, 1e-5, FEW_ORDERS)
    if size > INTERVALS[0][0]:
        size = rdp_epsilon(releases, 1e-5, RDP_ORDERS)
    plain, mixture = next((plain, mixture) for limit, plain, mixture in INTERVALS if size <= limit)
    return mixture if any(_is_mixture(release) for release in releases) else plain


@lru_cache(maxsize=64)
def loss_distribution(
    releases: tuple[Release, ...], adjacency: Adjacency, interval: float
) -> PrivacyLossDistribution:
    """Composed distribution, with ROUNDING a step as mass beyond every loss; shared by all callers, who only read it.

    dp-accounting's PLDAccountant builds the very same one where all Gaussians are equal (tests compare them), but tabulates a step anew for
    every composition that holds it, and a ledger asks for one composition a round; different Gaussians it rounds one by one.
    """
    total = privacy_loss_distribution.from_privacy_parameters(
        DifferentialPrivacyParameters(0.0, _rounding(releases)), interval
    )
    full_batch = tuple(release for release in releases if release.kind == "gaussian")
    if full_batch:
        # Gaussians compose to one, exactly: Dong, Roth & Su 2022, corollary 3.3.
        total = privacy_loss_distribution.from_gaussian_mechanism(
            standard_deviation=1 / (gaussian_mu(full_batch) or inf),
            value_discretization_interval=interval,
            neighboring_relation=_relation(adjacency),
        )
    for release in releases:
        if release.kind != "gaussian":
            more = _step(replace(release, steps=1), adjacency, interval).self_compose(release.steps)
            total = total.compose(more)
    return total


@lru_cache(maxsize=64)
def _step(release: Release, adjacency: Adjacency, interval: float) -> PrivacyLossDistribution:
    """One sampled step; the one place where it is tabulated."""
    noise, rows = release.accounted_multiplier(), release.sensitivity_rows
    if rows == 1:
        return privacy_loss_distribution.from_gaussian_mechanism(
            standard_deviation=noise,
            value_discretization_interval=interval,
            sampling_prob=release.sample_rate,
            neighboring_relation=_relation(adjacency),
        )
    return privacy_loss_distribution.from_mixture_gaussian_mechanism(
        standard_deviation=noise,
        sensitivities=range(rows + 1),
        sampling_probs=binomial_weights(rows, release.sample_rate),
        value_discretization_interval=interval,
    )


def _rounding(releases: tuple[Release, ...]) -> float:
    """What may be missing above a loss; all full batches are one Gaussian, and a release more is one composition more."""
    transforms = 1 + sum(1 + release.steps for release in releases if release.kind != "gaussian")
    return min(0.5, ROUNDING * transforms)


def _relation(adjacency: Adjacency) -> NeighboringRelation:
    if adjacency == "add/remove":
        return NeighboringRelation.ADD_OR_REMOVE_ONE
    return NeighboringRelation.REPLACE_ONE


def _is_mixture(release: Release) -> bool:
    return release.kind == "poisson_gaussian" and release.sensitivity_rows > 1
