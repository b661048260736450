"""The drawn level of generalization: its cost has sensitivity 1, and its distribution keeps the promise."""

import secrets
from collections import Counter
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from privacy.guarantees.accounting import spent
from privacy.guarantees.guarantee import Guarantee
from privacy.guarantees.plan import vectors
from privacy.guarantees.pricing import price
from privacy.guarantees.stage_effect import end_to_end
from privacy.guarantees.stage_release import LevelRelease, additive_cost, stage_from_json
from privacy.link.canonical import canonical
from privacy.noise import level_choice
from privacy.noise.level_choice import choose, costs, levels_of, loss, probabilities, small_classes
from privacy.noise.noisy_threshold import Cell
from privacy.patients.dictionary import Dictionary
from privacy.studies.agreement import build, from_bytes
from privacy.studies.study import StudyError
from tests.study_files import study

LEVELS = ("cuts = [40, 60]", "cuts = [[40, 50, 60, 70], [40, 60], [60]]")
ARM = (
    'role = ["feature", "sensitive"]\npurpose = "treatment"\ncategories = ["0", "1", "2"]',
    'role = "quasi_identifier"\npurpose = "treatment"\ncategories = ["0", "1", "2"]\ncuts = [[["0"], ["1"], ["2"]], [["0"], ["1", "2"]]]',
)
LEVEL = ('kind = "generalize"\nk = 3', 'kind = "level"\nk = 3\nepsilon = 0.5')
SMALL = (
    'family = "piecewise_exponential"',
    'family = "piecewise_exponential"\nrounds = 2\nlocal_steps = 2\nsample_rate = 1.0',
)


def dictionary() -> Dictionary:
    return study(LEVELS, ARM, LEVEL).dictionary


FIELDS = dictionary().quasi_identifiers
TABLES = st.dictionaries(st.tuples(st.integers(0, 5), st.integers(0, 3)), st.integers(1, 8), max_size=20)
CELL = st.tuples(st.integers(0, 5), st.integers(0, 3))


def one_more(counts: dict[Cell, int], cell: Cell) -> dict[Cell, int]:
    return counts | {cell: counts.get(cell, 0) + 1}


@pytest.mark.threat("FL-27", control="C-BUDGETALL")
@settings(max_examples=150, deadline=None)
@given(TABLES, CELL, st.integers(1, 6))
def test_one_patient_changes_the_cost_of_every_level_by_at_most_one(
    counts: dict[Cell, int], cell: Cell, k: int
) -> None:
    before, after = (
        small_classes(counts, FIELDS, k),
        small_classes(one_more(counts, cell), FIELDS, k),
    )
    assert len(before) == len(levels_of(FIELDS)) == 6
    assert max(abs(a - b) for a, b in zip(before, after, strict=True)) <= 1


def test_the_bound_is_attained_both_ways() -> None:
    assert small_classes({}, FIELDS, 3) == (0,) * 6
    assert small_classes({(0, 0): 1}, FIELDS, 3) == (1,) * 6
    assert small_classes({(0, 0): 2}, FIELDS, 3) == (1,) * 6
    assert small_classes({(0, 0): 3}, FIELDS, 3) == (0,) * 6


@pytest.mark.threat("FL-27", control="C-BUDGETALL")
@settings(max_examples=60, deadline=None)
@given(TABLES, CELL, st.sampled_from([0.1, 0.5, 2.0]))
def test_no_level_becomes_more_likely_than_epsilon_allows(
    counts: dict[Cell, int], cell: Cell, epsilon: float
) -> None:
    tables = (counts, one_more(counts, cell))
    here, there = (probabilities(costs(small_classes(t, FIELDS, 3), FIELDS, 3, 40), epsilon) for t in tables)
    most = Decimal(epsilon).exp() * (1 + Decimal(10) ** -50)
    assert all(a <= most * b and b <= most * a for a, b in zip(here, there, strict=True))


def test_a_draw_for_twice_the_epsilon_breaks_the_promise() -> None:
    """Without the 2 in the exponent the same check fails: two levels whose costs move apart."""
    apart = [[Fraction(0), Fraction(1)], [Fraction(1), Fraction(0)]]
    honest, careless = ([probabilities(cost, epsilon) for cost in apart] for epsilon in (1.0, 2.0))
    limit = Decimal(1).exp() * (1 + Decimal(10) ** -50)
    assert honest[0][0] <= limit * honest[1][0]
    assert careless[0][0] > limit * careless[1][0]


