"""What a list of releases costs one patient, and the same question asked in other ways.

The figure is the privacy loss distribution (PLD) of dp-accounting, pessimistic, on fixed grids, so that two
parties who hold the same releases get the same number. Where every release is a full-batch Gaussian the exact
closed form (Gaussian DP) is used. Renyi DP is the second opinion: other mathematics, always at least as large.

Source: Koskela, Jalko & Honkela 2020 (arXiv 1906.03049) and Doroshenko et al. 2022 (arXiv 2207.04380) for the PLD;
Ganesh 2024 (arXiv 2401.10294) for mixtures; Dong, Roth & Su 2022 for Gaussian DP; Mironov 2017 for Renyi DP.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import lru_cache
from math import exp, expm1, inf, log, log1p, sqrt
from typing import Literal

import numpy as np
from dp_accounting import NeighboringRelation, get_epsilon_gaussian, get_sigma_gaussian
from dp_accounting.pld import privacy_loss_distribution
from dp_accounting.pld.privacy_loss_distribution import PrivacyLossDistribution
from dp_accounting.rdp import RdpAccountant
from dp_accounting.rdp.rdp_privacy_accountant import compute_epsilon
from scipy.special import ndtr, ndtri

from privacy.guarantee import Adjacency, Guarantee
from privacy.mixture import sampled_rdp
from privacy.plan import Charge, DpPlan, Release, binomial_weights, stages, vectors
from privacy.stage_release import additive_cost, void_reason

Accountant = Literal["pld", "rdp"]

# Stands for 4 exp(-8 pi^2) per released coordinate, the distance between the continuous Gaussian that is accounted
# and the discrete one that is drawn: 2e-34 each, so 1e-12 covers 10^21 coordinates.
DISCRETIZATION_EPSILON = 1e-12

# Whose knowledge the headline figure bounds.
HEADLINE_VIEW = "coordinator together with the T colluding hospitals"

# Widths of the PLD grid by the size of the Renyi epsilon, and for mixtures, whose losses take longer to tabulate.
# Fixed numbers: two parties that account the same releases must use the same grid.
# Entries: largest Renyi epsilon, width, width when a mixture is among the releases.
INTERVALS = ((5.0, 2e-4, 1e-3), (30.0, 1e-3, 2e-3), (200.0, 2e-3, 4e-3), (inf, 1e-2, 1e-2))

# Below order 2 the library's fractional series does not always converge.
RDP_ORDERS = tuple(order / 10 for order in range(20, 110)) + tuple(
    float(order) for order in (*range(11, 65), *range(72, 257, 8), 384, 512, 1024)
)

LEAST_NOISE = 1e-3

# Beyond it exp(epsilon) - 1 is exp(epsilon) in a double.
LARGE_LOSS = 500.0

# A plan is tabulated where its Renyi epsilon is at most so many times 1 + epsilon beyond log(1 / delta), the conversion's own cost at
# order 2, which matters for few steps at small rates. Measured at most 3.0 for rates from 0.001 on (tests/unit/privacy/test_reach.py); a factor without the
# logarithm would have to be above 6.
LOOSEST_RENYI = 4.0

CURVE_DELTAS = tuple(10.0**-exponent for exponent in range(2, 11))
TRADEOFF_FPRS = (0.001, 0.01, 0.05, 0.1, 0.25, 0.5)

ASSUMPTIONS = (
    "a patient's rows lie in one hospital only",
    "the hospital's machine runs this code and its operating system's entropy is unpredictable",
)
# What a number for noise shares needs beside that.
SHARES_ASSUMPTION = "the secure aggregation holds and no more hospitals collude with the coordinator than the study allows for"


class AccountingError(ValueError):
    """The accountant asked for has no theorem for these releases."""


def merged(charges: Iterable[Charge]) -> tuple[Charge, ...]:
    """Releases with equal parameters added up over their steps, and stages, in one canonical order.

    A plan and the ledger entries of its rounds become the same value, and so exactly the same epsilon.
    """
    charges = tuple(charges)
    return (*sorted(stages(charges), key=repr), *_merged_vectors(vectors(charges)))


def _merged_vectors(releases: Iterable[Release]) -> tuple[Release, ...]:
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


def spent(
    events: Sequence[Charge],
    delta: float,
    adjacency: Adjacency = "add/remove",
    accountant: Accountant = "pld",
    *,
    view: str = "coordinator",
) -> Guarantee:
    """Guarantee of all `events` together at `delta`.

    A noisy threshold is added to the rest, (e + e0, d + d0); with a stage that voids every number there is none.

    Args:
        events: what was or will be released; empty costs nothing.
        delta: in (0, 1).
        adjacency: "add/remove" one patient, or "replace" one by another.
        accountant: "pld", the figure, or "rdp", the second opinion for "add/remove" only.
        view: who sees these releases.

    Raises:
        AccountingError: "rdp" with "replace", for which there is no sampled theorem.
        ValueError: delta outside (0, 1).
    """
    if not 0 < delta < 1:
        raise ValueError(f"delta {delta} must be in (0, 1)")
    void = void_reason(stages(events))
    if void:
        return Guarantee.none(void, view=view)
    epsilon_stages, delta_stages = additive_cost(stages(events), adjacency)
    releases = _merged_vectors(vectors(events))
    behind = _behind(releases, delta - delta_stages, adjacency, accountant)
    assumptions = (*ASSUMPTIONS, SHARES_ASSUMPTION) if _shared(releases) else ASSUMPTIONS
    return Guarantee.dp(
        epsilon_stages + behind, delta, adjacency=adjacency, view=view, assumptions=assumptions
    )


def _behind(
    releases: tuple[Release, ...], delta: float, adjacency: Adjacency, accountant: Accountant
) -> float:
    """Epsilon of the noisy vectors at what the stages leave of delta; infinite where they leave none."""
    if delta <= 0:
        return 0.0 if delta == 0 and not releases else inf
    if not releases:
        return 0.0
    if accountant == "rdp":
        if adjacency != "add/remove":
            raise AccountingError("the Renyi accountant has no sampled theorem for 'replace'; use 'pld'")
        return _rdp_epsilon(releases, delta, RDP_ORDERS) + DISCRETIZATION_EPSILON
    return _pld_epsilon(releases, delta, adjacency) + DISCRETIZATION_EPSILON


def least_epsilon(release: Release, delta: float) -> float:
    """A lower bound on epsilon of `release` at `delta`, in closed form whatever the noise.

    One step alone, seen where at least one row of the patient is drawn: for the events {x > t} the hockey-stick divergence
    of the sampled mechanism is at least q' times that of the Gaussian, at 1 + (exp(epsilon) - 1) / q', where q' is the chance that a row
    is drawn (Li, Qardaji & Su 2012, read as an equality for the removed patient).
    """
    drawn = -expm1(release.sensitivity_rows * log1p(-release.sample_rate)) if release.sample_rate < 1 else 1.0
    if delta >= drawn:
        return 0.0
    # Less noise than that costs more still, and leaves the range of the closed form.
    alone = gdp_epsilon(1 / max(release.accounted_multiplier(), LEAST_NOISE), delta / drawn)
    return alone + log(drawn) if alone > LARGE_LOSS else log1p(drawn * expm1(alone))


def is_within_reach(plan: DpPlan) -> bool:
    """Whether the plan may keep its promise, before a distribution is tabulated, whose size grows without bound as noise shrinks.

    False for plans that cost more than they promise: by the lower bound of one step, or by a Renyi epsilon so far beyond
    that the conversion does not explain it, by measurement and not by a theorem: for rates of at least 0.001. Below that, a plan
    with next to no noise (multiplier 0.4 at rate 0.0001, say) may keep its promise and still be called out of reach. The noisy vectors are held to what the plan's stage leaves of its promise.
    """
    own_epsilon, own_delta = additive_cost(stages(plan.charges), "add/remove")
    epsilon, delta = plan.epsilon - own_epsilon, plan.delta - own_delta
    if epsilon <= 0 or delta <= 0:
        return False
    if max(least_epsilon(release, delta) for release in plan.releases) > epsilon:
        return False
    most = LOOSEST_RENYI * (1 + epsilon) - log(delta)
    return _rdp_epsilon(_merged_vectors(plan.releases), delta, RDP_ORDERS) <= most


def renyi_epsilon(events: Sequence[Charge], delta: float, order: int) -> float:
    """Epsilon at `delta` by Renyi DP at one order fixed beforehand, what a privacy filter may compare.

    Feldman & Zrnic 2021, theorem 4.3: with the order fixed, stopping before the sum of Renyi losses passes the
    budget is valid although each later plan was chosen after seeing earlier results. A threshold's Renyi loss is at
    most its epsilon, outside an event of probability delta. A stage that voids every number costs nothing here: what
    it does is no matter of budget, and `spent` says so.
    """
    if not events:
        return 0.0
    epsilon_stages, delta_stages = additive_cost(stages(events), "add/remove")
    releases, rest = _merged_vectors(vectors(events)), delta - delta_stages
    if rest <= 0:
        return inf
    if not releases:
        return epsilon_stages
    return epsilon_stages + _rdp_epsilon(releases, rest, (float(order),)) + DISCRETIZATION_EPSILON


def curve(events: Sequence[Charge], deltas: Sequence[float] = CURVE_DELTAS) -> list[tuple[float, float]]:
    """Pairs (delta, epsilon) for add/remove, in the order of `deltas`; without those at which there is no bound."""
    points = [(delta, spent(events, delta).epsilon) for delta in deltas]
    return [(delta, epsilon) for delta, epsilon in points if epsilon is not None and epsilon < inf]


def tradeoff(events: Sequence[Charge], fprs: Sequence[float] = TRADEOFF_FPRS) -> list[tuple[float, float]]:
    """Pairs (false positive rate, smallest possible false negative rate) of any membership test.

    Every (epsilon, delta(epsilon)) of the PLD gives two lines under which no test can lie (Wasserman & Zhou 2010;
    Kairouz, Oh & Viswanath 2015); the largest over a grid of epsilons is a valid lower bound. Exact for Gaussian DP.
    A threshold moves each line by its own epsilon and delta.
    """
    epsilon_stages, delta_stages = additive_cost(stages(events), "add/remove")
    releases = _merged_vectors(vectors(events))
    # A drawn level costs epsilon and no delta: any cost of a stage leaves the exact curves.
    staged = epsilon_stages > 0 or delta_stages > 0
    if not releases and not staged:
        return [(fpr, 1 - fpr) for fpr in fprs]
    mu = gaussian_mu(releases)
    if mu is not None and not staged:
        return [(fpr, float(ndtr(ndtri(1 - fpr) - mu))) for fpr in fprs]
    epsilons, deltas = np.zeros(1), np.zeros(1)
    if releases:
        account = _pld(releases, "add/remove", _interval(releases))
        top = max(1.0, float(account.get_epsilon_for_delta(1e-9)))
        epsilons = np.linspace(0.0, top, 400)
        deltas = np.asarray(account.get_delta_for_epsilon(epsilons), dtype=np.float64)
    epsilons, deltas = epsilons + epsilon_stages, np.minimum(1.0, deltas + delta_stages)
    points = []
    for fpr in fprs:
        steep = 1 - deltas - np.exp(epsilons) * fpr
        flat = np.exp(-epsilons) * (1 - deltas - fpr)
        points.append((fpr, float(max(0.0, steep.max(), flat.max()))))
    return points


def price(plan: DpPlan, threshold: int | None = None) -> dict[str, object]:
    """Everything a study costs one patient, before anything runs, as a JSON object.

    In local mode each update is private by itself, so the hospitals' masks are not counted: one curious hospital
    sees at most the sum and a broken secure aggregation shows the single update, all at the same number.

    Args:
        plan: the study's.
        threshold: t, the fewest hospitals in an opened sum; needed where noise comes in shares.
    """
    charges, delta = plan.charges, plan.delta
    view = HEADLINE_VIEW if _shared(plan.releases) else "coordinator"
    guarantee = spent(charges, delta, view=view)
    if guarantee.kind == "none":
        # No number of any kind: neither a curve nor a noise multiplier says anything about a patient here.
        return {"guarantee": guarantee.to_json(), "stage_cost": _stage_json(plan)}
    return {
        "guarantee": guarantee.to_json(),
        "replace": spent(charges, delta, "replace", view=view).to_json(),
        "rdp": spent(charges, delta, accountant="rdp", view=view).to_json(),
        "views": {name: seen.to_json() for name, seen in _views(plan, guarantee, threshold).items()},
        "curve": [{"delta": d, "epsilon": e} for d, e in curve(charges)],
        "tradeoff": [{"fpr": fpr, "fnr": fnr} for fpr, fnr in tradeoff(charges)],
        "stage_cost": _stage_json(plan),
        "releases": [
            {
                **release.to_json(),
                "scale_units": release.scale_units(),
                "sensitivity_units": release.sensitivity(),
            }
            for release in plan.releases
        ],
        "target": {"epsilon": plan.epsilon, "delta": plan.delta},
    }


def _stage_json(plan: DpPlan) -> dict[str, object] | None:
    return None if plan.stage is None else plan.stage.to_json()


def _shared(releases: Sequence[Release]) -> bool:
    """Whether the noise comes in shares, so that the number holds for sums alone."""
    return any(release.shares > 1 for release in releases)


def seen_with_shares(charges: Sequence[Charge], delta: float, shares: int, view: str) -> Guarantee:
    """Guarantee of full-batch releases towards whoever sees sums that hold `shares` unknown noise shares.

    One share alone leaves mu sqrt(h) of the mu that the plan was calibrated for. A stage's own release carries its whole
    noise at the hospital, and costs the same in every view.

    Raises:
        AccountingError: a release is sampled, for which shares do not exist.
    """
    releases = vectors(charges)
    if any(release.kind != "gaussian" for release in releases):
        raise AccountingError("noise shares exist for full-batch releases only")
    void = void_reason(stages(charges))
    if void:
        return Guarantee.none(void, view=view)
    own_epsilon, own_delta = additive_cost(stages(charges), "add/remove")
    if delta <= own_delta:
        return Guarantee.dp(inf, delta, view=view, assumptions=ASSUMPTIONS)
    mu = sqrt(sum(r.steps * (r.sensitivity_rows / r.multiplier_seen(shares)) ** 2 for r in releases))
    epsilon = gdp_epsilon(mu, delta - own_delta) + DISCRETIZATION_EPSILON
    return Guarantee.dp(own_epsilon + epsilon, delta, view=view, assumptions=ASSUMPTIONS)


def _views(plan: DpPlan, guarantee: Guarantee, threshold: int | None) -> dict[str, Guarantee]:
    """The same releases through other eyes."""
    colluding, curious, broken = (
        HEADLINE_VIEW,
        "one curious hospital",
        "coordinator, secure aggregation broken",
    )
    if not _shared(plan.releases):
        return {
            "coordinator": replace(guarantee, view="coordinator"),
            "coordinator_with_colluding": replace(guarantee, view=colluding),
            "curious_hospital": replace(guarantee, view=curious),
            "secure_aggregation_broken": replace(guarantee, view=broken),
        }
    if threshold is None:
        raise AccountingError("a plan with noise shares is priced with the study's threshold")

    def seen(shares: int, view: str) -> Guarantee:
        return seen_with_shares(plan.charges, plan.delta, shares, view)

    return {
        "coordinator": seen(threshold, "coordinator"),
        "coordinator_with_colluding": replace(guarantee, view=colluding),
        "curious_hospital": seen(threshold - 1, curious),
        "secure_aggregation_broken": seen(1, broken),
    }


def _interval(releases: tuple[Release, ...]) -> float:
    """Grid width for a composition, a function of the releases alone."""
    size = _rdp_epsilon(releases, 1e-5, RDP_ORDERS)
    plain, mixture = next((plain, mixture) for limit, plain, mixture in INTERVALS if size <= limit)
    return mixture if any(_is_mixture(release) for release in releases) else plain


def _is_mixture(release: Release) -> bool:
    return release.kind == "poisson_gaussian" and release.sensitivity_rows > 1


@lru_cache(maxsize=64)
def _pld(releases: tuple[Release, ...], adjacency: Adjacency, interval: float) -> PrivacyLossDistribution:
    """Composed distribution; shared by all callers, who only read it.

    dp-accounting's PLDAccountant builds the very same one (tests compare them), but tabulates a step anew for every
    composition that holds it, and a ledger asks for one composition a round.
    """
    total = privacy_loss_distribution.identity(interval)
    for release in releases:
        if release.kind == "gaussian":
            # Equal Gaussians compose to one with less noise, exactly.
            deviation = release.accounted_multiplier() / release.sensitivity_rows / sqrt(release.steps)
            more = privacy_loss_distribution.from_gaussian_mechanism(
                standard_deviation=deviation,
                value_discretization_interval=interval,
                neighboring_relation=_relation(adjacency),
            )
        else:
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


def _relation(adjacency: Adjacency) -> NeighboringRelation:
    if adjacency == "add/remove":
        return NeighboringRelation.ADD_OR_REMOVE_ONE
    return NeighboringRelation.REPLACE_ONE


@lru_cache(maxsize=256)
def _pld_epsilon(releases: tuple[Release, ...], delta: float, adjacency: Adjacency) -> float:
    """Epsilon by the exact closed form, by the PLD, or for replaced mixtures by group privacy.

    Kept: a hospital asks for its plan's epsilon before every round, and reading it off a distribution takes a tenth of a second.
    """
    mu = gaussian_mu(releases)
    if mu is not None:
        return gdp_epsilon(mu if adjacency == "add/remove" else 2 * mu, delta)
    interval = _interval(releases)
    if adjacency == "replace" and any(_is_mixture(release) for release in releases):
        return _replace_by_group(_pld(releases, "add/remove", interval), delta)
    return float(_pld(releases, adjacency, interval).get_epsilon_for_delta(delta))


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
def _rdp_epsilon(releases: tuple[Release, ...], delta: float, orders: tuple[float, ...]) -> float:
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
