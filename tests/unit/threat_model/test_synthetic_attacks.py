"""Each attack finds out a synthesizer that copies, and finds nothing against the one with a budget."""

import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from hospital_node.entropy import DiscreteGaussian
from privacy.guarantees.composition import gaussian_mu
from privacy.studies.grid import FloatArray
from privacy.synthesis.generate import generate
from privacy.synthesis.model import fit
from privacy.synthesis.releases import synthesis_plan
from privacy.synthesis.statistics import measure
from tests.unit.privacy.synthesis.patients import DICTIONARY, INTERVALS, Drawn, drawn
from threat_model.synthetic_attacks import (
    Attack,
    Secret,
    all_attacks,
    auc_ceiling,
    calibrated,
    closest_record,
    distance_to_nearest,
    nearest,
)

COLUMNS = DICTIONARY.columns()
SECRETS = (
    Secret("smoker", (COLUMNS.index("smoker"),)),
    Secret("arm", (COLUMNS.index("arm=1"), COLUMNS.index("arm=2"))),
)
PLAN = synthesis_plan(1.0, 1e-5, DICTIONARY)
EVERYBODY = drawn(1400, seed=5, effect=1.0)
MEMBERS, CONTROLS = EVERYBODY.x[:700], EVERYBODY.x[700:]
# Attribute inference gains this much of what is left to gain before anybody worries.
POLICY = 0.15


def copied(share: float, jitter: float = 0.02) -> FloatArray:
    """A broken synthesizer: so many of its patients are real ones, slightly moved."""
    rng = np.random.default_rng(0)
    other = drawn(700, seed=99).x
    real = MEMBERS + jitter * rng.normal(size=MEMBERS.shape) * (np.abs(MEMBERS) % 1 > 0)
    return np.where((rng.random(700) < share)[:, None], real, other)


def private(n: int = 700) -> FloatArray:
    members = Drawn(MEMBERS, EVERYBODY.cell[:700])
    sums = measure(members.x, members.cell, INTERVALS, DICTIONARY, PLAN, DiscreteGaussian(), lambda _: None)
    return generate(fit(sums, DICTIONARY, PLAN), DICTIONARY, n, np.random.default_rng()).x


def found(synthetic: FloatArray) -> dict[str, Attack]:
    return {
        attack.name: attack
        for attack in all_attacks(MEMBERS, CONTROLS, synthetic, SECRETS, np.random.default_rng(6))
    }


def is_chance(attack: Attack) -> bool:
    """Within five standard errors."""
    return abs(attack.value - attack.chance) < 5 / 1.96 * (attack.high - attack.low) / 2


def ceiling() -> float:
    mu = gaussian_mu(PLAN.releases)
    assert mu is not None
    return auc_ceiling(mu)


@pytest.mark.threat("FL-26", control="C-DPSYNTH")
def test_a_synthesizer_that_copies_is_found_out_by_every_attack() -> None:
    attacks = found(copied(1.0))
    assert len(attacks) == 4 + len(SECRETS)
    for name, attack in attacks.items():
        assert attack.verdict(POLICY if attack.chance == 0 else ceiling(), 1.0) == "FAIL", name
    assert attacks["closest record"].value > 0.85
    assert attacks["calibrated density ratio"].value > 0.7
    assert attacks["singling out"].value > 0.3
    assert attacks["linkage"].value > 0.25


@pytest.mark.threat("FL-26", control="C-DPSYNTH")
def test_the_dp_synthesizer_is_near_chance() -> None:
    for name, attack in found(private()).items():
        assert is_chance(attack), name
        limit, leaking = (POLICY, 0.5) if attack.chance == 0 else (ceiling(), 0.7)
        assert attack.verdict(limit, leaking) == "PASS", (name, attack)


@pytest.mark.threat("FL-26", control="C-HOLDOUT")
def test_a_third_of_copies_among_others_is_enough_to_be_found_out() -> None:
    attacks = found(copied(0.35))
    assert attacks["closest record"].low > 0.55
    assert attacks["closest record"].verdict(ceiling(), 0.7) == "FAIL"


@pytest.mark.threat("FL-26", control="C-HOLDOUT")
def test_patients_of_the_same_kind_are_chance_and_a_few_have_no_power() -> None:
    for attack in found(drawn(700, seed=77, effect=1.0).x).values():
        assert is_chance(attack), attack.name
    few = closest_record(MEMBERS[:12], CONTROLS[:12], copied(0.0))
    assert few.verdict(ceiling(), 0.6) == "NO_POWER"


def test_calibration_beats_the_bare_distance_where_regions_differ_in_density() -> None:
    rng = np.random.default_rng(1)
    dense = rng.random(1600) < 0.5
    x = rng.normal(size=(1600, 2)) * np.where(dense, 0.01, 1.0)[:, None] + 5 * dense[:, None]
    members, controls, reference = x[:400], x[400:800], x[800:]
    synthetic = members + rng.normal(size=members.shape) * np.where(dense[:400], 0.002, 0.2)[:, None]
    bare = closest_record(members, controls, synthetic)
    ratio = calibrated(members, controls, synthetic, reference)
    assert ratio.value > 0.55
    assert ratio.low > 0.5
    assert bare.value < 0.95


def test_the_area_is_that_of_mann_and_whitney() -> None:
    rng = np.random.default_rng(2)
    synthetic = rng.normal(size=(50, 3))
    members, controls = rng.normal(size=(40, 3)), rng.normal(size=(60, 3)) + 0.3
    attack = closest_record(members, controls, synthetic)
    near, far = (-distance_to_nearest(rows, synthetic, 1) for rows in (members, controls))
    assert attack.value == pytest.approx(mannwhitneyu(near, far).statistic / (40 * 60))
    assert attack.low < attack.value < attack.high


def test_nearest_neighbors_agree_with_all_pairs() -> None:
    rng = np.random.default_rng(3)
    table, targets = rng.normal(size=(70, 4)), rng.normal(size=(600, 4))
    pairs = np.sqrt(((targets[:, None] - table) ** 2).sum(axis=2))
    assert distance_to_nearest(targets, table, 3) == pytest.approx(np.sort(pairs, axis=1)[:, 2])
    assert (nearest(targets, table) == pairs.argmin(axis=1)).all()


def test_too_few_patients_are_refused() -> None:
    with pytest.raises(ValueError, match="too few"):
        all_attacks(MEMBERS[:5], CONTROLS[:3], MEMBERS, SECRETS, np.random.default_rng(6))
