"""How the sparse graph is drawn (SPEC.md, section 10): commit, then reveal, and nobody chooses the neighbors."""

from __future__ import annotations

import hashlib

import pytest

from secagg import coordinator as co
from secagg import drawing, graph, identity, joining, pairs
from secagg import hospital as ho
from secagg.context import label
from secagg.errors import (
    BadSignature,
    GraphNotDrawn,
    KeyListError,
    TooFewNeighbors,
)
from secagg.secret import SecretBytes
from secagg.sparse_table import GRAPHS_PER_HOSPITAL
from secagg.wire import codec
from secagg.wire.records import (
    Advert,
    GraphContribution,
    GraphSeed,
    KeyList,
    Signed,
)
from tests.unit.secagg.loot import nothing
from tests.unit.secagg.rounds import (
    Consortium,
    entropy,
    key_of,
)
from tests.unit.secagg.sparse import ALL, PARAMS, neighbors


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
        ho.reveal_contribution(revealed, c.key_list)  # type: ignore[arg-type]  # not its step
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
