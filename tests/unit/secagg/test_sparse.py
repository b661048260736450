"""The sparse graph (SPEC.md, section 10): rounds are exact, and each rule stops an attack that works without it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from secagg import agreed_set, drawing, graph, identity, joining, pairs, rules
from secagg import coordinator as co
from secagg import hospital as ho
from secagg.context import label
from secagg.errors import (
    BadSignature,
    BothShareKinds,
    GraphNotDrawn,
    KeyListError,
    OrderMismatch,
    ParameterError,
    ProtocolError,
    SecAggError,
    StaleRound,
    TooFewNeighbors,
    TooFewSurvivors,
    WrongStep,
)
from secagg.params import Neighborhood, SecAggParams
from secagg.secret import SecretBytes
from secagg.settling import AgreeRequests
from secagg.sparse_table import GRAPHS_PER_HOSPITAL
from secagg.state_codec import decode_state, encode_state
from secagg.wire import codec
from secagg.wire.records import (
    Advert,
    Agreement,
    AgreeRequest,
    GraphContribution,
    GraphSeed,
    KeyList,
    MemberSignature,
    OpenRequest,
    SetSignature,
    Shares,
    Signed,
    SignRequest,
)
from tests.unit.secagg.rounds import (
    Consortium,
    craft_request,
    entropy,
    exact_sum,
    key_of,
    names,
)

PARAMS = SecAggParams(12, 1, 7, 32, 20, Neighborhood(6, 4))
ALL = names(12)


def nothing(*_: object, **__: object) -> None:
    """A rule that is switched off."""


def uploaded(params: SecAggParams = PARAMS, absent: tuple[str, ...] = ()) -> tuple[Consortium, co.Uploading]:
    c = Consortium(params)
    present = [name for name in c.hospitals if name not in absent]
    return c, c.upload_all(c.order(1, c.hospitals), present)


def neighbors(c: Consortium, name: str) -> tuple[str, ...]:
    return c.session.participants.peers(name)


def craft(uploading: co.Uploading, members: Any, receiver: str) -> bytes:
    """An agree request of a malicious coordinator: any set, the right deposits."""
    chosen = tuple(sorted(members))
    agreeing, _ = co.propose(replace(uploading, uploads={m: uploading.uploads[m] for m in chosen}))
    return AgreeRequests(uploading, chosen, agreeing.proposed_bytes)[receiver]


def asking(c: Consortium, name: str, request: bytes) -> Callable[[], tuple[ho.Agreed, bytes]]:
    return lambda: ho.agree(c.hospitals[name], request)  # type: ignore[arg-type]


# ---- the protocol works


@pytest.mark.parametrize("lost", [(), (ALL[3],)])
def test_the_sum_is_exact_whoever_falls_silent(lost: tuple[str, ...]) -> None:
    c = Consortium(PARAMS, lost=lost)
    ring = c.session.participants.graph.ring  # type: ignore[union-attr]
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
    silent = c.session.participants.graph.ring[3]  # type: ignore[union-attr]
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
        assert set(c.hospitals[name].after.chains) == set(around)  # type: ignore[union-attr]
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
        assert c.hospitals[name].graphs == 1  # type: ignore[union-attr]
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


# ---- rules of the round


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


def craft_small(uploading: co.Uploading, members: Any, receiver: str) -> bytes:
    """`craft` below the threshold that an honest coordinator keeps."""
    full = craft_request(uploading, members, receiver)
    data = codec.unpack("agree_request", AgreeRequest, full).agreed_set
    return AgreeRequests(uploading, tuple(sorted(members)), data)[receiver]


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
        ho.agree(settled, craft(uploading, small, name))  # type: ignore[arg-type]
    with pytest.raises(AttributeError):
        ho.settle(ho.agree(settled, craft(uploading, small, name))[0], first)  # type: ignore[arg-type]
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
        ho.open_shares(c.hospitals[ALL[0]], request)  # type: ignore[arg-type]
    monkeypatch.setattr(rules, "final_set_is_signed", nothing)
    monkeypatch.setattr(rules, "everybody_signed", nothing)
    ho.open_shares(c.hospitals[ALL[0]], request)  # type: ignore[arg-type]


def test_the_final_set_opens_against_a_threshold_of_all_hospitals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Signing stays global: all neighbors together are not enough."""
    c, uploading = uploaded()
    settling = c.settle_all(c.agree_all(*co.propose(uploading)))
    name = ALL[0]
    given = settling.agreeing.signatures
    few = tuple(MemberSignature(who, given[who]) for who in neighbors(c, name))
    request = codec.pack("open_request", OpenRequest(1, few))
    with pytest.raises(TooFewSurvivors):
        ho.open_shares(c.hospitals[name], request)  # type: ignore[arg-type]
    monkeypatch.setattr(agreed_set, "check_signatures", nothing)
    ho.open_shares(c.hospitals[name], request)  # type: ignore[arg-type]


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
    again, _ = ho.agree(kept, craft(uploading, ALL, name))  # type: ignore[arg-type]
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
    _, data = ho.open_shares(c.hospitals[name], asked[name])  # type: ignore[arg-type]
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
        ho.settle(complete.hospitals[ALL[0]], codec.pack("sign_request", SignRequest(2, digest)))  # type: ignore[arg-type]


