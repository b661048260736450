"""One patient more or less moves the exact sum of a training step by at most one clip, whatever is in the record; broken clips are caught.

Nothing here is random enough for a false alarm: the bound is a theorem, checked on integers, for random neighbors and for the ones that
an adversary would send. A broken variant must be caught by the same search.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hospital_node import dp_sgd
from hospital_node.dp_sgd import noisy_gradient, train_local
from hospital_node.survival.follow_up import FollowUp
from hospital_node.survival.model import SurvivalModel, build_model
from hospital_node.table import DataError, read_table
from privacy.guarantees.plan import DpPlan, Release
from privacy.noise.clipped_blocks import Block, Outer, clipped_sum
from privacy.studies.layout import Layout
from privacy.studies.training import Training
from tests.study_files import study, table, write_csv

COLUMNS, INTERVALS = 5, 4
RELEASE = Release("train", "poisson_gaussian", 1.0, sample_rate=0.5, steps=4, clip_l2=1.0)
PLAN = DpPlan((RELEASE,), 9.0, 1e-5)
VALUES = (1e6, -1e6, 1e200, -1e200, 1e308, 1e-200, np.nan, np.inf, -np.inf, 0.0)
TRAINING = Training(
    family="piecewise_exponential",
    recipe="dp_sgd",
    strategy="fedavg",
    rounds=1,
    local_steps=4,
    sample_rate=0.5,
    clip_l2=1.0,
    optimizer="adam",
    learning_rate=0.2,
    learning_rate_final_share=0.1,
    server_learning_rate=1.0,
)
ClippedSum = Callable[[Sequence[Block], float, int], np.ndarray]


class Silent:
    """No noise, so that the exact sum shows; counts how often it was asked."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def draw(self, count: int, scale: int) -> np.ndarray:
        self.asked.append(count)
        return np.zeros(count, dtype=np.int64)


class Everybody:
    """Entropy that puts every patient into every sample."""

    def random_bytes(self, count: int) -> bytes:
        return bytes(count)


def rows_of(blocks: Sequence[Block]) -> list[np.ndarray]:
    """Each block written out, (n, a)."""
    return [written for b in blocks for written in ((b,) if not isinstance(b, Outer) else _written(b))]


def _written(block: Outer) -> tuple[np.ndarray, ...]:
    left = block.weight[:, None] * (1.0 if block.left is None else block.left)
    rows = np.einsum("na,nb->nab", left, block.right.units * 2.0**-block.right.bits)
    n, a, b = rows.shape
    if not block.constant:
        return (rows.reshape(n, a * b),)
    return (rows[:, :, :-1].reshape(n, a * (b - 1)), rows[:, :, -1])


def _integers(rows: np.ndarray, bits: int) -> np.ndarray:
    with np.errstate(all="ignore"):
        return np.trunc(np.nan_to_num(rows, nan=0, posinf=0, neginf=0) * 2.0**bits).astype(np.int64)


def unclipped(blocks: Sequence[Block], clip_l2: float, bits: int) -> np.ndarray:
    return _integers(np.hstack(rows_of(blocks)), bits).sum(axis=0)


def by_coordinate(blocks: Sequence[Block], clip_l2: float, bits: int) -> np.ndarray:
    return _integers(np.clip(np.hstack(rows_of(blocks)), -clip_l2, clip_l2), bits).sum(axis=0)


def by_layer(blocks: Sequence[Block], clip_l2: float, bits: int) -> np.ndarray:
    return np.concatenate([clipped_sum([block], clip_l2, bits) for block in blocks])


def after_the_sum(blocks: Sequence[Block], clip_l2: float, bits: int) -> np.ndarray:
    total = np.hstack(rows_of(blocks)).sum(axis=0, keepdims=True)
    # Held for each patient's sake, but only on average.
    return clipped_sum([total], clip_l2 * max(1, len(rows_of(blocks)[0])), bits)


def rounded_up(blocks: Sequence[Block], clip_l2: float, bits: int) -> np.ndarray:
    rows = np.hstack(rows_of(blocks))
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    with np.errstate(all="ignore"):
        clipped = np.nan_to_num(rows * np.minimum(1, clip_l2 / norms) * 2.0**bits, posinf=0, neginf=0)
    return (np.sign(clipped) * np.ceil(np.abs(clipped))).astype(np.int64).sum(axis=0)


def exact_sum(model: SurvivalModel, theta: np.ndarray, patients: FollowUp) -> list[int]:
    """The training path's sum in units, as exact integers."""
    total = noisy_gradient(model, theta, patients, RELEASE, Silent(), Everybody())
    return [int(value) for value in total * RELEASE.units]


def neighbors(rng: np.random.Generator, value: float | None) -> tuple[FollowUp, FollowUp]:
    """A few patients, and the same without the first, whose record an adversary may have written."""
    n = int(rng.integers(1, 6))
    x = rng.uniform(-1, 1, (n, COLUMNS))
    exposure, events = rng.uniform(0, 1, (n, INTERVALS)), rng.integers(0, 2, (n, INTERVALS)).astype(float)
    if value is not None:
        place = int(rng.integers(0, COLUMNS + INTERVALS + 1))
        if place < COLUMNS:
            x[0, place] = value
        elif place < COLUMNS + INTERVALS:
            exposure[0, place - COLUMNS] = value
        else:
            x[0] = value
    whole = FollowUp(x, exposure, events)
    return whole, whole.among(np.arange(1, n))


