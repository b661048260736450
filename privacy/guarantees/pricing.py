"""What a whole study costs one patient, before anything runs, and the same releases through other eyes."""

from collections.abc import Sequence
from dataclasses import replace
from math import inf, sqrt

from privacy.guarantees.accounting import (
    ASSUMPTIONS,
    DISCRETIZATION_EPSILON,
    AccountingError,
    curve,
    in_shares,
    spent,
    tradeoff,
)
from privacy.guarantees.composition import gdp_epsilon
from privacy.guarantees.guarantee import Guarantee
from privacy.guarantees.plan import Charge, DpPlan, stages, vectors
from privacy.guarantees.stage_release import additive_cost, void_reason

# Whose knowledge the headline figure bounds.
HEADLINE_VIEW = "coordinator together with the T colluding hospitals"


def price(plan: DpPlan, threshold: int | None = None) -> dict[str, object]:
    """Everything a study costs one patient, before anything runs, as a JSON object.

    In local mode each update is private by itself, so the hospitals' masks are not counted: one curious hospital
    sees at most the sum and a broken secure aggregation shows the single update, all at the same number.

    Args:
        plan: the study's.
        threshold: t, the fewest hospitals in an opened sum; needed where noise comes in shares.
    """
    charges, delta = plan.charges, plan.delta
    view = HEADLINE_VIEW if in_shares(plan.releases) else "coordinator"
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
            for release in vectors(charges)
        ],
        "target": {"epsilon": plan.epsilon, "delta": plan.delta},
    }


def _stage_json(plan: DpPlan) -> dict[str, object] | None:
    return None if plan.stage is None else plan.stage.to_json()


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
    if not in_shares(plan.releases):
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
