"""Whether a plan can keep its promise at all: bounds in closed form, before any distribution is tabulated."""

from math import expm1, log, log1p

from privacy.guarantees.composition import RDP_ORDERS, gdp_epsilon, merged_vectors, rdp_epsilon
from privacy.guarantees.plan import DpPlan, Release, stages, vectors
from privacy.guarantees.stage_release import additive_cost

LEAST_NOISE = 1e-3

# Beyond it exp(epsilon) - 1 is exp(epsilon) in a double.
LARGE_LOSS = 500.0

# A plan is tabulated where its Renyi epsilon is at most so many times 1 + epsilon beyond log(1 / delta), the conversion's own cost at
# order 2, which matters for few steps at small rates. Measured at most 3.0 for rates from 0.001 on (tests/unit/privacy/guarantees/test_reach.py); a factor without the
# logarithm would have to be above 6.
LOOSEST_RENYI = 4.0


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
    if max(least_epsilon(release, delta) for release in vectors(plan.charges)) > epsilon:
        return False
    most = LOOSEST_RENYI * (1 + epsilon) - log(delta)
    return rdp_epsilon(merged_vectors(vectors(plan.charges)), delta, RDP_ORDERS) <= most
