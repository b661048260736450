"""What is held to a hospital's budget: the exact composition, or the Renyi filter where studies may depend on each other's results."""

from collections.abc import Sequence
from functools import lru_cache
from math import log, log1p

from privacy.guarantees.accounting import renyi_epsilon, spent
from privacy.guarantees.composition import gdp_mu
from privacy.guarantees.guarantee import rounded_up
from privacy.guarantees.plan import Charge, vectors
from privacy.ledgers.policy_file import Policy
from privacy.ledgers.policy_refusal import EXIT_BUDGET, PolicyRefusal


def filter_order(policy: Policy) -> int:
    """The Renyi order of this policy's filter: the best for one Gaussian that would use the whole budget.

    It depends on nothing but the policy, as the filter's theorem demands.
    """
    mu, delta = gdp_mu(policy.epsilon_total, policy.delta_total), policy.delta_total

    def epsilon(order: int) -> float:
        return order * mu**2 / 2 + log1p(-1 / order) - log(delta * order) / (order - 1)

    return min(range(2, 257), key=epsilon)


def decisive_epsilon(policy: Policy, earlier: Sequence[Charge], planned: Sequence[Charge]) -> float:
    """What is held to the budget: the exact composition of a plan on untouched data, else the filter for adaptively chosen studies.

    Behind a stage without guarantee the noise alone is held to it; its permission is a rule.
    """
    if earlier:
        return renyi_epsilon((*earlier, *planned), policy.delta_total, filter_order(policy))
    return noise_epsilon(planned, policy.delta_total)


def noise_epsilon(charges: Sequence[Charge], delta: float) -> float:
    """Epsilon of the charges, of their noise alone where a stage has no guarantee: never less than was paid."""
    return _noise_epsilon(tuple(charges), delta)


@lru_cache(maxsize=64)
def _noise_epsilon(charges: tuple[Charge, ...], delta: float) -> float:
    """Kept: a hospital asks for its plan's before every round."""
    found = spent(charges, delta)
    return found.epsilon if found.epsilon is not None else spent(vectors(charges), delta).number()


def over_budget(
    policy: Policy, asked: float, before: Sequence[Charge], filtered: Sequence[Charge]
) -> PolicyRefusal:
    """The refusal; where the filter decided about `filtered`, its figure stands beside that of the exact composition, and why they differ."""
    past, figure = noise_epsilon(before, policy.delta_total), f"epsilon {rounded_up(asked, 4)} in all"
    if filtered:
        exact = noise_epsilon((*before, *filtered), policy.delta_total)
        figure += (
            " by the filter, which holds also where this study was chosen by the results of earlier ones "
            f"(the exact composition, in which spent is counted, says {rounded_up(exact, 4)}, and holds only where it was not)"
        )
    return PolicyRefusal(
        "epsilon_total",
        figure,
        f"{policy.epsilon_total:g} at delta {policy.delta_total:g}",
        f"epsilon {rounded_up(past, 4)}",
        EXIT_BUDGET,
    )
