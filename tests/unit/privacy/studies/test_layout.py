import numpy as np
import pytest

from privacy.studies.layout import Layout, LayoutError

LINEAR = Layout(3, ("age", "arm=1"))
NETWORK = Layout(3, ("age", "arm=1"), (4, 5))


def test_names_and_length_agree() -> None:
    assert LINEAR.names == ("log_hazard[0]", "log_hazard[1]", "log_hazard[2]", "age", "arm=1")
    assert LINEAR.dim == 5
    assert NETWORK.dim == 3 + (2 * 4 + 4) + (4 * 5 + 5) + 5 == len(NETWORK.names)
    assert len(set(NETWORK.names)) == NETWORK.dim


def test_linear_risk_is_x_beta() -> None:
    theta = np.array([0.0, 0.0, 0.0, 2.0, -1.0])
    np.testing.assert_allclose(LINEAR.risk(theta, np.array([[0.5, 1.0], [1.0, 0.0]])), [0.0, 2.0])


def test_layers_tile_the_vector_without_gap() -> None:
    theta = np.arange(NETWORK.dim, dtype=np.float64)
    seen = list(NETWORK.alpha(theta))
    for layer in NETWORK.layers:
        seen += list(layer.weight(theta).ravel())
        seen += list(layer.offset(theta)) if layer.bias else []
    assert seen == list(theta)


def test_the_start_has_the_baseline_and_no_effects() -> None:
    start = NETWORK.start(np.array([-1.0, -2.0, -3.0]))
    np.testing.assert_array_equal(NETWORK.alpha(start), [-1, -2, -3])
    np.testing.assert_array_equal(NETWORK.risk(start, np.array([[0.3, 1.0], [-1.0, 0.0]])), [0, 0])


def test_the_start_of_a_network_is_public_and_tells_its_units_apart() -> None:
    start = NETWORK.start(np.zeros(3))
    first = NETWORK.layers[0].weight(start)
    assert len({tuple(unit) for unit in first}) == len(first)
    # A change of these numbers would make old and new installations disagree about the model.
    np.testing.assert_allclose(first[0], [-0.12057554977945983, 0.23439879715442657], rtol=1e-12)


@pytest.mark.parametrize("theta", [np.zeros(4), np.zeros((1, 5)), np.array([0, 0, np.nan, 0, 0])])
def test_a_vector_of_another_model_is_refused(theta: np.ndarray) -> None:
    with pytest.raises(LayoutError, match="refuse the order"):
        LINEAR.checked(theta)


def test_a_network_has_no_hazard_ratios() -> None:
    with pytest.raises(LayoutError, match="piecewise_exponential"):
        NETWORK.beta(np.zeros(NETWORK.dim))
