"""Rules of a round over the sparse graph (SPEC.md, section 10): each stops an attack that works without it."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest

from secagg import agreed_set, identity, rules
from secagg import coordinator as co
from secagg import hospital as ho
from secagg.errors import (
    BothShareKinds,
    KeyListError,
    OrderMismatch,
    ParameterError,
    ProtocolError,
    StaleRound,
    TooFewNeighbors,
    TooFewSurvivors,
    WrongStep,
)
from secagg.params import Neighborhood, SecAggParams
from secagg.wire import codec
from secagg.wire.records import (
    Agreement,
    MemberSignature,
    OpenRequest,
    SetSignature,
    Shares,
    SignRequest,
)
from tests.unit.secagg.loot import nothing
from tests.unit.secagg.rounds import (
    Consortium,
    key_of,
)
from tests.unit.secagg.sparse import ALL, PARAMS, asking, craft, craft_small, neighbors, uploaded


@pytest.mark.threat("FL-03", control="C-COHORT")
def test_a_neighborhood_below_its_threshold_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the rule a victim reveals the seeds with so many neighbors that hardly any mask is left on it."""
    c, uploading = uploaded()
    victim = ALL[0]
    gone = neighbors(c, victim)[:3]
    request = craft(uploading, set(ALL) - set(gone), victim)
    with pytest.raises(TooFewNeighbors) as refused:
        asking(c, victim, request)()
    assert (refused.value.needed, refused.value.present, refused.value.hospital) == (4, 3, victim)
    monkeypatch.setattr(rules, "neighborhood_is_large_enough", nothing)
    _, answer = asking(c, victim, request)()
    revealed = {seed.hospital for seed in codec.unpack("agreement", Agreement, answer).seeds}
    assert revealed == set(gone)


