"""The real noise of the real code path; each check must also catch a broken variant.

False alarms: every bound is five standard errors or a p-value of 1e-7 or less, so that a right sampler fails a check less than once in
a million runs. Power: stated where a check is made; all of them exceed 99.9 % unless a docstring says otherwise.
"""

from math import ceil

import numpy as np
import pytest
from scipy.stats import chi2

from hospital_node.dp_sgd import noisy_gradient
from hospital_node.entropy import MANY_DRAWS, DiscreteGaussian, DrawnAhead, FreshWords, OsEntropy
from hospital_node.survival.follow_up import FollowUp
from hospital_node.survival.piecewise import PiecewiseExponential
from privacy.guarantees.release import Release
from privacy.noise.discrete_gaussian import discrete_gaussian
from privacy.noise.mechanisms import Sampler, noisy_sum, release_rows
from privacy.studies.layout import Layout

RELEASE = Release("train", "poisson_gaussian", 2.275, sample_rate=0.1, steps=200, clip_l2=0.5)
LAYOUT = Layout(10, tuple(f"x{j}" for j in range(390)))
MODEL = PiecewiseExponential(LAYOUT)
THETA = LAYOUT.start(np.full(10, -2.0))
# Standard errors of the deviation of so many draws: 0.18 %, so that 2 % are eleven of them.
MANY = 150_000
SMALLEST_P = 1e-7


class OpenDp:
    """The field's sampler at every count, as few draws come from it."""

    def draw(self, count: int, scale: int) -> np.ndarray:
        few = MANY_DRAWS - 1
        parts = [DiscreteGaussian().draw(min(few, count - i), scale) for i in range(0, count, few)]
        return np.concatenate(parts)


class Scaled:
    """The real sampler at a wrong scale."""

    def __init__(self, factor: float) -> None:
        self.factor = factor

    def draw(self, count: int, scale: int) -> np.ndarray:
        return DiscreteGaussian().draw(count, round(scale * self.factor))


class Rounded:
    """Floating-point noise in single precision, rounded to the units: right scale, wrong low bits."""

    def draw(self, count: int, scale: int) -> np.ndarray:
        noise = np.random.default_rng().normal(size=count).astype(np.float32)
        return (noise * np.float32(scale)).astype(np.int64)


class Laplace:
    """Another distribution of the same variance."""

    def draw(self, count: int, scale: int) -> np.ndarray:
        return np.round(np.random.default_rng().laplace(0, scale / np.sqrt(2), count)).astype(np.int64)


class Shifted:
    """Noise whose mean is not zero, as careless truncation makes it."""

    def draw(self, count: int, scale: int) -> np.ndarray:
        return DiscreteGaussian().draw(count, scale) + scale // 20


