"""A whole study on synthetic patients: what it costs, what its assessment says, and what SDV does to both."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from coordinator.results import _released_guarantee
from deploy.dpo_cli import read_bundle
from deploy.simulate import simulate
from privacy.assessment.claims import Claim, Status, claims_of, evaluate
from privacy.assessment.evidence import load
from privacy.assessment.recompute import recompute
from privacy.assessment.verify import verify_bundle
from privacy.synthesis.gate import gate_note
from privacy.synthesis.request import GATED
from tests.study_files import study, table, write_csv

PRIVATE = ('kind = "generalize"', 'kind = "synthetic_dp"\nepsilon = 1.0\ndelta = 1e-6')
SDV = ('"generalize"', '"synthetic_sdv"')
SMALL = ("[model]", "[analysis]\nkaplan_meier = true\n\n[model]\nrounds = 2")
NONE = ('mode = "local"\nepsilon = 3\ndelta = 1e-5', 'mode = "none"')


def simulated(folder: Path, *changes: tuple[str, str], rows: int = 120) -> dict[str, Any]:
    """The result of a study over three tables and one held-out table."""
    for seed, hospital in enumerate("abc"):
        write_csv(table(rows, seed), folder, f"{hospital}.csv")
    write_csv(table(60, 9), folder, "a.test.csv")
    done = simulate(study(SMALL, *changes), folder, folder / "out", lambda _: None)
    assert done.failed is None
    return dict(done.result)


def named(claims: tuple[Claim, ...]) -> dict[str, Claim]:
    return {claim.id: claim for claim in claims}


@pytest.mark.threat("FL-26", control="C-DPSYNTH")
def test_a_study_on_private_synthetic_patients(tmp_path: Path) -> None:
    result = simulated(tmp_path, PRIVATE)
    guarantee = result["guarantee"]
    assert isinstance(guarantee, dict)
    assert (guarantee["kind"], guarantee["delta"]) == ("dp", 1e-6)
    assert 0.999 < guarantee["epsilon"] <= 1.0
    assert {h["epsilon"] for h in result["per_hospital"].values()} == {guarantee["epsilon"]}
    assert all(row["se"] is None and "synthetic" in row["reason"] for row in result["coefficients"])
    analysis = result["analysis"]
    assert "do not know what the synthesizer did" in analysis["note"]
    assert analysis["results"][0]["release"] == "stage_synthetic_dp"
    # Each hospital alone trains on synthetic patients of its own, not on its rows.
    assert set(result["baselines"]["local_only"]["per_hospital"]) == set("abc")
    assert verify_bundle(read_bundle(tmp_path / "out")).ok
    evidence = load(read_bundle(tmp_path / "out"))
    facts = recompute(evidence)
    claims = named(claims_of(evidence, facts))
    for name in ("E-GUARANTEE", "E-AGREED", "E-PLAN", "E-PRINTED", "E-ANALYSIS"):
        assert claims[name].status is Status.VERIFIED, claims[name].text
    assert "drawn once from noised sums" in claims["E-STAGE-COST"].text
    assert "stops nothing" in claims["E-SYNTHETIC-GATE"].text
    assert claims["E-SYNTHETIC-QUALITY"].status is Status.NOT_TESTED
    assert "E-SYNTHETIC-LICENSE" not in claims

    def with_gate(note: str | None) -> tuple[Claim, tuple[str, ...]]:
        first, *others = facts.ledgers
        changed = tuple(
            replace(e, record=replace(e.record, note=note or ""))
            if e.record.note == gate_note("measure")
            else e
            for e in first.entries
        )
        ledgers = (replace(first, entries=changed), *others)
        assert evidence.agreement is not None
        claim = named(claims_of(evidence, replace(facts, ledgers=ledgers)))["E-SYNTHETIC-GATE"]
        return claim, _released_guarantee(evidence.agreement, ledgers).assumptions

    claim, assumptions = with_gate(gate_note("stop"))
    assert "says that its table passed" in claim.text
    assert GATED in assumptions
    claim, assumptions = with_gate(None)
    assert claim.status is Status.GAP
    assert GATED not in assumptions
    # What the gate measured is nowhere in the bundle.
    for path in (tmp_path / "out").rglob("*"):
        if path.is_file():
            assert b"Kaplan-Meier curves" not in path.read_bytes()


@pytest.mark.slow
@pytest.mark.skipif(find_spec("sdv") is None, reason="the extra 'sdv' is not installed")
@pytest.mark.parametrize("mode", [(), (NONE,)], ids=["local", "none"])
def test_a_study_on_sdvs_patients_has_no_number_and_names_the_license(
    tmp_path: Path, mode: tuple[tuple[str, str], ...]
) -> None:
    small = (
        () if mode else (("rounds = 2", 'rounds = 2\nlocal_steps = 2\nsample_rate = 1.0\nrecipe = "dp_sgd"'),)
    )
    result = simulated(tmp_path, SDV, *mode, *small, rows=200)
    assert result["guarantee"]["kind"] == "none"
    assert "epsilon" not in json.dumps(result["guarantee"])
    claims = named(evaluate(load(read_bundle(tmp_path / "out"))))
    assert claims["E-GUARANTEE"].status is Status.UNDEFINED
    assert "BUSL-1.1" in claims["E-SYNTHETIC-LICENSE"].text
    assert "stops nothing" in claims["E-SYNTHETIC-GATE"].text
    assert verify_bundle(read_bundle(tmp_path / "out")).ok