# ---- commit, then reveal


def signed_advert(c: Consortium, name: str, key: bytes, commitment: bytes, signer: str = "") -> Signed:
    body = codec.encode(Advert(name, key, commitment))
    return Signed(body, identity.sign(key_of(signer or name), pairs.advert_label(c.context), body))


def with_advert(c: Consortium, name: str, advert: Signed) -> bytes:
    """The key list with one advert exchanged."""
    listed = codec.unpack("key_list", KeyList, c.key_list)
    place = c.session.participants.ids.index(name)
    adverts = (*listed.adverts[:place], advert, *listed.adverts[place + 1 :])
    return codec.pack("key_list", KeyList(listed.first_round, adverts))


def contributions(c: Consortium) -> list[bytes]:
    return list(codec.unpack("graph_seed", GraphSeed, c.graph_seed).contributions)


def friends_around(ring: tuple[str, ...], victim: str, friends: set[str], degree: int) -> int:
    drawn = graph.Graph(ring, degree, frozenset(ring))
    return len(friends & set(drawn.neighbors(victim)))


def test_the_last_advertiser_cannot_grind_the_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    """A coordinator tries contributions of its hospital until three accomplices surround the victim: none fits its commitment."""
    c = Consortium(PARAMS)
    victim, last, friends = ALL[0], ALL[11], {ALL[9], ALL[10], ALL[11]}
    known = contributions(c)
    listed = drawing.read_listed(codec.expect("key_list", c.key_list), PARAMS, c.roster)

    def ground() -> bytes:
        for attempt in range(2000):
            tried = [*known[:-1], entropy("grind", attempt)]
            digest = graph.seeded_hash(c.context, pairs.key_list_hash(c.context, listed.payload), tried)
            drawn = graph.draw_graph(c.context, digest, c.roster.ids, 6, frozenset(ALL))
            if friends_around(drawn.ring, victim, friends, 6) == 3:
                return codec.pack("graph_seed", GraphSeed(tuple(tried)))
        raise AssertionError("grinding found nothing")

    state, _ = c.advertise(victim)
    revealed, _ = ho.reveal_contribution(state, c.key_list)
    message = ground()
    with pytest.raises(KeyListError, match=last):
        ho.accept_graph_seed(revealed, message)
    monkeypatch.setattr(drawing, "check_contribution", nothing)
    ready = ho.accept_graph_seed(revealed, message)
    assert friends <= set(ready.participants.peers(victim))


def test_a_seed_of_the_key_list_alone_could_be_ground() -> None:
    """The mutant: the ring follows from adverts only. The last advertiser tries keys until its friends surround the victim."""
    c = Consortium(PARAMS)
    victim, friends = ALL[0], {ALL[9], ALL[10], ALL[11]}
    for attempt in range(2000):
        changed = with_advert(
            c, ALL[11], signed_advert(c, ALL[11], entropy("key", attempt)[:31] + b"\0", bytes(32))
        )
        digest = pairs.key_list_hash(c.context, codec.expect("key_list", changed))
        drawn = graph.draw_graph(c.context, digest, c.roster.ids, 6, frozenset(ALL))
        if friends_around(drawn.ring, victim, friends, 6) == 3:
            return
    raise AssertionError("grinding found nothing")


