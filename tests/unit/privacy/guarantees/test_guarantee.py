"""Guarantees: a number with its meaning, or openly none."""

from math import inf, nan

import pytest

from privacy.guarantees.guarantee import Guarantee, GuaranteeMismatch, NoGuarantee, rounded_up


def test_none_cannot_be_read_as_a_number() -> None:
    with pytest.raises(NoGuarantee, match="Mondrian"):
        Guarantee.none("Mondrian depends on the data").number()


def test_infinite_epsilon_cannot_be_read_as_a_number() -> None:
    with pytest.raises(NoGuarantee):
        Guarantee.dp(inf, 1e-5).number()


def test_none_absorbs_whatever_stands_on_either_side() -> None:
    void, fine = Guarantee.none("a fitted scaler"), Guarantee.dp(1.0, 1e-5)
    assert void.then(fine) == void
    assert fine.then(void) == void


def test_chaining_adds_up_and_keeps_every_assumption_once() -> None:
    first = Guarantee.dp(1.0, 1e-6, assumptions=("a", "b"))
    second = Guarantee.dp(0.5, 2e-6, assumptions=("b", "c"))
    both = first.then(second)
    assert (both.epsilon, both.delta) == (1.5, 3e-6)
    assert both.assumptions == ("a", "b", "c")


def test_guarantees_about_other_neighbors_do_not_chain() -> None:
    with pytest.raises(GuaranteeMismatch):
        Guarantee.dp(1.0, 1e-6).then(Guarantee.dp(1.0, 1e-6, adjacency="replace"))


@pytest.mark.parametrize("guarantee", [Guarantee.dp(1.5, 1e-5, assumptions=("x",)), Guarantee.none("why")])
def test_json_round_trip(guarantee: Guarantee) -> None:
    assert Guarantee.from_json(guarantee.to_json()) == guarantee


def test_json_of_none_holds_no_number() -> None:
    for guarantee in (Guarantee.none("why"), Guarantee.dp(inf, 1e-5)):
        body = guarantee.to_json()
        assert body["kind"] == "none"
        assert not {"epsilon", "delta"} & set(body)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"kind": "none", "view": "v", "reason": "r", "epsilon": 0.0},
        {"kind": "none", "view": "v", "reason": ""},
        {**Guarantee.dp(1.0, 1e-5).to_json(), "kind": "approximately"},
        {**Guarantee.dp(1.0, 1e-5).to_json(), "extra": 1},
        {**Guarantee.dp(1.0, 1e-5).to_json(), "assumptions": "x"},
        {**Guarantee.dp(1.0, 1e-5).to_json(), "epsilon": -1.0},
        {**Guarantee.dp(1.0, 1e-5).to_json(), "epsilon": nan},
    ],
)
def test_half_a_guarantee_is_refused(body: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        Guarantee.from_json(body)


@pytest.mark.parametrize(
    ("value", "digits", "printed"),
    [
        (1.00049, 4, "1.001"),
        (1.0, 4, "1"),
        (1e-5, 3, "1e-05"),
        (0.99991, 4, "1"),
        (12.341, 3, "12.4"),
        (0.0, 3, "0"),
    ],
)
def test_a_bound_is_never_printed_smaller_than_it_is(value: float, digits: int, printed: str) -> None:
    assert rounded_up(value, digits) == printed
