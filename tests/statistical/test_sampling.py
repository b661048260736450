"""Poisson sampling as the accountant assumes it; a shuffled loader under the same rate must be noticed.

False alarms: each of the four checks is wrong about a right sampler less than once in a million runs (5 standard errors, or a chi-square
probability of 1e-6). Power, at 400 patients, rate 0.1 and 500 steps: a fixed batch size has no size variance where 500 +- 32 is
expected; pairs that come together have 316 standard errors of the product of neighbors; a rate 1.2 times too high has 30 of the
mean's and a few patients who are never drawn 500 x 0.1 missing draws each. The slow tier sees one percent.
"""

from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import chi2

from hospital_node.entropy import OsEntropy, poisson_sample

PATIENTS, RATE, STEPS = 400, 0.1, 500
Draw = Callable[[int, float], np.ndarray]


def real(patients: int, rate: float) -> np.ndarray:
    return poisson_sample(patients, rate, OsEntropy())


def shuffled(patients: int, rate: float) -> np.ndarray:
    """A batch of fixed size, as a shuffled loader gives it."""
    chosen = np.zeros(patients, dtype=bool)
    chosen[np.random.default_rng().permutation(patients)[: round(rate * patients)]] = True
    return chosen


def grouped(patients: int, rate: float) -> np.ndarray:
    """Pairs of patients that always come together."""
    return np.repeat(np.random.default_rng().random(patients // 2) < rate, 2)


def higher(patients: int, rate: float) -> np.ndarray:
    return real(patients, 1.2 * rate)


def favored(patients: int, rate: float) -> np.ndarray:
    """The right rate on average, and not for everybody."""
    chosen = real(patients, rate)
    chosen[:4] = False
    return chosen


def percent_higher(patients: int, rate: float) -> np.ndarray:
    return real(patients, 1.01 * rate)


def within(statistic: float, freedom: int) -> bool:
    """Two-sided chi-square test at one in a million."""
    return 5e-7 < float(chi2.cdf(statistic, freedom)) < 1 - 5e-7


def findings(draw: Draw, steps: int = STEPS) -> set[str]:
    """What is wrong with a sampler: "rate", "size variance", "inclusion", "independence"."""
    batches = np.array([draw(PATIENTS, RATE) for _ in range(steps)])
    variance = RATE * (1 - RATE)
    wrong = set()
    rate_error = batches.mean() - RATE
    if abs(rate_error) > 5 * np.sqrt(variance / batches.size):
        wrong.add("rate")
    sizes = batches.sum(axis=1)
    if not within(float(np.sum((sizes - PATIENTS * RATE) ** 2)) / (PATIENTS * variance), steps):
        wrong.add("size variance")
    each = batches.sum(axis=0)
    if not within(float(np.sum((each - steps * RATE) ** 2)) / (steps * variance), PATIENTS):
        wrong.add("inclusion")
    neighbors = np.mean((batches[:, ::2] - RATE) * (batches[:, 1::2] - RATE))
    if abs(neighbors) > 5 * variance / np.sqrt(batches.size / 2):
        wrong.add("independence")
    return wrong


@pytest.mark.threat("FL-29", control="C-SELFTEST")
def test_patients_are_drawn_independently_at_the_declared_rate() -> None:
    assert findings(real) == set()


@pytest.mark.threat("FL-29", control="C-SELFTEST")
@pytest.mark.parametrize(
    ("broken", "finding"),
    [
        (shuffled, "size variance"),
        (grouped, "independence"),
        (higher, "rate"),
        (favored, "inclusion"),
    ],
)
def test_broken_samplers_are_noticed(broken: Draw, finding: str) -> None:
    assert finding in findings(broken)


@pytest.mark.slow
def test_one_percent_too_many_are_noticed() -> None:
    """20,000 steps: one percent of the rate is nine standard errors."""
    assert findings(real, 20_000) == set()
    assert "rate" in findings(percent_higher, 20_000)
