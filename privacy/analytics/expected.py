"""What the noise of each answer will be, before anything runs: from the plan alone."""

from __future__ import annotations

from typing import Any

from privacy.analytics.asks import Ask
from privacy.studies.agreement import Agreement

UNITS = {
    "predictor_moments": "of the sums that place the risk bins",
}
CELL = "patients in each cell"


def expected_noise(agreement: Agreement) -> list[dict[str, Any]]:
    """For each ask the standard deviation of its noise if every hospital answers and takes out what is not needed; empty where nothing noises them."""
    found: list[dict[str, Any]] = []
    for ask in agreement.study.asks if agreement.noising is not None else ():
        assert agreement.noising is not None
        sd = agreement.noising.release(ask.name).expected_sd(agreement.n)
        told = {"name": ask.name, "kind": ask.kind, "title": ask.title, "unit": UNITS.get(ask.kind, CELL)}
        if ask.kind == "mean" and ask.field is not None:
            low, high = ask.field.bounds
            patients = agreement.study.n_public_total
            # privacy.analytics.tables.means at ratio 0; a group of a fraction f of the patients has 1 / f times it.
            sd *= len(ask.groups) * (high - low) / 2 / patients
            told["unit"] = _of_a_mean(ask)
        found.append({**told, "noise_sd": sd})
    return found


def _of_a_mean(ask: Ask) -> str:
    """The conditions of a mean's number, which depends on sizes that nobody may know beforehand."""
    parts = len(ask.groups)
    where = (
        "of the declared patients"
        if not ask.groups.where
        else "of the declared patients if all met the condition"
    )
    each = f"each of {parts} groups were 1/{parts}" if parts > 1 else "its group were all"
    return (
        f"of the field's unit if {each} {where} with a mean in the middle of the bounds; "
        "half as many patients have twice the noise, a mean at a bound 1.7 times"
    )