def p_value(epsilon_drawn: float) -> float:
    cost = [Fraction(0), Fraction(1, 3), Fraction(2), Fraction(5), Fraction(9, 2)]
    drawn = Counter(choose(cost, epsilon_drawn, secrets.randbelow) for _ in range(6000))
    expected = [6000 * float(p) for p in probabilities(cost, 1.0)]
    return float(chisquare([drawn[i] for i in range(5)], expected, sum_check=False).pvalue)


def test_draws_have_the_distribution_and_another_epsilon_is_noticed() -> None:
    assert max(p_value(1.0), p_value(1.0)) > 1e-3
    assert p_value(2 / 3) < 1e-6
    assert p_value(3 / 2) < 1e-6


def test_loss_is_public_and_grows_with_the_level() -> None:
    lost = [loss(FIELDS, level) for level in levels_of(FIELDS)]
    assert lost[0] == 0
    assert lost == [Fraction(*x) for x in ((0, 1), (1, 4), (1, 4), (1, 2), (3, 8), (5, 8))]
    # Nobody small anywhere: the finest is cheapest; everybody small at the finest alone: it is dear.
    assert min(costs((0,) * 6, FIELDS, 3, 40)) == costs((0,) * 6, FIELDS, 3, 40)[0]
    assert costs((30, 0, 0, 0, 0, 0), FIELDS, 3, 40)[0] == 30


@pytest.mark.threat("FL-27", control="C-BUDGETALL")
def test_a_study_with_a_drawn_level_prints_the_sum_at_the_same_delta() -> None:
    made, plain = build(study(SMALL, LEVELS, LEVEL)), build(study(SMALL))
    assert made.plan is not None
    assert plain.plan is not None
    priced: dict[str, Any] = price(made.plan)
    guarantee = Guarantee.from_json(priced["guarantee"])
    behind = spent(vectors(made.plan.charges), 1e-5)
    assert guarantee.number() == pytest.approx(end_to_end(made.study.effect, lambda _: behind).number())
    assert guarantee.delta == 1e-5
    assert made.study.sensitivity_rows == 1
    assert made.plan.releases == plain.plan.releases
    assert from_bytes(made.to_bytes()).plan == made.plan
    stage = made.plan.stage
    assert isinstance(stage, LevelRelease)
    assert stage_from_json(stage.to_json()) == stage
    assert additive_cost((stage,), "replace") == (1.0, 0.0)
    for change in ({"k": 0}, {"epsilon": 51}, {"cells": "ab"}, {"delta": 1e-6}, {"k": True}):
        with pytest.raises(ValueError):
            stage_from_json(stage.to_json() | change)


def test_the_levels_are_part_of_what_was_drawn() -> None:
    one = study(LEVELS, LEVEL).stage_release
    other = study((LEVELS[0], "cuts = [[40, 50, 60, 70], [40, 70], [70]]"), LEVEL).stage_release
    assert one != other
    again = study(LEVELS, LEVEL)
    assert canonical(again.to_json()) == canonical(study(LEVELS, LEVEL).to_json())
    assert again.fields[3].levels == ((40, 50, 60, 70), (40, 60), (60,))


REFUSED = [
    ((LEVEL,), "give a quasi-identifier several"),
    ((LEVELS,), "has several levels of cuts: they are for"),
    ((LEVELS, (LEVEL[0], LEVEL[1] + "\ndelta = 1e-6")), "leave out delta"),
    ((LEVELS, (LEVEL[0], 'kind = "level"\nk = 3')), "needs epsilon"),
    ((LEVELS, (LEVEL[0], 'kind = "level"\nepsilon = 1')), "needs k"),
    (((LEVELS[0], "cuts = [[40, 60], [50]]"), LEVEL), "made of the one before"),
    (((LEVELS[0], "cuts = [[40, 60], [60, 40]]"), LEVEL), "cuts must ascend"),
    ((LEVELS, LEVEL, ('mode = "local"\nepsilon = 3\ndelta = 1e-5', 'mode = "none"')), "is paid for"),
]


@pytest.mark.parametrize(("changes", "sentence"), REFUSED, ids=[r[1] for r in REFUSED])
def test_a_level_stage_that_is_not_complete(changes: tuple[tuple[str, str], ...], sentence: str) -> None:
    with pytest.raises(StudyError, match=sentence):
        study(*changes)


def test_too_many_combinations_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("privacy.studies.study_stage.MOST_LEVELS", 2)
    assert level_choice.level_count(FIELDS) == 6
    with pytest.raises(StudyError, match="at most 2"):
        study(LEVELS, LEVEL)