def test_a_set_below_the_global_threshold_is_refused_though_the_neighborhood_is_full(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A sum over 7 - 1 hospitals only: a victim with all its neighbors is no more than k + 1."""
    c, uploading = uploaded(SecAggParams(12, 1, 8, 32, 20, Neighborhood(6, 4)))
    victim = ALL[0]
    request = craft_small(uploading, {victim, *neighbors(c, victim)}, victim)
    with pytest.raises(TooFewSurvivors):
        asking(c, victim, request)()
    monkeypatch.setattr(rules, "set_is_large_enough", nothing)
    asking(c, victim, request)()


@pytest.mark.threat("FL-07", control="C-CONSIST")
def test_a_second_final_set_is_refused() -> None:
    """Signed once: the state after it fits no other set. A hospital that kept the state before signs two sets."""
    c, uploading = uploaded()
    name = ALL[0]
    small = sorted(set(ALL) - {next(peer for peer in ALL[1:] if peer not in neighbors(c, name))})
    agreed, _ = asking(c, name, craft(uploading, ALL, name))()
    frame = agreed.frame
    large_hash = agreed_set.set_hash(frame, agreed.agreed_set)
    first = codec.pack("sign_request", SignRequest(1, large_hash))
    settled, signature = ho.settle(agreed, first)
    with pytest.raises(AttributeError):
        ho.agree(settled, craft(uploading, small, name))  # type: ignore[arg-type]  # not its step
    with pytest.raises(AttributeError):
        ho.settle(ho.agree(settled, craft(uploading, small, name))[0], first)  # type: ignore[arg-type]  # not its step
    # The control off: the state before was kept, and two sets carry its signature.
    again, _ = ho.agree(agreed, craft(uploading, small, name))
    second_hash = agreed_set.set_hash(frame, again.agreed_set)
    _, second = ho.settle(again, codec.pack("sign_request", SignRequest(1, second_hash)))
    signed = [codec.unpack("set_signature", SetSignature, data) for data in (signature, second)]
    public = c.roster.member(name).identity_key
    for entry, data in zip(signed, (agreed.agreed_set, again.agreed_set), strict=True):
        identity.verify(public, frame.label("agree"), data, entry.signature)
    assert signed[0].set_hash != signed[1].set_hash


def test_only_the_set_agreed_to_last_is_signed(monkeypatch: pytest.MonkeyPatch) -> None:
    c, uploading = uploaded()
    name = ALL[0]
    agreed, _ = asking(c, name, craft(uploading, ALL, name))()
    earlier = agreed_set.set_hash(agreed.frame, agreed.agreed_set)
    smaller, _ = ho.agree(agreed, craft(uploading, set(ALL) - {neighbors(c, name)[0]}, name))
    request = codec.pack("sign_request", SignRequest(1, earlier))
    with pytest.raises(WrongStep):
        ho.settle(smaller, request)
    with pytest.raises(StaleRound):
        ho.settle(smaller, codec.pack("sign_request", SignRequest(2, earlier)))
    monkeypatch.setattr(rules, "final_set_is", nothing)
    ho.settle(smaller, request)


def test_nothing_is_opened_but_the_final_set(monkeypatch: pytest.MonkeyPatch) -> None:
    c, uploading = uploaded()
    agreeing = c.agree_all(*co.propose(uploading))
    with pytest.raises(WrongStep):
        co.request_open(agreeing)
    frame, data = uploading.frame, agreeing.proposed_bytes
    signatures = tuple(MemberSignature(w, agreed_set.sign_set(key_of(w), frame, data)) for w in ALL[:7])
    request = codec.pack("open_request", OpenRequest(1, signatures))
    with pytest.raises(WrongStep):
        ho.open_shares(c.hospitals[ALL[0]], request)
    monkeypatch.setattr(rules, "final_set_is_signed", nothing)
    monkeypatch.setattr(rules, "everybody_signed", nothing)
    ho.open_shares(c.hospitals[ALL[0]], request)


def test_the_final_set_opens_against_a_threshold_of_all_hospitals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Signing stays global: all neighbors together are not enough."""
    c, uploading = uploaded()
    settling = c.settle_all(c.agree_all(*co.propose(uploading)))
    name = ALL[0]
    given = settling.agreeing.signatures
    few = tuple(MemberSignature(who, given[who]) for who in neighbors(c, name))
    request = codec.pack("open_request", OpenRequest(1, few))
    with pytest.raises(TooFewSurvivors):
        ho.open_shares(c.hospitals[name], request)
    monkeypatch.setattr(agreed_set, "check_signatures", nothing)
    ho.open_shares(c.hospitals[name], request)


@pytest.mark.threat("FL-08", control="C-ONESHARE")
def test_never_both_kinds_of_share_for_one_neighbor(monkeypatch: pytest.MonkeyPatch) -> None:
    c, uploading = uploaded()
    name = ALL[0]
    peer = neighbors(c, name)[0]
    agreed, answer = asking(c, name, craft(uploading, set(ALL) - {peer}, name))()
    assert [seed.hospital for seed in codec.unpack("agreement", Agreement, answer).seeds] == [peer]
    assert peer not in agreed.shares
    with pytest.raises(BothShareKinds):
        ho.agree(agreed, craft(uploading, ALL, name))
    monkeypatch.setattr(rules, "set_only_shrinks", nothing)
    with pytest.raises(KeyError):
        # Its share of the dropped is gone: the state holds none.
        ho.agree(agreed, craft(uploading, ALL, name))
    kept = c.hospitals[name]
    again, _ = ho.agree(kept, craft(uploading, ALL, name))
    digest = agreed_set.set_hash(again.frame, again.agreed_set)
    settled, _ = ho.settle(again, codec.pack("sign_request", SignRequest(1, digest)))
    signatures = tuple(
        MemberSignature(w, agreed_set.sign_set(key_of(w), again.frame, again.agreed_set)) for w in ALL
    )
    _, shares = ho.open_shares(settled, codec.pack("open_request", OpenRequest(1, signatures)))
    opened = {entry.dealer for entry in codec.unpack("shares", Shares, shares).shares}
    assert peer in opened, "who forgets what it agreed to gives both"


@pytest.mark.threat("FL-07", control="C-CONSIST")
def test_a_neighbor_with_another_order_aborts(monkeypatch: pytest.MonkeyPatch) -> None:
    c = Consortium(PARAMS)
    name = ALL[0]
    other = neighbors(c, name)[0]
    told = c.order(1, [name for name in ALL if name != other])
    elsewhere = c.order(1, [other], model=b"another model")
    told = c.upload_all(told, [name for name in ALL if name != other])
    sent = c.make_upload(other)
    with pytest.raises(OrderMismatch):
        c.deliver_upload(told, other)
    theirs = co.add_upload(
        elsewhere, other, sent.header, sent.seals, hashlib.sha256(sent.vector).digest()
    ).uploads[other]
    mixed = replace(told, uploads={**told.uploads, other: theirs})
    request = craft(mixed, ALL, name)
    with pytest.raises(OrderMismatch):
        asking(c, name, request)()
    monkeypatch.setattr(rules, "orders_are_equal", nothing)
    # The seal is under another label: the order binds twice.
    with pytest.raises(ProtocolError):
        asking(c, name, request)()


def test_a_share_of_a_dealer_that_is_no_neighbor_is_not_taken() -> None:
    c, uploading = uploaded()
    opening, asked = co.request_open(c.settle_all(c.agree_all(*co.propose(uploading))))
    name = ALL[0]
    far = next(peer for peer in ALL[1:] if peer not in neighbors(c, name))
    _, data = ho.open_shares(c.hospitals[name], asked[name])
    answer = codec.unpack("shares", Shares, data)
    changed = sorted((replace(answer.shares[0], dealer=far), *answer.shares[1:]), key=lambda s: s.dealer)
    with pytest.raises(WrongStep):
        co.add_shares(opening, name, codec.pack("shares", Shares(1, tuple(changed))))


def test_machines_of_one_graph_refuse_the_steps_of_the_other() -> None:
    sparse = Consortium(PARAMS)
    complete = Consortium(SecAggParams(4, 1, 3, 32, 5))
    state, _ = sparse.advertise(ALL[0])
    with pytest.raises(KeyListError):
        ho.accept_key_list(state, sparse.key_list)
    other, advert = complete.advertise(ALL[0])
    with pytest.raises(KeyListError):
        ho.reveal_contribution(other, complete.key_list)
    collecting = co.collect_adverts(key_of("coordinator"), sparse.params, sparse.roster, sparse.context)
    with pytest.raises(ParameterError):
        co.close_adverts(collecting)
    plain = co.collect_adverts(key_of("coordinator"), complete.params, complete.roster, complete.context)
    with pytest.raises(ParameterError):
        co.fix_commitments(co.add_advert(plain, ALL[0], advert))
    complete.order(1, complete.hospitals)
    uploading = complete.upload_all(complete.order(2, complete.hospitals), complete.hospitals)
    agreeing = complete.agree_all(*co.propose(uploading))
    with pytest.raises(WrongStep):
        co.request_signatures(agreeing)
    digest = agreed_set.set_hash(uploading.frame, agreeing.proposed_bytes)
    with pytest.raises(WrongStep):
        ho.settle(complete.hospitals[ALL[0]], codec.pack("sign_request", SignRequest(2, digest)))
