"""How much noise is in an opened sum once its spare layers are out, drawn and taken out by the functions that studies use."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import chi2

from hospital_node.entropy import DiscreteGaussian
from hospital_node.statistics.sums import SpareNoise, summed
from privacy.guarantees.release import Release
from privacy.noise.noise_layers import spare_part
from privacy.studies.exchange import REMOVED, without_spare_noise
from secagg.fixed_point import from_ring, to_ring
from tests.consortium import small_agreement
from tests.unit.coordinator.test_statistics_study import DISTRIBUTED

COORDINATES = 20_000
# Central noise is 1.5 clips. n = 5, T = 1, t = 4, and n = 6 with the same.
FIVE = Release("newton", "gaussian", 1.5, shares=3, spare=1, fewest=4)
SIX = Release("newton", "gaussian", 1.5, shares=3, spare=2, fewest=4)
LEVEL = 1e-6


def opened(
    release: Release, members: int, silent: int = 0, *, too_many: int = 0
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Noise of a sum over so many hospitals, and of all but one of them without its part: (COORDINATES,) each, in clips."""
    vectors, told = [], []
    for _ in range(members):
        held = SpareNoise()
        vectors.append(summed(0, lambda _: np.zeros((0, COORDINATES)), release, DiscreteGaussian(), held))
        layers = held.take()
        assert layers is not None
        assert held.take() is None
        told.append(spare_part(layers, members - release.fewest + too_many))

    def total(of: slice) -> NDArray[np.float64]:
        ring = to_ring(np.append(np.sum(vectors[of], axis=0, dtype=np.int64), [0, 0]), 64)
        quiet = without_spare_noise(small_agreement(*DISTRIBUTED), ring, told[silent:][of])
        assert quiet[REMOVED] == len(told[silent:][of])
        return from_ring(quiet, 64)[:-2] / release.units

    return total(slice(None)), total(slice(1, None))


def fits(noise: NDArray[np.float64], variance: float) -> bool:
    """Whether a chi-square test at both ends lets these draws have this variance."""
    statistic = float((noise**2).sum()) / variance
    return bool(chi2.ppf(LEVEL, noise.size) < statistic < chi2.isf(LEVEL, noise.size))


def of_central(release: Release, sd: float) -> float:
    return (sd / release.noise_multiplier) ** 2


def test_the_opened_sum_has_the_noise_that_is_predicted() -> None:
    for release, members, silent, expected in (
        (FIVE, 4, 0, 4 / 3),
        (FIVE, 5, 0, 5 / 4),
        (FIVE, 5, 1, 4 / 4 + 1 / 3),
        (FIVE, 5, 5, 5 / 3),
        (SIX, 5, 0, 5 / 4),
        (SIX, 6, 0, 6 / 5),
        (SIX, 6, 2, 4 / 5 + 2 / 3),
    ):
        predicted = release.noise_sd(members, members - silent)
        assert of_central(release, predicted) == pytest.approx(expected)
        noise, _ = opened(release, members, silent)
        assert fits(noise, predicted**2)
        assert not fits(noise, 0.9 * predicted**2)


def test_what_a_colluding_hospital_does_not_know_is_what_is_accounted() -> None:
    """Without one hospital's part, h shares' variance is left whatever the set; one layer too many is caught."""
    accounted = FIVE.noise_multiplier**2
    for release, members in ((FIVE, 4), (FIVE, 5), (SIX, 5), (SIX, 6)):
        _, unknown = opened(release, members)
        assert fits(unknown, accounted)
    for release, members in ((FIVE, 4), (SIX, 5)):
        everything, unknown = opened(release, members, too_many=1)
        assert not fits(unknown, accounted)
        assert not fits(everything, release.noise_sd(members, members) ** 2)
        assert float((unknown**2).mean()) < 0.9 * accounted
