"""Counts, means, histograms and quantiles from noised sums: right without noise, and as noisy as they say."""

import numpy as np
import pytest

from privacy.analytics.asks import MEAN_WEIGHT, Ask
from privacy.analytics.groups import Groups
from privacy.analytics.small_cells import told
from privacy.analytics.tables import TOO_FEW, histograms, means, quantiles
from tests.study_files import study

FIELDS = {field.name: field for field in study().fields}
BY_ARM = Groups((FIELDS["arm"],))


def mean_ask(groups: Groups = BY_ARM) -> Ask:
    return Ask("mean-1", "mean", 2 * len(groups), 1.5**0.5, groups, FIELDS["age"])


def test_a_mean_is_in_the_field_s_unit_and_over_the_group() -> None:
    # Ages 20 and 40 in arm 0, 75 in arm 1, nobody in arm 2; z = (age - 50) / 50.
    sums = np.array([2 * MEAN_WEIGHT, -0.8, MEAN_WEIGHT, 0.5, 0.0, 0.0])
    first, second, third = means(mean_ask(), sums, 0.0)
    assert first == {"count": pytest.approx(2), "mean": pytest.approx(30)}
    assert second["mean"] == pytest.approx(75)
    assert third["mean"] is None
    assert third["reason"] == TOO_FEW


def test_the_noise_of_a_mean_is_what_it_says() -> None:
    rng, n, z, sd = np.random.default_rng(3), 400, 0.6, 6.0
    exact = np.array([n * MEAN_WEIGHT, n * z])
    told_of = [means(mean_ask(Groups()), exact + sd * rng.standard_normal(2), sd)[0] for _ in range(4000)]
    found = np.array([row["mean"] for row in told_of])
    expected = float(np.mean([row["mean_noise_sd"] for row in told_of]))
    assert found.std() == pytest.approx(expected, rel=0.05)
    covered = np.mean(
        [row["mean_noise_interval95"][0] <= 80 <= row["mean_noise_interval95"][1] for row in told_of]
    )
    assert 0.93 < covered < 0.97
    # Half of the patients' noise would not pass.
    assert found.std() != pytest.approx(expected / 1.25, rel=0.05)


def test_a_histogram_keeps_negative_counts() -> None:
    ask = Ask("h", "histogram", 3, 1.0, Groups(), FIELDS["arm"])
    (row,) = histograms(ask, np.array([5.0, -2.0, 1.0]), 3.0)
    assert [b["count"] for b in row["bins"]] == [5.0, -2.0, 1.0]


def test_quantiles_without_noise_are_the_patients() -> None:
    rng = np.random.default_rng(4)
    ages = rng.uniform(10, 90, 5000)
    edges = np.linspace(0, 100, 41)
    ask = Ask("q", "quantile", 40, 1.0, Groups(), FIELDS["age"], tuple(edges), (0.1, 0.5, 0.9))
    (row,) = quantiles(ask, np.histogram(ages, edges)[0].astype(float), 0.0)
    found = [quantile["value"] for quantile in row["quantiles"]]
    np.testing.assert_allclose(found, np.quantile(ages, [0.1, 0.5, 0.9]), atol=0.3)


def test_the_interval_of_a_quantile_covers_the_exact_one() -> None:
    rng, edges, sd = np.random.default_rng(5), np.linspace(0, 100, 41), 8.0
    counts = np.histogram(rng.normal(60, 12, 1500), edges)[0].astype(float)
    ask = Ask("q", "quantile", 40, 1.0, Groups(), FIELDS["age"], tuple(edges), (0.25, 0.5))
    (exact,) = quantiles(ask, counts, 0.0)
    covered = np.zeros(2)
    for _ in range(600):
        (row,) = quantiles(ask, counts + sd * rng.standard_normal(40), sd)
        for i, (seen, true) in enumerate(zip(row["quantiles"], exact["quantiles"], strict=True)):
            low, high = seen["noise_interval95"]
            covered[i] += low <= true["value"] <= high
    assert (covered / 600 > 0.93).all()


def test_few_patients_under_noise_have_no_quantile() -> None:
    ask = Ask("q", "quantile", 4, 1.0, Groups(), FIELDS["age"], (0, 25, 50, 75, 100), (0.5,))
    assert quantiles(ask, np.array([3.0, 1.0, 2.0, 1.0]), 5.0)[0]["reason"] == TOO_FEW


def test_a_running_total_is_told_where_it_moved_by_nobody_or_by_enough() -> None:
    moves = np.array([0.0, 3.0, 1.0, 1.0, 0.0, 9.0, 2.0])
    np.testing.assert_array_equal(told(moves, 5), [True, False, False, True, True, True, False])
    assert told(moves, 1).all()
