"""Patients who do not exist: within the dictionary, with the margins and the direction that the sums say."""

import numpy as np
import pytest

from hospital_node.entropy import DiscreteGaussian
from privacy.synthesis.attributes import attributes, cell_of, columns_of
from privacy.synthesis.generate import SyntheticPatients, generate
from privacy.synthesis.model import SynthesisModel, fit
from privacy.synthesis.releases import synthesis_plan
from privacy.synthesis.statistics import Statistics, measure
from tests.unit.privacy.synthesis.patients import DICTIONARY, INTERVALS, Drawn, drawn
from tests.unit.privacy.synthesis.test_statistics import Silent

PLAN = synthesis_plan(1.0, 1e-5, DICTIONARY)
FOUND = attributes(DICTIONARY)


def model_of(patients: Drawn, noise: DiscreteGaussian | Silent) -> SynthesisModel:
    sums = measure(patients.x, patients.cell, INTERVALS, DICTIONARY, PLAN, noise, lambda _: None)
    return fit(sums, DICTIONARY, PLAN)


def made(model: SynthesisModel, n: int) -> SyntheticPatients:
    return generate(model, DICTIONARY, n, np.random.default_rng(3))


@pytest.mark.parametrize("patients", [0, 3, 400])
def test_values_stay_within_the_dictionary_however_few_patients_there_were(patients: int) -> None:
    found = made(model_of(drawn(patients), DiscreteGaussian()), 250)
    for attribute, value in zip(FOUND, found.values, strict=True):
        assert value.shape == (250,)
        if attribute.kind == "number":
            assert np.abs(value).max() <= 1
        else:
            assert set(value) <= set(range(attribute.cells))
    assert found.x.shape == (250, DICTIONARY.n_columns)
    assert np.abs(found.x).max() <= 1
    assert set(found.event) <= {0, 1}
    assert found.exit_interval.min() >= 0
    assert found.exit_interval.max() < INTERVALS
    time = found.time(np.arange(INTERVALS + 1.0))
    assert time.min() > 0
    assert time.max() <= INTERVALS


def test_margins_are_reached() -> None:
    model = model_of(drawn(4000, effect=1.0), Silent())
    found = made(model, 5000)
    for attribute, margin in zip(FOUND, model.margins, strict=True):
        reached = np.bincount(cell_of(attribute, found.x), minlength=attribute.cells) / 5000
        assert reached == pytest.approx(margin, abs=0.03), attribute.field.name


def test_the_outcome_has_its_shares_and_nobody_who_stayed_leaves_early() -> None:
    patients = drawn(4000)
    model = model_of(patients, Silent())
    found = made(model, 20_000)
    assert (found.event == 1).mean() == pytest.approx((patients.cell < INTERVALS).mean(), abs=0.02)
    at_end = (found.within == 1.0) & (found.event == 0)
    assert at_end.mean() == pytest.approx((patients.cell == 2 * INTERVALS).mean(), abs=0.02)


@pytest.mark.parametrize("effect", [-1.0, 1.0])
def test_the_direction_of_the_outcome_survives_the_noise(effect: float) -> None:
    found = made(model_of(drawn(3000, effect=effect), DiscreteGaussian()), 6000)
    marker = found.x[:, DICTIONARY.columns().index("marker")]
    early = (found.event == 1) & (found.exit_interval < 3)
    late = found.exit_interval > 7
    assert effect * (marker[early].mean() - marker[late].mean()) > 0.15


def test_the_model_depends_on_the_noised_sums_alone() -> None:
    patients = drawn(500)
    sums = measure(patients.x, patients.cell, INTERVALS, DICTIONARY, PLAN, DiscreteGaussian(), lambda _: None)
    again = Statistics(sums.outcome, sums.score, sums.moments, sums.margins)
    first, second = made(fit(sums, DICTIONARY, PLAN), 50), made(fit(again, DICTIONARY, PLAN), 50)
    assert (first.x == second.x).all()


def test_columns_and_cells_of_an_attribute_undo_each_other() -> None:
    for attribute in FOUND:
        if attribute.kind != "number":
            value = np.arange(attribute.cells, dtype=np.float64)
            x = np.zeros((attribute.cells, DICTIONARY.n_columns))
            x[:, attribute.span] = columns_of(attribute, value)
            assert cell_of(attribute, x).tolist() == value.tolist()
