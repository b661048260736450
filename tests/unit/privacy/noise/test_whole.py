"""Products of whole units: nothing is rounded on the way, whatever order a library adds in."""

import numpy as np
import pytest

from privacy.noise.whole import LARGEST_VALUE, Whole, factor_bits, unusual


@pytest.mark.parametrize("width", [1, 3, 20, 71, 500])
@pytest.mark.parametrize("size", [1e-9, 1.0, 20.0, 1e6])
def test_every_partial_sum_is_an_integer_that_a_double_holds(width: int, size: float) -> None:
    rng = np.random.default_rng(width)
    # As large as a row may be, signs as the weights', so that partial sums are as large as they get.
    weights = size * rng.uniform(0.5, 1, (width, 4)) * rng.choice([-1.0, 1.0], (width, 4))
    values = np.vstack([LARGEST_VALUE * np.sign(weights[:, 0]), rng.uniform(-1, 1, (40, width))])
    whole = Whole.of(values, factor_bits(40, width))
    product = whole.times(weights)
    for order in (np.arange(width)[::-1], rng.permutation(width)):
        mixed = Whole(np.ascontiguousarray(whole.units[:, order]), whole.bits, whole.squares)
        assert np.array_equal(mixed.times(weights[order]), product)
    # Weights lose what is behind their last unit.
    lost = width * LARGEST_VALUE * max(2.0**-40, size * 2.0**-19)
    np.testing.assert_allclose(product, whole.units / 2.0**whole.bits @ weights, rtol=1e-12, atol=lost)


def test_ordinary_products_do_depend_on_the_order() -> None:
    """What the whole units are for."""
    rng = np.random.default_rng(1)
    x, weights, order = rng.uniform(-1, 1, (300, 19)), rng.normal(size=19), rng.permutation(19)
    assert not np.array_equal(x @ weights, np.ascontiguousarray(x[:, order]) @ weights[order])
    whole = Whole.of(x, 17)
    mixed = Whole(np.ascontiguousarray(whole.units[:, order]), 17, whole.squares)
    assert np.array_equal(whole.times(weights), mixed.times(weights[order]))


def test_squares_and_the_constant_column_are_exact() -> None:
    whole = Whole.of(np.array([[0.5, -0.25], [1.0, 0.0]]), 8, constant=True)
    assert whole.units.tolist() == [[128.0, -64.0, 256.0], [256.0, 0.0, 256.0]]
    assert whole.squares.tolist() == [1.3125, 2.0]
    assert whole.take(np.array([1])).squares.tolist() == [2.0]


def test_who_is_unusual() -> None:
    assert unusual(np.zeros((0, 3))) is None
    assert unusual(np.array([[1.0, -LARGEST_VALUE]])) is None
    found = unusual(np.array([[0.0, 0.0], [np.nan, 0.0], [0.0, -np.inf], [2.1, 0.0]]))
    assert found is not None
    assert found.tolist() == [False, True, True, True]
