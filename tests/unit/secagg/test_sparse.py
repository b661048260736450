"""The sparse graph (SPEC.md, section 10): rounds are exact, and no message breaks a machine or is taken twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from secagg import coordinator as co
from secagg import hospital as ho
from secagg.errors import (
    SecAggError,
)
from secagg.secret import SecretBytes
from secagg.state_codec import decode_state, encode_state
from secagg.wire import codec
from secagg.wire.records import (
    GraphContribution,
)
from tests.unit.secagg.rounds import (
    Consortium,
    exact_sum,
    key_of,
)
from tests.unit.secagg.sparse import ALL, PARAMS, neighbors, uploaded


@pytest.mark.parametrize("lost", [(), (ALL[3],)])
def test_the_sum_is_exact_whoever_falls_silent(lost: tuple[str, ...]) -> None:
    c = Consortium(PARAMS, lost=lost)
    ring = c.ring
    gone = [name for name in ring[::4] if name not in lost]
    late = () if lost else gone[2:3]
    opening, total, receipt = c.run(1, no_upload=gone[:1], no_agree=gone[1:2], no_open=late)
    assert set(opening.members) == set(ALL) - set(lost) - set(gone[:2])
    assert (total == exact_sum(PARAMS, [c.vectors[name] for name in opening.members])).all()
    assert {who.body.round for who in c.deliver_receipt(receipt).values()} == {1}
    _, again, _ = c.run(2, previous=receipt, no_sign=gone[:1])
    assert (again == exact_sum(PARAMS, [c.vectors[name] for name in c.hospitals])).all()


def test_who_is_silent_at_signing_stays_in_the_sum() -> None:
    c = Consortium(PARAMS)
    silent = c.ring[3]
    opening, total, receipt = c.run(1, no_sign=[silent])
    assert silent in opening.members
    assert (total == exact_sum(PARAMS, [c.vectors[name] for name in ALL])).all()
    verified = c.deliver_receipt(receipt)
    assert len(verified[ALL[0]].body.signatures) == 11


def test_masks_seals_and_shares_are_the_neighbors_alone() -> None:
    c, uploading = uploaded()
    for name in ALL:
        around = neighbors(c, name)
        assert len(around) == 6
        assert name not in around
        assert all(name in neighbors(c, peer) for peer in around)
        assert set(c.hospitals[name].after.chains) == set(around)
        assert tuple(uploading.uploads[name].seals) == around
        assert len(uploading.uploads[name].header.share_commitments) == 6


def test_every_state_survives_a_restart() -> None:
    def again(state: Any) -> Any:
        data = encode_state(state)
        read = decode_state(data, key_of(state.seat.me if hasattr(state, "seat") else state.after.seat.me))
        assert read == state
        assert encode_state(read) == data
        return read

    c = Consortium(PARAMS)
    for name in ALL[:2]:
        state, _ = c.advertise(name)
        revealed, contribution = ho.reveal_contribution(again(state), c.key_list)
        assert contribution == ho.reveal_contribution(state, c.key_list)[1]
        assert again(ho.accept_graph_seed(again(revealed), c.graph_seed)) == c.hospitals[name]
        assert c.hospitals[name].graphs == 1
        assert SecretBytes(codec.unpack("graph_contribution", GraphContribution, contribution).contribution)
    uploading = c.order(1, c.hospitals)
    seen = [again(c.hospitals[ALL[0]])]
    uploading = c.upload_all(uploading, ALL)
    seen.append(again(c.hospitals[ALL[0]]))
    agreeing = c.agree_all(*co.propose(uploading))
    seen.append(again(c.hospitals[ALL[0]]))
    settling = c.settle_all(agreeing)
    seen.append(again(c.hospitals[ALL[0]]))
    c.open_all(*co.request_open(settling))
    seen.append(again(c.hospitals[ALL[0]]))
    kinds = [type(state).__name__ for state in seen]
    assert kinds == ["Ordered", "Uploaded", "Agreed", "Settled", "Opened"]


def test_messages_of_the_sparse_graph_never_crash_a_machine() -> None:
    c, _ = uploaded()
    advertised, _ = c.advertise(ALL[0])
    revealed, _ = ho.reveal_contribution(advertised, c.key_list)
    for message in (b"", b"\x00", c.key_list[:-1], c.graph_seed[:-1], c.graph_seed + b"\0"):
        for arrow, state in ((ho.reveal_contribution, advertised), (ho.accept_graph_seed, revealed)):
            with pytest.raises(SecAggError):
                arrow(state, message)


@pytest.mark.threat("FL-11", control="C-FRESH")
def test_every_message_again_in_every_state_of_a_sparse_session() -> None:
    """Replay and reflection: each state takes what its step waits for, and nothing else of a session goes through."""
    c = Consortium(PARAMS)
    me = ALL[0]
    advertised, advert = c.advertise(me)
    revealed, contribution = ho.reveal_contribution(advertised, c.key_list)
    states: dict[str, ho.HospitalState] = {"Advertised": advertised, "Revealed": revealed}
    messages = {"advert": advert, "key_list": c.key_list}
    messages |= {"graph_contribution": contribution, "graph_seed": c.graph_seed}
    uploading = c.order(1, c.hospitals)
    messages["round_order"], states["Ordered"] = c.messages[0], c.hospitals[me]
    uploading = c.upload_all(uploading, ALL)
    messages["header"], states["Uploaded"] = c.uploads[me].header, c.hospitals[me]
    agreeing, requests = co.propose(uploading)
    messages["agree_request"] = requests[me]
    agreeing = c.agree_all(agreeing, requests)
    messages["agreement"], states["Agreed"] = c.agree(me, requests[me]), c.hospitals[me]
    settling, asked = co.request_signatures(agreeing)
    messages["sign_request"] = asked[me]
    settling = c.settle_all(agreeing)
    messages["set_signature"], states["Settled"] = c.messages[-1], c.hospitals[me]
    opening, opens = co.request_open(settling)
    messages["open_request"] = opens[me]
    opening = c.open_all(opening, opens)
    messages["shares"], states["Opened"] = c.messages[-1], c.hospitals[me]
    messages["receipt"] = co.make_receipt(opening, co.unmask(opening, c.masked(ALL)))
    arrows: dict[Callable[..., Any], tuple[type, ...]] = {
        ho.accept_key_list: (ho.Advertised,),
        ho.reveal_contribution: (ho.Advertised,),
        ho.accept_graph_seed: (ho.Revealed,),
        ho.accept_order: (ho.Ordered, ho.Uploaded, ho.Agreed, ho.Settled, ho.Opened),
        ho.agree: (ho.Uploaded, ho.Agreed),
        ho.settle: (ho.Agreed,),
        ho.open_shares: (ho.Agreed, ho.Settled),
        ho.accept_receipt: (ho.Ordered, ho.Uploaded, ho.Agreed, ho.Settled, ho.Opened),
    }

    def takes(arrow: Callable[..., Any], state: ho.HospitalState, data: bytes) -> bool:
        try:
            arrow(state, data)
        except SecAggError:
            return False
        return True

    taken = {
        name: {
            told
            for told, data in messages.items()
            if any(takes(arrow, state, data) for arrow, fit in arrows.items() if isinstance(state, fit))
        }
        for name, state in states.items()
    }
    assert taken == {
        "Advertised": {"key_list"},
        "Revealed": {"graph_seed"},
        "Ordered": {"receipt"},
        "Uploaded": {"agree_request", "receipt"},
        "Agreed": {"agree_request", "sign_request", "receipt"},
        "Settled": {"open_request", "receipt"},
        "Opened": {"receipt"},
    }
