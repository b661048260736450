"""What one hospital tells of its noise, by the size of the set that its machine opened."""

from __future__ import annotations

from copy import copy
from dataclasses import replace

import numpy as np
import pytest

from hospital_node.spare_noise import SpareNoise
from secagg import coordinator as co
from secagg import hospital as ho
from secagg.params import Neighborhood, SecAggParams
from secagg.wire import codec, records
from tests.unit.secagg.rounds import Consortium, names

# n = 6, T = 1, t = 4: a share has three layers.
PARAMS = SecAggParams(6, 1, 4, 64, 3)
LAYERS = np.array([[100, 200, 300], [10, 20, -30], [1, -2, 3]], dtype=np.int64)


def opened(members: int) -> ho.Opened:
    """The first hospital's state behind a round over so many."""
    c = Consortium(PARAMS)
    uploading = c.upload_all(c.order(1, c.hospitals), names(6)[:members])
    c.open_all(*co.request_open(c.agree_all(*co.propose(uploading))))
    state = c.hospitals["h000"]
    assert isinstance(state, ho.Opened)
    return state


@pytest.mark.parametrize(
    ("members", "told"), [(4, None), (5, [1, -2, 3]), (6, [11, 18, -27])], ids=["t", "t + 1", "n"]
)
def test_the_first_layer_is_never_told_and_of_the_others_as_many_as_the_set_is_too_large(
    members: int, told: list[int] | None
) -> None:
    state = opened(members)
    messages = SpareNoise(state.frame, LAYERS, 4, 64).told(state)
    if told is None:
        assert messages == ()
        return
    piece = codec.unpack("spare_noise", records.SpareNoise, messages[0])
    assert (len(messages), piece.round, piece.offset) == (1, 1, 0)
    assert np.frombuffer(piece.data, dtype="<i8").tolist() == told


def test_noise_of_another_round_or_session_is_not_told() -> None:
    state = opened(6)
    for frame in (
        replace(state.frame, round=2),
        replace(state.frame, context=replace(state.frame.context, session_id=bytes(16))),
    ):
        assert SpareNoise(frame, LAYERS, 4, 64).told(state) == ()


def test_noise_is_not_told_over_a_sparse_graph() -> None:
    """Whatever the study says: there a set opens without the signatures of all its members."""
    state = opened(6)
    sparse = copy(state.after.seat.params)
    object.__setattr__(sparse, "neighborhood", Neighborhood(4, 3))
    after = replace(state.after, seat=replace(state.after.seat, params=sparse))
    assert SpareNoise(state.frame, LAYERS, 4, 64).told(replace(state, after=after)) == ()


def test_layers_are_in_no_repr() -> None:
    assert "100" not in repr(SpareNoise(opened(6).frame, LAYERS, 4, 64))
