"""What one summed vector holds, on both sides."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privacy.link.canonical import canonical
from privacy.studies import exchange, next_model
from privacy.studies.exchange import ExchangeError
from secagg.errors import OutsideClip
from secagg.fixed_point import BLOCK, from_ring
from tests.consortium import HOSPITALS, small_agreement

AGREEMENT = small_agreement()
P, K = AGREEMENT.parameters, AGREEMENT.study.intervals
NO_TABLE = small_agreement(
    ('mode = "local"\nepsilon = 3\ndelta = 1e-5', 'mode = "none"'), ("\nsample_rate = 1.0", "")
)
# More parameters than a block.
LARGE = small_agreement(('family = "piecewise_exponential"', 'family = "mlp"\nhidden = [2500]'))


def summed(vectors: list[np.ndarray]) -> np.ndarray:
    return np.asarray(from_ring(np.sum(vectors, axis=0, dtype=np.uint64), 64))


def test_rounds_and_their_tasks() -> None:
    assert [exchange.task_of(AGREEMENT, r) for r in (1, 2, 3)] == ["life_table", "train", "train"]
    assert exchange.total_rounds(AGREEMENT) == 3
    for outside in (0, -1, 4):
        with pytest.raises(ExchangeError, match="rounds 1 to 3"):
            exchange.task_of(AGREEMENT, outside)


def test_the_settings_name_round_task_and_training() -> None:
    whole = {"task": "train", "round": 2, "training": AGREEMENT.training.model_dump(mode="json")}
    assert exchange.order_settings(AGREEMENT, 2) == canonical(whole)
    assert exchange.order_settings(AGREEMENT, 2) != exchange.order_settings(AGREEMENT, 3)
    faster = AGREEMENT.training.model_copy(update={"learning_rate": 0.5})
    other = exchange.order_settings(replace(AGREEMENT, training=faster), 2)
    assert other == canonical(whole | {"training": faster.model_dump(mode="json")})


def test_the_mean_of_updates_is_weighted_by_declared_sizes() -> None:
    old = np.linspace(-1, 1, P)
    moves = {h: np.full(P, step) for h, step in zip(HOSPITALS, (0.5, -0.25, 1.0, 0.0), strict=True)}
    total = summed([exchange.update_vector(AGREEMENT, h, old, old + moves[h]) for h in HOSPITALS])
    expected = (400 * 0.5 - 500 * 0.25 + 600 * 1.0) / 1800
    mean = exchange.mean_update(AGREEMENT, total, HOSPITALS)
    np.testing.assert_allclose(mean, np.full(P, expected), atol=2.0**-25)


def test_the_mean_over_some_hospitals_is_over_their_weights() -> None:
    old = np.zeros(P)
    total = summed([exchange.update_vector(AGREEMENT, h, old, old + 1.0) for h in "ab"])
    np.testing.assert_allclose(exchange.mean_update(AGREEMENT, total, "ab"), np.ones(P), atol=2.0**-25)


@pytest.mark.parametrize("claimed", ["abc", "a", "abcd", "ac"])
def test_a_sum_over_others_than_the_named_is_refused(claimed: str) -> None:
    total = summed([exchange.update_vector(AGREEMENT, h, np.zeros(P), np.ones(P)) for h in "ab"])
    with pytest.raises(ExchangeError, match="the weights sum to 900"):
        exchange.mean_update(AGREEMENT, total, claimed)


def test_counts_travel_as_they_are_also_when_noise_made_them_negative() -> None:
    counts = np.arange(2 * K, dtype=np.int64) - 5
    total = summed([exchange.count_vector(AGREEMENT, h, counts) for h in "abc"])
    payload = exchange.payload_of(AGREEMENT, total, "abc", 2 * K)
    np.testing.assert_array_equal(payload, 3 * counts)
    start = next_model.start_model(AGREEMENT, total, "abc")
    assert start.shape == (P,)
    assert np.all(np.isfinite(start))


@pytest.mark.threat("FL-18", control="C-PAD")
def test_every_vector_has_the_studys_length_whatever_it_holds() -> None:
    update = exchange.update_vector(AGREEMENT, "a", np.zeros(P), np.ones(P))
    counts = exchange.count_vector(AGREEMENT, "a", np.zeros(2 * K, dtype=np.int64))
    assert update.shape == counts.shape == (AGREEMENT.dim,)


@pytest.mark.threat("FL-20", control="C-CLIPUPDATE")
def test_an_update_is_held_in_the_agreed_box() -> None:
    bound = AGREEMENT.training.parameter_clip
    far = exchange.update_vector(AGREEMENT, "a", np.zeros(P), np.full(P, 1e12))
    edge = exchange.update_vector(AGREEMENT, "a", np.zeros(P), np.full(P, bound))
    np.testing.assert_array_equal(far, edge)


def test_an_update_that_is_no_number_never_becomes_a_vector() -> None:
    with pytest.raises(OutsideClip):
        exchange.update_vector(AGREEMENT, "a", np.zeros(P), np.full(P, np.nan))


@pytest.mark.threat("FL-10", control="C-MODELPOLICY")
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 40.000001, -41.0, 1e300])
def test_a_trap_model_is_refused(value: float) -> None:
    theta = np.zeros(P)
    theta[P // 2] = value
    with pytest.raises(ExchangeError, match="not finite or beyond 40"):
        exchange.parse_model(AGREEMENT, exchange.model_bytes(theta))


@pytest.mark.parametrize("length", [0, 8 * (P - 1), 8 * P - 1, 8 * P + 1, 8 * (P + 1)])
def test_a_model_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(ExchangeError, match=f"the agreement says {P}"):
        exchange.parse_model(AGREEMENT, bytes(length))


def test_a_model_survives_the_journey_to_the_last_bit() -> None:
    theta = np.random.default_rng(3).normal(size=P)
    np.testing.assert_array_equal(exchange.parse_model(AGREEMENT, exchange.model_bytes(theta)), theta)
    assert bytes(exchange.model_view(theta)) == exchange.model_bytes(theta)
    assert bytes(exchange.model_view(theta[::2].astype(">f8"))) == exchange.model_bytes(theta[::2])


def test_a_view_of_a_model_is_of_the_model_and_cannot_be_written_to() -> None:
    theta = np.zeros(3)
    view = exchange.model_view(theta)
    theta[1] = 1.0
    assert bytes(view) == exchange.model_bytes(np.array([0.0, 1.0, 0.0]))
    assert view.readonly


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1 << 32), shift=st.integers(0, 62))
def test_blocks_change_no_bit_of_a_mean(seed: int, shift: int) -> None:
    """Against the division of a whole array of floats, over more numbers than NumPy converts at a time."""
    total = np.random.default_rng(seed).integers(-(1 << 63), (1 << 63) - 1, LARGE.dim) >> shift
    total[-1] = 1200
    share = sum(exchange.weight(LARGE, hospital) for hospital in "abd")
    whole = total[: LARGE.parameters].astype(np.float64) / (share * float(1 << LARGE.fraction_bits))
    assert exchange.mean_update(LARGE, total, "abd").tobytes() == whole.tobytes()


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf, 1e3, -1e3])
@pytest.mark.parametrize("place", [0, BLOCK - 1, BLOCK, -1])
def test_a_trap_in_any_block_of_a_model_is_refused(place: int, wrong: float) -> None:
    theta = np.random.default_rng(5).normal(size=LARGE.parameters)
    np.testing.assert_array_equal(exchange.parse_model(LARGE, exchange.model_bytes(theta)), theta)
    theta[place] = wrong
    with pytest.raises(ExchangeError, match="not finite or beyond"):
        exchange.parse_model(LARGE, exchange.model_bytes(theta))


def test_the_model_that_must_come_next() -> None:
    old = np.linspace(-1, 1, P)
    total = summed([exchange.update_vector(AGREEMENT, h, old, old + 0.5) for h in "abc"])
    follows = next_model.expected_model(AGREEMENT, "train", 2, exchange.model_bytes(old), total, "abc")
    assert follows is not None
    np.testing.assert_allclose(follows, old + 0.5, atol=2.0**-25)
    # A round in between is not known, so nothing can be said.
    assert next_model.expected_model(AGREEMENT, "train", 2, None, total, "abc") is None
    adaptive = small_agreement(("rounds = 2", "rounds = 2\nstrategy = 'fedadam'"))
    assert next_model.expected_model(adaptive, "train", 2, exchange.model_bytes(old), total, "abc") is None


def test_blocks_change_no_bit_of_an_update(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = np.random.default_rng(7)
    old, new = drawn.normal(size=P), drawn.normal(size=P)
    whole = exchange.update_vector(AGREEMENT, "b", old, new)
    bound = AGREEMENT.training.parameter_clip
    change = (np.clip(new, -bound, bound) - np.clip(old, -bound, bound)) * exchange.weight(AGREEMENT, "b")
    np.testing.assert_array_equal(whole[:P], exchange.fixed_point(AGREEMENT).encode(change))
    monkeypatch.setattr(exchange, "BLOCK", 3)
    np.testing.assert_array_equal(exchange.update_vector(AGREEMENT, "b", old, new), whole)


@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, P + 3),
    st.none() | st.integers(0, P - 1),
    st.sampled_from([1e-12, np.nan, np.inf]),
)
def test_a_model_is_compared_piece_by_piece_with_what_follows_to_the_bit(
    seed: int, block: int, changed: int | None, by: float
) -> None:
    drawn = np.random.default_rng(seed)
    bound = 2 * AGREEMENT.training.parameter_clip
    old = drawn.uniform(-bound, bound, size=P)
    total = drawn.integers(-(2**62), 2**62, size=AGREEMENT.dim)
    total[-1] = sum(AGREEMENT.study.n_public[hospital] for hospital in "abc")
    # As it is read from a message: anywhere in memory.
    before = exchange.model_bytes(old)
    summed_up = np.frombuffer(memoryview(b"xyz" + total.tobytes())[3:], dtype="<i8")
    whole = exchange.mean_update(AGREEMENT, total, "abc") + exchange.parse_model(AGREEMENT, before)
    theta = whole.copy()
    if changed is not None:
        theta[changed] += by * abs(theta[changed])
    same = np.array_equal(theta, whole)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(next_model, "BLOCK", block)
        follows = next_model.expected_model(AGREEMENT, "train", 2, before, summed_up, "abc")
        match = next_model.match_expected(AGREEMENT, theta, "train", 2, before, summed_up, "abc")
        longer = next_model.match_expected(
            AGREEMENT, np.append(theta, 0.0), "train", 2, before, summed_up, "abc"
        )
    assert follows is not None
    assert follows.tobytes() == whole.tobytes()
    assert match is (next_model.Match.SAME if same else next_model.Match.OTHER)
    assert longer is next_model.Match.OTHER


def test_a_sum_or_model_of_another_study_is_followed_by_nothing() -> None:
    total = np.zeros(AGREEMENT.dim, dtype=np.int64)
    with pytest.raises(ExchangeError, match="the weights sum to 0"):
        next_model.match_expected(AGREEMENT, np.zeros(P), "train", 2, bytes(8 * P), total, "abc")
    total[-1] = sum(AGREEMENT.study.n_public[hospital] for hospital in "abc")
    with pytest.raises(ExchangeError, match="the last model has"):
        next_model.match_expected(AGREEMENT, np.zeros(P), "train", 2, bytes(8 * P - 8), total, "abc")


@pytest.mark.parametrize(
    ("by", "evaluates"), [(0.0, "SAME"), (1e-9, "ALMOST"), (1e-3, "OTHER"), (np.nan, "OTHER")]
)
def test_almost_is_enough_where_linear_algebra_is_in_it_and_nowhere_else(by: float, evaluates: str) -> None:
    expected = np.linspace(-1, 1, P)
    match = next_model.match(AGREEMENT, expected + by, expected, evaluates=True)
    assert match is next_model.Match[evaluates]
    alone = next_model.match(AGREEMENT, expected + by, expected)
    assert alone is (next_model.Match.OTHER if by else next_model.Match.SAME)
