"""The rounds in which a hospital states that it told its spare noise: one spelling, under the seal of its ledger."""

from __future__ import annotations

from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from privacy.ledgers.ledger import LedgerBroken
from privacy.ledgers.ledger_export import SEAL_LABEL, export, read_sealed
from privacy.ledgers.told_noise import is_stated, merged, runs_from_json, runs_to_json
from secagg.identity import public_key, sign
from secagg.secret import SecretBytes

SEED = SecretBytes(bytes(range(32)))
STUDY = "5" * 64
RUNS = st.lists(
    st.tuples(st.integers(1, 30), st.integers(0, 9)).map(lambda run: (run[0], run[0] + run[1])), max_size=8
)


@given(RUNS)
def test_merged_runs_hold_the_same_rounds_in_one_spelling(runs: list[tuple[int, int]]) -> None:
    rounds = {number for first, last in runs for number in range(first, last + 1)}
    one = merged(runs)
    assert {number for number in range(50) if is_stated(one, number)} == rounds
    assert merged((number, number) for number in rounds) == one
    assert runs_from_json(runs_to_json(one)) == one


def sealed(told: tuple[tuple[int, int], ...] | None) -> bytes:
    return export((), "2031-01-01T00:00:00Z", partial(sign, SEED, SEAL_LABEL), study_hash=STUDY, told=told)


@pytest.mark.parametrize("told", [None, (), ((1, 3), (5, 5))])
def test_a_seal_states_what_was_told_or_nothing_of_it(told: tuple[tuple[int, int], ...] | None) -> None:
    assert read_sealed(sealed(told), public_key(SEED)).told == told


def test_the_longest_statement_of_a_study_can_be_read() -> None:
    """Every second one of the most rounds that a study may have."""
    told = tuple((number, number) for number in range(1, 10_001, 2))
    assert read_sealed(sealed(told), public_key(SEED)).told == told


@pytest.mark.parametrize(
    "told",
    [((3, 4), (1, 1)), ((1, 2), (3, 4)), ((2, 1),), ((0, 1),), ((1, 2, 3),), ((True, True),), (("1", "2"),)],
)
def test_another_spelling_is_refused_although_signed(told: tuple[tuple[int, int], ...]) -> None:
    with pytest.raises(LedgerBroken, match="rounds of spare noise"):
        read_sealed(sealed(told), public_key(SEED))