class Sticky:
    """Every number twice in a row: the right distribution, and half of the noise of a difference."""

    def draw(self, count: int, scale: int) -> np.ndarray:
        return np.repeat(DiscreteGaussian().draw((count + 1) // 2, scale), 2)[:count]


class Silent:
    """No noise, so that the exact sum shows."""

    def draw(self, count: int, scale: int) -> np.ndarray:
        return np.zeros(count, dtype=np.int64)


class Everybody:
    """Entropy that puts every patient into every sample."""

    def random_bytes(self, count: int) -> bytes:
        return bytes(count)


def nobody() -> FollowUp:
    return FollowUp(np.zeros((0, 390)), np.zeros((0, 10)), np.zeros((0, 10)))


def released(sampler: Sampler, count: int, patients: FollowUp | None = None) -> np.ndarray:
    """`count` integers of releases of the training path over an empty batch, in units."""
    many = nobody() if patients is None else patients
    ahead = DrawnAhead(sampler, count)
    times = ceil(count / LAYOUT.dim)
    gradients = [noisy_gradient(MODEL, THETA, many, RELEASE, ahead, Everybody()) for _ in range(times)]
    units = np.concatenate(gradients) * (RELEASE.units / RELEASE.clip_l2)
    assert (units == np.rint(units)).all()
    return units[:count].astype(np.int64)


def findings(draws: np.ndarray, scale: float) -> set[str]:
    """What is wrong with noise of standard deviation `scale`: "scale", "mean", "neighbors".

    Power for MANY draws: 2 % in the scale are 11 standard errors of the variance's ratio, 5 % of the scale in the mean 19 of the
    mean's, every number twice 190 of the correlation's.
    """
    ratio = draws / scale
    error = 1 / np.sqrt(len(draws))
    found = set()
    if abs(np.mean(ratio**2) - 1) > 5 * np.sqrt(2) * error:
        found.add("scale")
    if abs(np.mean(ratio)) > 5 * error:
        found.add("mean")
    if abs(np.mean(ratio[::2] * ratio[1::2])) > 5 * np.sqrt(2) * error:
        found.add("neighbors")
    return found


def shape_is_right(draws: np.ndarray, scale: int) -> bool:
    """Chi-square test on 16 cells about equally likely under the exact discrete Gaussian, for scales small enough to add up.

    Power: with 300,000 draws 2 % less noise has a noncentrality near 240 against a critical value of 64, six of its standard
    deviations below.
    """
    support = np.arange(-12 * scale, 12 * scale + 1)
    weights = np.exp(-(support**2) / (2 * scale**2))
    weights /= weights.sum()
    below = np.cumsum(weights)
    # At small scales several sixteenths end at the same integer.
    edges = np.unique(support[np.searchsorted(below, np.arange(1, 16) / 16)] + 1)
    expected = np.bincount(np.digitize(support, edges), weights, len(edges) + 1) * len(draws)
    seen = np.bincount(np.digitize(draws, edges), minlength=len(edges) + 1)
    return float(chi2.sf(np.sum((seen - expected) ** 2 / expected), len(edges))) > SMALLEST_P


def low_bits_are_noise(draws: np.ndarray) -> bool:
    """Chi-square test of the lowest four bits; single precision leaves them zero at this scale."""
    counts = np.bincount(draws & 15, minlength=16)
    expected = len(draws) / 16
    return float(chi2.sf(np.sum((counts - expected) ** 2 / expected), 15)) > SMALLEST_P


@pytest.mark.threat("FL-29", control="C-SELFTEST")
def test_a_release_carries_exactly_the_noise_of_its_plan() -> None:
    assert findings(released(DiscreteGaussian(), MANY), RELEASE.scale_units()) == set()


@pytest.mark.threat("FL-29", control="C-SELFTEST")
@pytest.mark.parametrize(
    ("broken", "finding"),
    [
        (Scaled(2 / 3), "scale"),
        (Scaled(3 / 2), "scale"),
        (Scaled(0.98), "scale"),
        (Shifted(), "mean"),
        (Sticky(), "neighbors"),
    ],
)
def test_broken_noise_is_noticed(broken: Sampler, finding: str) -> None:
    assert finding in findings(released(broken, MANY), RELEASE.scale_units())


def test_opendps_noise_has_the_same_scale() -> None:
    """Few draws, because they are slow: a sixth too much or too little is ten standard errors; the slow tier sees 2 %."""
    draws = noisy_sum(np.zeros((1, 3000), dtype=np.int64), RELEASE.scale_units(), OpenDp())
    assert findings(draws, RELEASE.scale_units()) == set()
    assert "scale" in findings(draws, RELEASE.scale_units() * 1.2)
    assert "scale" in findings(draws, RELEASE.scale_units() / 1.2)


@pytest.mark.slow
@pytest.mark.parametrize("sampler", [OpenDp(), DiscreteGaussian()])
def test_two_percent_are_noticed_of_either_sampler(sampler: Sampler) -> None:
    draws = sampler.draw(MANY, RELEASE.scale_units())
    assert findings(draws, RELEASE.scale_units()) == set()
    assert "scale" in findings(draws, RELEASE.scale_units() / 0.98)


@pytest.mark.slow
@pytest.mark.parametrize("scale", [2, 3, 8, 50, 2**41 + 12345])
def test_millions_of_draws(scale: int) -> None:
    """A fifth of a percent of the scale is fourteen standard errors of 25 million draws."""
    draws = [DiscreteGaussian().draw(1_000_000, scale) for _ in range(25)]
    total = np.concatenate(draws)
    support = np.arange(-12 * min(scale, 50), 12 * min(scale, 50) + 1)
    weights = np.exp(-(support**2) / (2 * scale**2))
    # The variance of a discrete Gaussian of small scale is a little less than scale^2.
    variance = float(scale) ** 2 if scale > 50 else float((weights * support**2).sum() / weights.sum())
    assert findings(total, np.sqrt(variance)) == set()
    assert "scale" in findings(total, np.sqrt(variance) * 1.002)
    if scale <= 50:
        assert shape_is_right(total, scale)


@pytest.mark.parametrize(
    ("sampler", "right"),
    [
        (DiscreteGaussian(), True),
        (Scaled(0.98), False),
        (Laplace(), False),
        (Shifted(), False),
    ],
)
def test_the_distribution_is_the_discrete_gaussian(sampler: Sampler, right: bool) -> None:
    assert shape_is_right(sampler.draw(300_000, 50), 50) is right


def test_small_scales_are_exact_too() -> None:
    """At scale 2 zero, the sign and the first cells carry nearly all mass: counted one by one, both signs together and apart."""
    draws = discrete_gaussian(200_000, 2, FreshWords(OsEntropy()))
    support = np.arange(-7, 8)
    weights = np.exp(-(support**2) / 8)
    expected = weights / weights.sum() * len(draws)
    seen = np.array([(draws == z).sum() for z in support])
    assert float(chi2.sf(np.sum((seen - expected) ** 2 / expected), len(support) - 1)) > SMALLEST_P
    # A sampler that forgets to reject minus zero has twice the mass there.
    twice = np.where(support == 0, 2.0, 1.0) * weights
    wrong = twice / twice.sum() * len(draws)
    assert float(chi2.sf(np.sum((seen - wrong) ** 2 / wrong), len(support) - 1)) < SMALLEST_P


@pytest.mark.threat("FL-01", control="C-MINBATCH")
def test_an_empty_batch_carries_the_same_noise_and_one_without_is_noticed() -> None:
    """Nobody is in any of these batches; a step that skipped the noise then would tell so."""
    draws = released(DiscreteGaussian(), 20_000)
    assert findings(draws, RELEASE.scale_units()) == set()
    assert "scale" in findings(np.zeros_like(draws), RELEASE.scale_units())
    half_skipped = np.where(np.arange(len(draws)) % 2, draws, 0)
    assert "scale" in findings(half_skipped, RELEASE.scale_units())


@pytest.mark.threat("FL-30", control="C-RNG")
def test_the_lowest_bits_of_what_leaves_are_noise_whatever_the_data() -> None:
    """Real patients below real noise: given their exact sum, the last digits are uniform, and everything is on the integer grid."""
    rng = np.random.default_rng(3)
    patients = FollowUp(rng.uniform(-1, 1, (300, 390)), np.ones((300, 10)), np.zeros((300, 10)))

    def beyond_the_sum(sampler: Sampler) -> np.ndarray:
        return released(sampler, 20_000, patients) - np.resize(released(Silent(), 400, patients), 20_000)

    assert low_bits_are_noise(beyond_the_sum(DiscreteGaussian()))
    assert not low_bits_are_noise(beyond_the_sum(Rounded()))
    # Float noise on top of a float sum is not on the grid at all.
    exact = MODEL.clipped_gradients(THETA, patients, RELEASE.clip_l2).sum(axis=0)
    leaky = (exact + np.random.default_rng(4).normal(size=LAYOUT.dim)) * (RELEASE.units / RELEASE.clip_l2)
    assert (leaky != np.rint(leaky)).any()


def test_two_releases_of_the_same_data_share_no_noise() -> None:
    def empty() -> np.ndarray:
        return release_rows(np.zeros((0, 40_000)), RELEASE, DiscreteGaussian())

    first, second = empty(), empty()
    scale = RELEASE.scale_units()
    bound = 5 / np.sqrt(len(first))
    assert abs(np.mean((first / scale) * (second / scale))) < bound
    assert abs(np.mean((first / scale) * (first / scale))) > bound
