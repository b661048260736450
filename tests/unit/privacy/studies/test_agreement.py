"""The agreement follows from the study file; a coordinator that changes any part of it is refused."""

from collections.abc import Callable
from typing import Any

import pytest

from privacy.guarantees.accounting import spent
from privacy.link.canonical import canonical, parse_canonical
from privacy.studies.agreement import Agreement, AgreementError, build, fixed_point, from_bytes
from privacy.studies.study import NotBuilt
from privacy.studies.training import resolve_training
from secagg.params import SecAggParams
from tests.study_files import study

Change = Callable[[dict[str, Any]], None]


@pytest.fixture(scope="module")
def agreement() -> Agreement:
    return build(study(("[model]", '[model]\nrecipe = "dp_sgd"')))


def test_a_hospital_derives_the_same(agreement: Agreement) -> None:
    received = from_bytes(agreement.to_bytes())
    assert received == agreement
    assert received.hash == agreement.hash
    assert len(agreement.hash) == 64


def test_numbers(agreement: Agreement) -> None:
    assert agreement.plan is not None
    assert [release.name for release in agreement.plan.releases] == ["life_table", "train"]
    assert spent(agreement.plan.releases, 1e-5).number() <= 3
    assert agreement.parameters == 10 + 6
    # The life table's 20 counts are longer than the model; one more coordinate holds the weight.
    assert agreement.dim == 21
    assert agreement.times_days[0] == 0
    assert agreement.times_days[-1] == 1000
    SecAggParams(agreement.n, agreement.colluding, agreement.threshold, agreement.modulus_bits, agreement.dim)


def test_without_noise_there_is_no_plan() -> None:
    made = build(study(('mode = "local"', 'mode = "none"')))
    assert made.plan is None
    assert from_bytes(made.to_bytes()) == made


@pytest.mark.threat("FL-27", control="C-BUDGETALL")
def test_rows_dropped_below_k_are_paid() -> None:
    dropped = build(study(('"generalize"', '"drop"')))
    assert dropped.plan is not None
    assert {release.sensitivity_rows for release in dropped.plan.releases} == {3}
    cheaper = parse_canonical(dropped.to_bytes())
    for release in cheaper["plan"]["releases"]:
        release["sensitivity_rows"] = 1
    with pytest.raises(AgreementError, match=r"plan\.releases"):
        from_bytes(canonical(cheaper))


def _set(*path: str | int, to: object) -> Change:
    def change(body: dict[str, Any]) -> None:
        inner: Any = body
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = to

    return change


CHANGES: list[tuple[str, Change]] = [
    ("secagg.threshold", _set("secagg", "threshold", to=2)),
    ("secagg.colluding", _set("secagg", "colluding", to=0)),
    ("secagg.n", _set("secagg", "n", to=4)),
    ("secagg.dim", _set("secagg", "dim", to=1)),
    ("secagg.fraction_bits", _set("secagg", "fraction_bits", to=60)),
    ("training.clip_l2", _set("training", "clip_l2", to=10)),
    ("training.local_steps", _set("training", "local_steps", to=2000)),
    ("training.sample_rate", _set("training", "sample_rate", to=1)),
    ("columns", _set("columns", to=["age"])),
    ("times_days", _set("times_days", 1, to=1)),
    ("version", _set("version", to=2)),
    ("extra", _set("extra", to=1)),
    ("plan", _set("plan", "epsilon", to=30)),
    ("plan", _set("plan", "delta", to=1e-3)),
    ("plan", _set("plan", to=None)),
    ("plan: its noise costs epsilon", _set("plan", "releases", 1, "noise_multiplier", to=1.0)),
    ("plan: its noise costs epsilon", _set("plan", "releases", 0, "noise_multiplier", to=0.5)),
    ("plan.releases", _set("plan", "releases", 1, "steps", to=20)),
    ("plan.releases", _set("plan", "releases", 1, "sample_rate", to=0.01)),
    ("plan.releases", _set("plan", "releases", 1, "clip_l2", to=2)),
    ("study", _set("study", "privacy", "epsilon", to=30)),
    ("bytes", _set("plan", to=[])),
    ("bytes", _set("study", to=[])),
]


@pytest.mark.threat("FL-16", control="C-POLICY")
@pytest.mark.parametrize(("part", "change"), CHANGES, ids=[f"{i}-{c[0][:20]}" for i, c in enumerate(CHANGES)])
def test_a_loosened_agreement_is_refused(agreement: Agreement, part: str, change: Change) -> None:
    body = parse_canonical(agreement.to_bytes())
    change(body)
    # A changed study changes the plan's target as well, which is how it shows.
    expected = "plan" if part == "study" else part
    with pytest.raises(
        AgreementError, match=rf"^study agreement, {expected.replace('.', chr(92) + '.')}"
    ) as caught:
        from_bytes(canonical(body))
    assert caught.value.exit_code == 1


def test_more_noise_than_needed_is_no_loosening(agreement: Agreement) -> None:
    body = parse_canonical(agreement.to_bytes())
    body["plan"]["releases"][1]["noise_multiplier"] = 5
    assert from_bytes(canonical(body)).plan is not None


def test_other_bytes_of_the_same_value_are_refused(agreement: Agreement) -> None:
    with pytest.raises(AgreementError, match="canonical"):
        from_bytes(agreement.to_bytes() + b"\n")


def test_a_study_that_is_not_built_here_is_refused(agreement: Agreement) -> None:
    body = parse_canonical(agreement.to_bytes())
    body["study"]["model"]["family"] = "weibull_aft"
    with pytest.raises(NotBuilt):
        from_bytes(canonical(body))


@pytest.mark.parametrize(
    "sizes", ["{a = 1, b = 1, c = 1}", "{a = 4294967296, b = 4294967296, c = 4294967296}"]
)
def test_fixed_point_never_wraps(sizes: str) -> None:
    read = study(("{a = 400, b = 500, c = 600}", sizes))
    bits, clip = fixed_point(read, resolve_training(read))
    assert 3 * clip * 2**bits < 2**63
    assert clip >= 4 * max(read.n_public.values())
    assert bits >= 20