def moved_too_far(hidden: tuple[int, ...], tries: int) -> int:
    """How many of so many neighbors, half of them adversarial, move the sum by more than the sensitivity."""
    rng = np.random.default_rng(11)
    layout = Layout(INTERVALS, tuple(f"x{j}" for j in range(COLUMNS)), hidden)
    model, count = build_model(layout), 0
    for i in range(tries):
        theta = rng.normal(0, rng.choice([0.3, 3.0]), layout.dim)
        value = VALUES[i // 2 % len(VALUES)] if i % 2 else None
        with_one, without = neighbors(rng, value)
        moves = zip(exact_sum(model, theta, with_one), exact_sum(model, theta, without), strict=True)
        count += sum((a - b) ** 2 for a, b in moves) > RELEASE.sensitivity() ** 2
    return count


@pytest.mark.threat("FL-20", control="C-CLIPUPDATE")
@pytest.mark.parametrize(("hidden", "tries"), [((), 400), ((3,), 400), ((3, 2), 30)])
def test_no_neighbor_moves_the_sum_by_more_than_the_sensitivity(hidden: tuple[int, ...], tries: int) -> None:
    assert moved_too_far(hidden, tries) == 0


@pytest.mark.slow
@pytest.mark.parametrize("hidden", [(), (3,)])
def test_no_neighbor_of_very_many(hidden: tuple[int, ...]) -> None:
    assert moved_too_far(hidden, 30_000) == 0


@pytest.mark.threat("FL-29", control="C-SELFTEST")
@pytest.mark.parametrize("hidden", [(), (3,)])
@pytest.mark.parametrize("broken", [unclipped, by_coordinate, by_layer, after_the_sum, rounded_up])
def test_broken_clips_are_caught(
    broken: ClippedSum, hidden: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dp_sgd, "clipped_sum", broken)
    with np.errstate(all="ignore"):
        assert moved_too_far(hidden, 100) > 0


@pytest.mark.threat("FL-21", control="C-SCHEMA")
def test_a_patient_who_stands_twice_is_refused_and_would_count_twice(tmp_path: Path) -> None:
    frame = table()
    frame.loc[7, "pid"] = frame.loc[3, "pid"]
    path = write_csv(frame, tmp_path, "extract.csv")
    with pytest.raises(DataError, match="pid"):
        read_table(path, study().dictionary)
    # What the refusal prevents: both rows of one patient at once move the sum by more than its sensitivity.
    rng = np.random.default_rng(5)
    layout = Layout(INTERVALS, tuple(f"x{j}" for j in range(COLUMNS)))
    whole, rest = neighbors(rng, None)
    twice = whole.among(np.concatenate([[0], np.arange(len(whole))]))
    theta = np.full(layout.dim, 3.0)
    moves = zip(
        exact_sum(build_model(layout), theta, twice),
        exact_sum(build_model(layout), theta, rest),
        strict=True,
    )
    assert sum((a - b) ** 2 for a, b in moves) > RELEASE.sensitivity() ** 2


def releases_made(train: Callable[..., np.ndarray], patients: FollowUp) -> list[int] | str:
    """The noise that a round asked for, or that it stopped."""
    layout = Layout(INTERVALS, tuple(f"x{j}" for j in range(COLUMNS)))
    sampler = Silent()
    try:
        train(
            build_model(layout),
            layout.start(np.full(INTERVALS, -1.0)),
            patients,
            TRAINING,
            PLAN,
            100,
            0,
            sampler,
            Everybody(),
        )
    except (ArithmeticError, ValueError) as error:
        return type(error).__name__
    return sampler.asked


def stops_where_converged(*arguments: Any) -> np.ndarray:
    """Training that ends early once the gradient is small: how many releases there are tells about the patients."""
    model, theta, patients, training, _, _, _, sampler, entropy = arguments
    for _ in range(training.local_steps):
        gradient = noisy_gradient(model, theta, patients, RELEASE, sampler, entropy)
        if np.linalg.norm(gradient) < 0.3:
            break
    return np.asarray(theta)


def stops_at_nan(*arguments: Any) -> np.ndarray:
    """Training that complains about a record: whoever hears it learns that the record is there."""
    patients = arguments[2]
    if not np.isfinite(patients.x).all():
        raise ValueError("a value is not finite")
    return train_local(*arguments)


def depends_on_data(train: Callable[..., np.ndarray]) -> bool:
    """Whether some neighbor changes how many releases a round makes, or whether it ends."""
    rng = np.random.default_rng(7)
    for value in (None, *VALUES):
        for _ in range(5):
            whole, rest = neighbors(rng, value)
            if releases_made(train, whole) != releases_made(train, rest):
                return True
    return False


@pytest.mark.threat("FL-29", control="C-SELFTEST")
def test_no_patient_decides_how_much_is_released() -> None:
    with np.errstate(all="ignore"):
        assert not depends_on_data(train_local)


@pytest.mark.parametrize("broken", [stops_where_converged, stops_at_nan])
def test_a_stop_that_depends_on_data_is_noticed(broken: Callable[..., np.ndarray]) -> None:
    with np.errstate(all="ignore"):
        assert depends_on_data(broken)
