"""What a list of releases costs one patient, and the same question asked in other ways.

The noisy vectors are composed by `privacy.guarantees.composition`; a stage's own cost is added to them here.
"""

from collections.abc import Sequence
from math import inf
from typing import Literal

import numpy as np
from scipy.special import ndtr, ndtri

from privacy.guarantees.composition import (
    RDP_ORDERS,
    gaussian_mu,
    grid_width,
    loss_distribution,
    merged_vectors,
    pld_epsilon,
    rdp_epsilon,
)
from privacy.guarantees.guarantee import Adjacency, Guarantee
from privacy.guarantees.plan import Charge, Release, stages, vectors
from privacy.guarantees.stage_release import additive_cost, void_reason

Accountant = Literal["pld", "rdp"]

# Stands for 4 exp(-8 pi^2) per released coordinate, the distance between the continuous Gaussian that is accounted
# and the discrete one that is drawn: 2e-34 each, so 1e-12 covers 10^21 coordinates.
DISCRETIZATION_EPSILON = 1e-12

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
    releases = merged_vectors(vectors(events))
    behind = _behind(releases, delta - delta_stages, adjacency, accountant)
    assumptions = (*ASSUMPTIONS, SHARES_ASSUMPTION) if in_shares(releases) else ASSUMPTIONS
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
        return rdp_epsilon(releases, delta, RDP_ORDERS) + DISCRETIZATION_EPSILON
    return pld_epsilon(releases, delta, adjacency) + DISCRETIZATION_EPSILON


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
    releases, rest = merged_vectors(vectors(events)), delta - delta_stages
    if rest <= 0:
        return inf
    if not releases:
        return epsilon_stages
    return epsilon_stages + rdp_epsilon(releases, rest, (float(order),)) + DISCRETIZATION_EPSILON


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
    releases = merged_vectors(vectors(events))
    # A drawn level costs epsilon and no delta: any cost of a stage leaves the exact curves.
    staged = epsilon_stages > 0 or delta_stages > 0
    if not releases and not staged:
        return [(fpr, 1 - fpr) for fpr in fprs]
    mu = gaussian_mu(releases)
    if mu is not None and not staged:
        return [(fpr, float(ndtr(ndtri(1 - fpr) - mu))) for fpr in fprs]
    epsilons, deltas = np.zeros(1), np.zeros(1)
    if releases:
        account = loss_distribution(releases, "add/remove", grid_width(releases))
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


def in_shares(releases: Sequence[Release]) -> bool:
    """Whether the noise comes in shares, so that the number holds for sums alone."""
    return any(release.shares > 1 for release in releases)