def test_who_refuses_to_reveal_stops_the_session_and_nothing_else() -> None:
    c = Consortium(PARAMS)
    collecting = co.collect_adverts(key_of("coordinator"), c.params, c.roster, c.context)
    states = {}
    for name in ALL:
        states[name], advert = c.advertise(name)
        collecting = co.add_advert(collecting, name, advert)
    revealing, key_list = co.fix_commitments(collecting)
    for name in ALL[:-1]:
        revealing = co.add_contribution(revealing, name, ho.reveal_contribution(states[name], key_list)[1])
    assert co.missing_contributions(revealing) == {ALL[-1]}
    with pytest.raises(GraphNotDrawn, match=ALL[-1]):
        co.close_contributions(revealing)
    # A malicious coordinator leaves it out: the hospitals want one contribution for each advert.
    short = codec.pack("graph_seed", GraphSeed(tuple(contributions(c)[:-1])))
    revealed, _ = ho.reveal_contribution(states[ALL[0]], key_list)
    with pytest.raises(KeyListError):
        ho.accept_graph_seed(revealed, short)
    with pytest.raises(KeyListError):
        co.add_contribution(
            revealing, ALL[-1], codec.pack("graph_contribution", GraphContribution(bytes(32)))
        )
    assert set(Consortium(PARAMS, lost=[ALL[-1]], session_number=1).run(1)[0].members) == set(ALL[:-1])


