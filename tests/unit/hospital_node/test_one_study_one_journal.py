"""A study's graphs are counted by its name, whatever its agreement's noise; and one process alone goes on with a journal."""

from __future__ import annotations

from dataclasses import replace
from math import nextafter
from pathlib import Path

import pytest

from coordinator.entropy import OsEntropy
from hospital_node.journal import Journal, JournalTaken
from privacy.guarantees.plan import DpPlan
from privacy.studies.agreement import Agreement, from_bytes
from secagg import coordinator as protocol
from secagg.context import Context
from secagg.params import PROTOCOL_VERSION
from secagg.sparse_table import GRAPHS_PER_HOSPITAL
from secagg.wire import codec
from secagg.wire.records import SessionStart, StudyOffer
from tests.consortium import HOSPITALS, Hand, World
from tests.unit.coordinator.test_sparse_sessions import SPARSE
from tests.unit.coordinator.test_statistics_study import DISTRIBUTED
from tests.unit.hospital_node.test_process_lock import without_lock

STUDY = bytes(32)


def noisier(agreement: Agreement) -> Agreement:
    """The same study under an agreement of another hash, which every hospital accepts: a trifle more noise."""
    plan = agreement.plan
    assert plan is not None
    first, *others = plan.releases
    more = replace(first, noise_multiplier=nextafter(first.noise_multiplier, 1e9))
    made = replace(agreement, plan=DpPlan((more, *others), plan.epsilon, plan.delta, plan.stage), data=b"")
    return from_bytes(made.to_bytes(), agreement.study)


def draw(world: World, agreement: Agreement) -> list[str]:
    """One try of a coordinator at a graph under this agreement: the kinds of what hospital a answers last."""
    roster = world.signed.roster
    study_hash = bytes.fromhex(agreement.hash)
    context = Context(PROTOCOL_VERSION, study_hash, roster.hash, OsEntropy().take(16))
    identity = world.keys["coordinator"].identity_private
    collecting = protocol.collect_adverts(identity, agreement.secagg, roster, context, first_round=1)
    start = codec.pack("session_start", SessionStart(study_hash, roster.hash, context.session_id))
    for hospital, node in world.nodes.items():
        list(node.on_message(codec.pack("study_offer", StudyOffer(agreement.to_bytes(), roster.canonical))))
        (answer,) = node.on_message(start)
        if codec.unwrap(answer)[0] == "abort":
            return ["abort"]
        collecting = protocol.add_advert(collecting, hospital, answer)
    _, key_list = protocol.fix_commitments(collecting)
    return [codec.unwrap(reply)[0] for reply in world.nodes["a"].on_message(key_list)]


def test_an_agreement_with_other_noise_brings_no_further_graphs(tmp_path: Path) -> None:
    world = World.of(tmp_path, *SPARSE[:1], *DISTRIBUTED)
    for _ in range(GRAPHS_PER_HOSPITAL):
        assert draw(world, world.agreement) == ["graph_contribution"]
    assert draw(world, world.agreement) == ["abort"]
    other = noisier(world.agreement)
    assert other.hash != world.agreement.hash
    for hospital in HOSPITALS:
        world.restart(hospital)
    assert draw(world, other) == ["abort"]


def test_a_second_process_does_not_go_on_where_the_first_one_does(tmp_path: Path) -> None:
    """Each would open a set of its own: both kinds of share, and noise told for one set while the sum over another is solvable."""
    world = World.of(tmp_path, *DISTRIBUTED)
    hand = Hand(world).join()
    state, order = hand.order(1)
    state = hand.uploads(state, {hospital: hand.ask(hospital, order) for hospital in HOSPITALS})
    agreeing, requests = protocol.propose(state)
    for hospital, request in requests.items():
        agreeing = protocol.add_agreement(agreeing, hospital, hand.ask(hospital, request)[0])
    first = world.nodes["a"]
    without_lock(tmp_path / "state" / "a" / "journal.db")
    second = world.new_node("a")
    list(
        second.on_message(
            codec.pack("study_offer", StudyOffer(world.agreement.to_bytes(), world.signed.roster.canonical))
        )
    )
    _, opening = protocol.request_open(agreeing)
    assert [codec.unwrap(m)[0] for m in first.on_message(opening["a"])][-1] == "shares"
    _, smaller = protocol.shrink(agreeing, frozenset("d"))
    with pytest.raises(JournalTaken):
        list(second.on_message(smaller["a"]))


def test_of_two_open_journals_the_one_that_wrote_goes_on(tmp_path: Path) -> None:
    first = Journal(tmp_path / "j.db")
    without_lock(tmp_path / "j.db")
    second = Journal(tmp_path / "j.db")
    first.commit(STUDY, 1, b"one", b"request", [b"reply"])
    with pytest.raises(JournalTaken):
        second.commit(STUDY, 1, b"another", b"other request", [b"other reply"])
    assert (first.state(STUDY), first.replies(STUDY, b"other request")) == (b"one", None)
    first.commit(STUDY, 2, b"two", b"next", [])
    first.close()
    second.close()
    third = Journal(tmp_path / "j.db")
    assert (third.restored, third.state(STUDY)) == (False, b"two")
    third.close()
