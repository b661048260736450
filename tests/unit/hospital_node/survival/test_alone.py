"""A patient's factors are the same to the last digit whoever else is in the batch, or truncation would move others' integers."""

from collections.abc import Sequence

import numpy as np
import pytest

from hospital_node.statistics.newton import hessian_rows, score_rows
from hospital_node.survival.follow_up import FollowUp
from hospital_node.survival.model import ClosedForm, build_model
from privacy.noise.clipped_blocks import Block, Outer, clipped_sum
from privacy.studies.layout import Layout


@pytest.mark.parametrize("hidden", [(), (16,)])
@pytest.mark.parametrize("columns", [5, 16, 19, 33])
def test_nobody_moves_the_digits_of_anybody_else(columns: int, hidden: tuple[int, ...]) -> None:
    rng = np.random.default_rng(columns)
    model = build_model(Layout(6, tuple(f"x{j}" for j in range(columns)), hidden))
    theta = rng.normal(size=model.layout.dim)
    everyone = FollowUp(
        rng.uniform(-1, 1, (300, columns)), rng.uniform(0, 1, (300, 6)), np.eye(6)[rng.integers(0, 6, 300)]
    )
    assert isinstance(model, ClosedForm)

    def blocks_of(group: FollowUp) -> Sequence[Block]:
        return model.gradient_blocks(theta, model.prepared(group, 40))

    whole = [_numbers(block) for block in blocks_of(everyone)]
    for left_out in range(1, 9):
        rest = everyone.among(np.arange(left_out, 300))
        for before, after in zip(whole, blocks_of(rest), strict=True):
            for a, b in zip(before, _numbers(after), strict=True):
                assert np.array_equal(a[left_out:], b)
        # So what the ones left out add is what they add alone.
        alone = everyone.among(np.arange(left_out))
        sums = [clipped_sum(blocks_of(g), 1.0) for g in (everyone, rest, alone)]
        assert np.array_equal(sums[0] - sums[1], sums[2])


def _numbers(block: Block) -> tuple[np.ndarray, ...]:
    if not isinstance(block, Outer):
        return (block,)
    return (block.weight, block.right.units, *(() if block.left is None else (block.left,)))


@pytest.mark.parametrize("hidden", [(), (16,)])
def test_whole_rows_of_statistics_stand_alone_too(hidden: tuple[int, ...]) -> None:
    """Recipes other than DP-SGD write each patient's row out; a network's product and a Hessian's are rounded row by row."""
    rng = np.random.default_rng(3)
    model = build_model(Layout(19, tuple(f"x{j}" for j in range(19)), hidden))
    theta = rng.normal(size=model.layout.dim)
    everyone = FollowUp(
        rng.uniform(-1, 1, (120, 19)), rng.uniform(0, 1, (120, 19)), np.eye(19)[rng.integers(0, 19, 120)]
    )
    # Low enough that nobody spends the hazard of 1 at which a patient is stopped.
    alpha = model.layout.alpha(theta) - 5.0

    def rows(group: FollowUp) -> tuple[np.ndarray, ...]:
        risk = model.layout.risk(theta, group.x)
        return (
            model.clipped_gradients(theta, group, 1.0),
            hessian_rows(alpha, 1.0, group),
            score_rows(alpha, risk, 1.0, group),
        )

    whole = rows(everyone)
    for left_out in range(1, 9):
        for before, after in zip(whole, rows(everyone.among(np.arange(left_out, 120))), strict=True):
            assert np.array_equal(before[left_out:], after)


@pytest.mark.threat("FL-20", control="C-CLIPUPDATE")
@pytest.mark.parametrize("hidden", [(), (3,)])
@pytest.mark.parametrize("value", [3.0, -1e6, 1e300, np.nan, np.inf])
def test_a_column_that_no_dictionary_permits_makes_a_patient_count_as_nothing(
    hidden: tuple[int, ...], value: float
) -> None:
    rng = np.random.default_rng(4)
    model = build_model(Layout(4, ("a", "b"), hidden))
    assert isinstance(model, ClosedForm)
    theta = rng.normal(size=model.layout.dim)
    everyone = FollowUp(
        rng.uniform(-1, 1, (9, 2)), rng.uniform(0, 1, (9, 4)), np.eye(4)[rng.integers(0, 4, 9)]
    )
    everyone.x[4, 1] = value
    whole, rest = (
        clipped_sum(model.gradient_blocks(theta, model.prepared(group, 40)), 1.0)
        for group in (everyone, everyone.among(np.arange(9) != 4))
    )
    assert np.array_equal(whole, rest)
