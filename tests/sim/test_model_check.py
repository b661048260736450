"""Every order of upload, agree and open, against every strategy of the coordinator: one sum at most, over enough hospitals.

That the search sees anything is shown by what it finds once a rule is taken away or a threshold is one too small.
"""

from __future__ import annotations

import pytest

from tests.sim.consortia import Case, admissible, cases
from tests.sim.end_states import search_end_states
from tests.sim.local_machines import WEAKENED, NotInSet, OpensForAThreshold, RealMachine
from tests.sim.model_check import search

# 2t = n + T, or t = T + 1: the proof needs both bounds.
MISSED_BY_ONE = [(3, 0, 1), (3, 1, 2), (3, 2, 3), (4, 1, 2), (4, 2, 3), (4, 3, 4)]


def case_id(case: Case) -> str:
    return f"n{case.n}-T{case.colluding}-t{case.threshold}-{case.corrupted}corrupted-{case.absent}absent"


def test_every_rule_that_the_proof_needs_is_taken_away_once() -> None:
    """ "v not in U" alone opens nothing, since only members' signatures count and all of them do: the variant lacks these rules.

    That all members must sign is needed for the noise from five hospitals on, below.
    """
    assert {machine.name for machine in WEAKENED} == {
        "no signatures",
        "sets not shrinking",
        "agree after open",
        "opening an earlier signed set",
        "agree state lost",
        "v not in U",
        "no check of |U|",
        "noise told at agreeing",
    }


def test_every_admissible_parameter_is_a_case() -> None:
    assert admissible(3) == [(0, 2), (0, 3), (1, 3)]
    assert admissible(4) == [(0, 3), (0, 4), (1, 3), (1, 4), (2, 4)]
    assert {(c.colluding, c.threshold) for c in cases(5)} == set(admissible(5))


@pytest.mark.threat("FL-07", control="C-CONSIST")
@pytest.mark.threat("FL-08", control="C-ONESHARE")
@pytest.mark.parametrize("case", [*cases(3), *cases(4)], ids=case_id)
def test_no_order_of_messages_gives_two_sums_or_a_small_one(case: Case) -> None:
    result = search(case, RealMachine())
    assert result.violation is None
    assert result.sums == 1, "the search never reached the end of a round"


@pytest.mark.parametrize("machine", WEAKENED, ids=lambda machine: machine.name)
def test_every_weakened_variant_is_caught_at_three_hospitals(machine: RealMachine) -> None:
    assert search(Case(3, 0, 2, corrupted=0), machine).violation is not None


@pytest.mark.slow
@pytest.mark.parametrize("machine", WEAKENED, ids=lambda machine: machine.name)
def test_every_weakened_variant_is_caught_at_four_hospitals_with_one_corrupted(machine: RealMachine) -> None:
    assert search(Case(4, 1, 3, corrupted=1), machine).violation is not None


def test_signing_a_set_from_outside_is_stopped_by_a_second_rule() -> None:
    assert search(Case(3, 0, 2, corrupted=0), NotInSet()).violation is None


@pytest.mark.threat("FL-03", control="C-COHORT")
@pytest.mark.parametrize(("n", "colluding", "threshold"), MISSED_BY_ONE)
def test_threshold_missed_by_one_is_caught(n: int, colluding: int, threshold: int) -> None:
    case = Case(n, colluding, threshold, corrupted=colluding)
    assert search(case, RealMachine()).violation is not None
    assert search_end_states(case).violation is not None


@pytest.mark.slow
def test_opening_for_a_threshold_of_signatures_is_caught_by_the_noise_alone() -> None:
    """The counterexample of SPEC.md, section 9: one sum, over enough hospitals, with less noise than is accounted."""
    found = search_end_states(Case(5, 0, 3, corrupted=0), OpensForAThreshold()).violation
    assert found is not None
    assert "told its noise for one set" in found.what


@pytest.mark.slow
@pytest.mark.parametrize(("n", "colluding", "threshold"), [(4, 0, 2), (5, 0, 2), (5, 1, 3), (5, 2, 3)])
def test_larger_threshold_missed_by_one_is_caught(n: int, colluding: int, threshold: int) -> None:
    assert search_end_states(Case(n, colluding, threshold, corrupted=colluding)).violation is not None


@pytest.mark.slow
@pytest.mark.parametrize("case", [*cases(3), *cases(4), *cases(5)], ids=case_id)
def test_no_end_state_gives_two_sums_or_a_small_one(case: Case) -> None:
    """The reduction to end states agrees with the full search where both can be had, and goes on to five hospitals."""
    result = search_end_states(case)
    assert (result.violation, result.sums) == (None, 1)
