"""What the noise of each answer will be, before anything runs: from the plan alone."""

from __future__ import annotations

from typing import Any

from privacy.agreement import Agreement

UNITS = {
    "mean": "of the field's unit if every declared patient were in one group with a mean in the middle of the bounds",
    "predictor_moments": "of the sums that place the risk bins",
}
CELL = "patients in each cell"


def expected_noise(agreement: Agreement) -> list[dict[str, Any]]:
    """For each ask the standard deviation of its noise if every hospital answers and takes out what is not needed; empty in mode none."""
    found: list[dict[str, Any]] = []
    for ask in agreement.study.asks if agreement.plan is not None else ():
        assert agreement.plan is not None
        sd = agreement.plan.release(ask.name).expected_sd(agreement.n)
        told = {"name": ask.name, "kind": ask.kind, "title": ask.title, "unit": UNITS.get(ask.kind, CELL)}
        if ask.kind == "mean" and ask.field is not None:
            low, high = ask.field.bounds
            patients = agreement.study.n_public_total
            # privacy.analytics.tables.means at ratio 0; a group of a fraction f of the patients has 1 / f times it.
            sd *= (high - low) / 2 / patients
        found.append({**told, "noise_sd": sd})
    return found
