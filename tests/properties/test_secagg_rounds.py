"""Rounds with any pattern of silence: the exact integer sum over the named survivors, or a typed refusal."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secagg import coordinator as co
from secagg import hospital as ho
from secagg import shamir
from secagg.errors import SecAggError, TooFewSurvivors
from secagg.fixed_point import FixedPoint, from_ring, to_ring
from secagg.masks import Mask, Speed, add_masks
from secagg.pairs import pair_mask
from secagg.params import SecAggParams
from secagg.secret import SecretBytes
from secagg.state_codec import decode_state, encode_state
from tests.unit.secagg.rounds import Consortium, entropy, exact_sum, key_of, names

QUICK = settings(deadline=None, max_examples=60)


@st.composite
def parameters(draw: Any) -> SecAggParams:
    n = draw(st.integers(3, 6))
    colluding = draw(st.integers(0, n - 2))
    low = max((n + colluding) // 2 + 1, colluding + 2)
    if low > n:
        colluding, low = 1, max((n + 1) // 2 + 1, 3)
    return SecAggParams(
        n, colluding, draw(st.integers(low, n)), draw(st.sampled_from([32, 64])), draw(st.integers(1, 40))
    )


@st.composite
def silences(draw: Any) -> tuple[SecAggParams, dict[str, frozenset[str]]]:
    params = draw(parameters())
    everybody = st.frozensets(st.sampled_from(names(params.n)), max_size=2)
    return params, {step: draw(everybody) for step in ("no_upload", "no_agree", "no_open")}


@pytest.mark.threat("FL-03", control="C-COHORT")
@given(silences())
@QUICK
def test_exact_sum_or_too_few(case: tuple[SecAggParams, dict[str, frozenset[str]]]) -> None:
    params, silent = case
    c = Consortium(params)
    no_agree = silent["no_agree"] - silent["no_upload"]
    members = set(c.roster.ids) - silent["no_upload"] - no_agree
    enough = len(members) >= params.threshold and len(members - silent["no_open"]) >= params.threshold
    if not enough:
        with pytest.raises(TooFewSurvivors) as caught:
            c.run(1, no_upload=silent["no_upload"], no_agree=no_agree, no_open=silent["no_open"])
        assert caught.value.needed == params.threshold > caught.value.present
        return
    opening, total, message = c.run(
        1, no_upload=silent["no_upload"], no_agree=no_agree, no_open=silent["no_open"]
    )
    assert set(opening.members) == members
    assert (total == exact_sum(params, [c.vectors[name] for name in members])).all()
    assert all(set(v.members) == members for v in c.deliver_receipt(message).values())


@given(
    st.integers(2, 7),
    st.integers(1, 3000),
    st.sampled_from(["<u4", "<u8"]),
    st.binary(min_size=4, max_size=4),
)
@QUICK
def test_pairwise_masks_cancel(n: int, size: int, dtype: str, salt: bytes) -> None:
    ids = names(n)
    total = np.zeros(size, dtype=dtype)
    for me in ids:
        own = np.zeros(size, dtype=dtype)
        masks = [
            pair_mask(SecretBytes(entropy(salt, *sorted((me, peer)))), me, peer) for peer in ids if peer != me
        ]
        add_masks(own, masks, Speed(2, 1024, 1))
        if size > 8:
            assert own.any()
        total += own
    assert not total.any()


@given(st.integers(1, 200), st.sampled_from(["<u4", "<u8"]), st.binary(min_size=32, max_size=32))
@QUICK
def test_adding_and_removing_a_mask_is_the_identity(size: int, dtype: str, seed: bytes) -> None:
    vector = np.arange(size).astype(dtype)
    for sign in (1, -1):
        add_masks(vector, [Mask(SecretBytes(seed), sign)], Speed(1, 64))
    assert (vector == np.arange(size).astype(dtype)).all()


@given(st.data())
@QUICK
def test_shares_reconstruct_from_every_threshold(data: st.DataObject) -> None:
    n = data.draw(st.integers(2, 9))
    t = data.draw(st.integers(2, n))
    elements = [shamir.field_element(data.draw(st.binary(min_size=48, max_size=48))) for _ in range(t)]
    shares = shamir.split(elements[0], elements[1:], range(1, n + 1))
    chosen = data.draw(st.permutations(list(shares)))[:t]
    assert shamir.reconstruct({position: shares[position] for position in chosen}) == elements[0]


@given(
    st.lists(st.floats(-4, 4, allow_nan=False), min_size=1, max_size=20),
    st.integers(1, 30),
    st.sampled_from([32, 64]),
)
@QUICK
def test_fixed_point_sums_are_within_half_a_unit_each(values: list[float], count: int, bits: int) -> None:
    fixed = FixedPoint(20, 4.0, bits)
    array = np.array(values)
    total = fixed.encode(array)
    for _ in range(count - 1):
        total = total + fixed.encode(array)
    assert np.abs(fixed.decode_sum(total, count) - count * array).max() <= count * 2**-21


@given(st.lists(st.integers(-(2**70), 2**70), min_size=1, max_size=10), st.sampled_from([32, 64]))
@QUICK
def test_ring_is_arithmetic_modulo_a_power_of_two(values: list[int], bits: int) -> None:
    ring = to_ring(np.array(values, dtype=object), bits)
    back = from_ring(ring, bits)
    assert all((int(b) - v) % (1 << bits) == 0 for b, v in zip(back, values, strict=True))


@given(st.lists(st.sampled_from(["order", "upload", "agree", "open", "restart", "receipt"]), max_size=12))
@settings(deadline=None, max_examples=30)
def test_any_sequence_of_calls_keeps_a_state_that_survives_a_restart(calls: list[str]) -> None:
    """Messages in any order: a typed refusal or a step, and every state comes back from its bytes."""
    c = Consortium(SecAggParams(3, 1, 3, 32, 4))
    _, _, receipt = Consortium(SecAggParams(3, 1, 3, 32, 4)).run(1)
    uploading = c.order(1, ["h001", "h002"])
    _, order = co.start_round(c.session, 1, "train", b"m", b"settings")
    uploading = c.upload_all(uploading, ["h001", "h002"])
    asked = b""
    opened = b""
    state: Any = c.hospitals["h000"]
    for call in calls:
        try:
            match call:
                case "order":
                    state, _ = ho.accept_order(state, order)
                case "upload" if isinstance(state, ho.Ordered):
                    c.hospitals["h000"] = state
                    c.make_upload("h000")
                    state = c.hospitals["h000"]
                    agreeing, requests = co.propose(c.deliver_upload(uploading, "h000"))
                    asked = requests["h000"]
                    agreeing = c.agree_all(agreeing, requests, silent=["h000"])
                case "agree" if isinstance(state, ho.Uploaded | ho.Agreed):
                    state, answer = ho.agree(state, asked)
                    opened = co.request_open(co.add_agreement(agreeing, "h000", answer))[1]["h000"]
                case "open" if isinstance(state, ho.Agreed):
                    state, _ = ho.open_shares(state, opened)
                case "receipt":
                    state, _ = ho.accept_receipt(state, receipt)
        except SecAggError:
            pass
        data = encode_state(state)
        assert decode_state(data, key_of("h000")) == state
