"""A paid stage in front of noise shares: one ledger line, added in every view, in both modes that have a number."""

from typing import Any

import pytest

from privacy.guarantees.accounting import spent
from privacy.guarantees.guarantee import Guarantee
from privacy.guarantees.pricing import price, seen_with_shares
from privacy.guarantees.stage_release import VoidRelease
from privacy.studies.agreement import build, from_bytes
from tests.study_files import study

NEWTON = (
    'family = "piecewise_exponential"',
    'family = "piecewise_exponential"\nrecipe = "newton"\nrounds = 2',
)
DISTRIBUTED = ('mode = "local"', 'mode = "distributed"')
THRESHOLD = ('kind = "generalize"', 'kind = "threshold"\nepsilon = 0.5\ndelta = 1e-6')
MONDRIAN = ('kind = "generalize"', 'kind = "mondrian"')


@pytest.mark.threat("FL-27", control="C-BUDGETALL")
def test_shares_behind_a_threshold_cost_the_sum_in_every_view() -> None:
    made, plain = build(study(NEWTON, DISTRIBUTED, THRESHOLD)), build(study(NEWTON, DISTRIBUTED))
    assert made.plan is not None
    assert plain.plan is not None
    assert made.plan.releases == plain.plan.releases
    assert from_bytes(made.to_bytes()).plan == made.plan
    body: dict[str, Any] = price(made.plan, made.threshold)
    without: dict[str, Any] = price(plain.plan, plain.threshold)
    for name, view in body["views"].items():
        behind = Guarantee.from_json(without["views"][name])
        found = Guarantee.from_json(view)
        assert found.number() == pytest.approx(behind.number() + 0.5, abs=1e-9)
        assert found.delta == pytest.approx(1.1e-5)
    alone = seen_with_shares(made.plan.charges, 1e-6, 1, "broken")
    assert alone.epsilon == float("inf")


def test_shares_behind_mondrian_have_no_number() -> None:
    made = build(study(NEWTON, DISTRIBUTED, MONDRIAN))
    assert made.plan is not None
    assert isinstance(made.plan.stage, VoidRelease)
    assert spent(made.plan.charges, 1e-5).kind == "none"
    assert seen_with_shares(made.plan.charges, 1e-5, 1, "broken").kind == "none"
    assert "epsilon" not in str(price(made.plan, made.threshold))