def test_a_hospital_reveals_once_a_session_and_a_few_times_a_study(monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaking off until a graph pleases costs one of few tries; without the count they would be free."""
    c = Consortium(PARAMS)
    seed = entropy("session key", ALL[0], 0)

    def join(graphs: int) -> ho.Advertised:
        return ho.advertise(key_of(ALL[0]), PARAMS, c.roster, c.context, ALL[0], seed, graphs=graphs)[0]

    revealed, _ = ho.reveal_contribution(join(GRAPHS_PER_HOSPITAL - 1), c.key_list)
    assert revealed.advertised.graphs == GRAPHS_PER_HOSPITAL
    assert revealed.advertised.contribution is None
    with pytest.raises(AttributeError):
        ho.reveal_contribution(revealed, c.key_list)  # type: ignore[arg-type]
    with pytest.raises(GraphNotDrawn):
        ho.reveal_contribution(join(GRAPHS_PER_HOSPITAL), c.key_list)
    monkeypatch.setattr(joining, "few_graphs", nothing)
    ho.reveal_contribution(join(10_000), c.key_list)


def test_a_forged_advert_of_a_neighbor_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The coordinator puts its own key in for a neighbor; without the check it reads the shares sealed for it."""
    c = Consortium(PARAMS)
    name = ALL[0]
    state, _ = c.advertise(name)
    forged = {}
    for victim in ALL[1:]:
        own = SecretBytes(entropy("forged", victim))
        commitment = graph.commit_to_contribution(c.context, victim, SecretBytes(entropy("r", victim)))
        advert = signed_advert(c, victim, pairs.exchange_public(own), commitment, signer=ALL[11])
        message = with_advert(c, victim, advert)
        revealed, _ = ho.reveal_contribution(state, message)
        given = contributions(c)
        given[ALL.index(victim)] = entropy("r", victim)
        seed = codec.pack("graph_seed", GraphSeed(tuple(given)))
        drawn = drawing.draw_participants(revealed.listed, given, PARAMS, c.roster, c.context)
        forged[victim] = victim in drawn.peers(name)
        if forged[victim] and victim != ALL[11]:
            with pytest.raises(BadSignature):
                ho.accept_graph_seed(revealed, seed)
            with monkeypatch.context() as off:
                off.setattr(drawing, "verify_advert", nothing)
                assert victim in ho.accept_graph_seed(revealed, seed).chains
        else:
            assert victim not in ho.accept_graph_seed(revealed, seed).chains or victim == ALL[11]
        # The hospital whose advert it is refuses the list in any case.
        other, _ = c.advertise(victim)
        with pytest.raises(KeyListError):
            ho.reveal_contribution(other, message)
    assert set(forged.values()) == {True, False}


@pytest.mark.parametrize("far", [False, True])
def test_a_copied_key_is_refused_wherever_it_stands(far: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Distinct keys need no signature: everybody compares the whole list, neighbors or not."""
    c = Consortium(PARAMS)
    name = ALL[0]
    copier = next(peer for peer in ALL[1:] if (peer not in neighbors(c, name)) == far)
    copied = c.session.participants.keys[ALL[5] if copier != ALL[5] else ALL[6]]
    message = with_advert(c, copier, signed_advert(c, copier, copied, bytes(32)))
    state, _ = c.advertise(name)
    with pytest.raises(KeyListError):
        ho.reveal_contribution(state, message)
    monkeypatch.setattr(pairs, "check_distinct_keys", nothing)
    ho.reveal_contribution(state, message)


def test_key_lists_that_differ_share_no_round() -> None:
    """A split view: two hospitals with one advert exchanged between them derive other graphs, labels and masks."""
    c = Consortium(PARAMS)
    name, other = ALL[0], ALL[1]
    advert = signed_advert(
        c,
        ALL[11],
        pairs.exchange_public(SecretBytes(entropy("second"))),
        graph.commit_to_contribution(c.context, ALL[11], SecretBytes(bytes(32))),
    )
    state, _ = c.advertise(name)
    revealed, _ = ho.reveal_contribution(state, with_advert(c, ALL[11], advert))
    with pytest.raises(KeyListError):
        ho.accept_graph_seed(revealed, c.graph_seed)
    seed = codec.pack("graph_seed", GraphSeed((*contributions(c)[:-1], bytes(32))))
    ready = ho.accept_graph_seed(revealed, seed)
    assert ready.participants.hash != c.session.participants.hash
    _, order = co.start_round(c.session, 1, "train", b"m", b"settings")
    with pytest.raises(BadSignature):
        ho.accept_order(ready, order)
    assert isinstance(c.hospitals[other], ho.Ready)


def test_too_few_neighbors_in_the_key_list_end_the_session_for_that_hospital() -> None:
    c = Consortium(PARAMS)
    drawn = c.session.participants.graph
    assert drawn is not None
    around = drawn.neighbors(ALL[0])
    thin = graph.Graph(drawn.ring, 6, frozenset(set(ALL) - set(around[:3])))
    state, _ = c.advertise(ALL[0])
    revealed, _ = ho.reveal_contribution(state, c.key_list)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(graph, "draw_graph", lambda *_: thin)
        with pytest.raises(TooFewNeighbors):
            ho.accept_graph_seed(revealed, c.graph_seed)


def test_the_ring_is_in_the_order_of_hashes() -> None:
    c = Consortium(PARAMS)
    drawn = c.session.participants.graph
    assert drawn is not None
    digest = c.session.participants.hash
    places = [
        hashlib.sha256(label(c.context, "ring-place", key_list=digest, hospital=name)).digest()
        for name in drawn.ring
    ]
    assert places == sorted(places)
    first = drawn.ring[0]
    assert set(drawn.neighbors(first)) == {drawn.ring[i] for i in (-3, -2, -1, 1, 2, 3)}


def test_messages_of_the_sparse_graph_never_crash_a_machine() -> None:
    c, _ = uploaded()
    advertised, _ = c.advertise(ALL[0])
    revealed, _ = ho.reveal_contribution(advertised, c.key_list)
    for message in (b"", b"\x00", c.key_list[:-1], c.graph_seed[:-1], c.graph_seed + b"\0"):
        for arrow, state in ((ho.reveal_contribution, advertised), (ho.accept_graph_seed, revealed)):
            with pytest.raises(SecAggError):
                arrow(state, message)  # type: ignore[operator]


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
