"""A patient's factors are the same to the last digit whoever else is in the batch, or truncation would move others' integers."""

import numpy as np
import pytest

from hospital_node.survival.follow_up import FollowUp
from hospital_node.survival.model import build_model, gradient_blocks
from privacy.clipped_blocks import Outer, clipped_sum
from privacy.layout import Layout


@pytest.mark.parametrize("hidden", [(), (16,)])
@pytest.mark.parametrize("columns", [5, 16, 19, 33])
def test_nobody_moves_the_digits_of_anybody_else(columns: int, hidden: tuple[int, ...]) -> None:
    rng = np.random.default_rng(columns)
    model = build_model(Layout(6, tuple(f"x{j}" for j in range(columns)), hidden))
    theta = rng.normal(size=model.layout.dim)
    everyone = FollowUp(
        rng.uniform(-1, 1, (300, columns)), rng.uniform(0, 1, (300, 6)), np.eye(6)[rng.integers(0, 6, 300)]
    )
    whole = [_numbers(block) for block in gradient_blocks(model, theta, everyone, 1.0)]
    for left_out in range(1, 9):
        rest = everyone.among(np.arange(left_out, 300))
        for before, after in zip(whole, gradient_blocks(model, theta, rest, 1.0), strict=True):
            for a, b in zip(before, _numbers(after), strict=True):
                assert np.array_equal(a[left_out:], b)
        # So what the ones left out add is what they add alone.
        alone = everyone.among(np.arange(left_out))
        sums = [clipped_sum(gradient_blocks(model, theta, g, 1.0), 1.0) for g in (everyone, rest, alone)]
        assert np.array_equal(sums[0] - sums[1], sums[2])


def _numbers(block: object) -> tuple[np.ndarray, ...]:
    return (block.left, block.right) if isinstance(block, Outer) else (block,)  # type: ignore[return-value]
