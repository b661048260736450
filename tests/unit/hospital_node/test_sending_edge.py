"""The release linter: every field that leaves is tagged, every paid one has its charge, and what nobody tagged stays."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hospital_node import client_app, flower_link
from hospital_node.flower_link import FlowerTraining
from hospital_node.ledger_store import LedgerStore
from hospital_node.local_study import LocalStudy
from hospital_node.node import Node
from hospital_node.node_words import STAYS
from hospital_node.round_work import RoundWork
from hospital_node.sending_edge import SendingEdge, TaggedVector
from privacy.ledgers import release_tags
from privacy.ledgers.release_tags import OUTGOING, Outgoing, UntaggedRelease, check_reply, fields_of, untagged
from secagg.wire import codec, records
from secagg.wire.records import Most
from tests.consortium import MODE_NONE, Hand, World, small_agreement
from tests.unit.coordinator.test_analysis_study import ALONE
from tests.unit.hospital_node.rounds import kinds, refusal

FROM_COORDINATOR = {
    "study_offer",
    "session_start",
    "key_list",
    "graph_seed",
    "round_order",
    "agree_request",
    "sign_request",
    "open_request",
    "receipt",
    "ledger_export_request",
    "study_end",
}


@pytest.mark.threat("FL-32", control="C-METRICS")
def test_every_field_of_every_message_that_a_hospital_sends_is_tagged() -> None:
    assert set(OUTGOING) == set(codec.KINDS) - FROM_COORDINATOR
    for kind, outgoing in OUTGOING.items():
        assert outgoing.record is codec.KINDS[kind]
        assert untagged(kind) == ()
        # No tag without its field: a renamed field loses its tag.
        assert set(outgoing.tags) == set(fields_of(outgoing))


def test_a_field_that_somebody_adds_is_found() -> None:
    @dataclass(frozen=True, slots=True)
    class Wider(records.Shares):
        training_loss: Annotated[int, Most(1 << 31)]

    grown = replace(OUTGOING["shares"], record=Wider)
    assert [path for path in fields_of(grown) if path not in grown.tags] == ["training_loss"]


def test_a_study_s_messages_pass_the_edge(hand: Hand) -> None:
    _, _, members = hand.round(1)
    assert len(members) == 4
    assert hand.world.refusals("a") == []


# Mutants: each smuggles something past one point; the same code without it passes above.


def smuggled_metric(study: LocalStudy) -> Any:
    """The product's ClientApp, whose reply somebody gave a training loss."""
    from flwr.app import MetricRecord
    from flwr.clientapp import ClientApp

    honest, app = client_app.make_client_app(study), ClientApp()

    @app.train()
    def train(message: Any, context: Any) -> Any:
        reply = honest(message, context)
        reply.content["extra"] = MetricRecord({"loss": 0.37})
        return reply

    return app


@pytest.mark.threat("FL-32", control="C-METRICS")
def test_a_metric_without_a_tag_stays_and_nothing_of_the_round_leaves(
    hand: Hand, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = hand.world.nodes["a"]
    assert node.admitted is not None
    assert node.work is not None
    monkeypatch.setattr(flower_link, "make_client_app", smuggled_metric)
    node.work = replace(node.work, training=FlowerTraining(node.admitted.local, 1))
    _, order = hand.order(1)
    assert refusal(hand.ask("a", order)).reason == STAYS
    assert any("extra.loss does not leave" in told for told in hand.world.refusals("a"))
    assert hand.world.ledger("a")[-1] == ("RESERVE", 1)


@pytest.mark.parametrize(
    ("leaf", "tags", "told"),
    [
        ("metrics.loss", {}, "no tag"),
        ("metrics.loss", {"metrics.loss": "public"}, "not declared"),
        ("metrics.loss", {"metrics.loss": "life_table"}, "pays for 'train'"),
    ],
)
def test_a_tag_must_name_the_round_s_event_or_a_declared_number(
    leaf: str, tags: dict[str, str], told: str
) -> None:
    fine = {"arrays.theta": "train", "metrics.num-examples": "public"}
    check_reply(dict.fromkeys(fine, 0), fine, "train")
    with pytest.raises(UntaggedRelease, match=told):
        check_reply(dict.fromkeys([*fine, leaf], 0), fine | tags, "train")


def test_a_vector_holds_what_its_event_pays_for_and_the_declared_size_and_nothing_else(hand: Hand) -> None:
    agreement = small_agreement(ALONE)
    edge = SendingEdge("a", hand.world.nodes["a"].ledger)
    # Round 3 counts two groups in vectors that are long enough for the curves of round 1.
    fine = np.zeros(agreement.dim, dtype=np.uint64)
    fine[:2], fine[-1] = (17, 4), 400
    edge.check_vector(agreement, 3, TaggedVector(fine, "count-2"))
    beside, rows = fine.copy(), fine.copy()
    beside[40], rows[-1] = 1, 397
    for values, event, told in (
        (fine, "mean-1", "its tag names 'mean-1'"),
        (beside, "count-2", "beside the 2 that are paid for"),
        (rows, "count-2", "not the declared size"),
    ):
        with pytest.raises(UntaggedRelease, match=told):
            edge.check_vector(agreement, 3, TaggedVector(values, event))


def test_a_vector_with_another_event_s_tag_stays(hand: Hand, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = RoundWork.vector

    def vector(self: RoundWork, told: records.RoundOrder, theta: NDArray[np.float64]) -> TaggedVector:
        return replace(honest(self, told, theta), event="train")

    monkeypatch.setattr(RoundWork, "vector", vector)
    _, order = hand.order(1)
    assert refusal(hand.ask("b", order)).reason == STAYS


def test_without_the_charge_in_the_ledger_no_vector_leaves(
    hand: Hand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node that forgets to mark the round as spent: the edge reads the ledger, not the node's intentions."""
    monkeypatch.setattr(RoundWork, "spend", lambda *_: None)
    _, order = hand.order(1)
    assert refusal(hand.ask("c", order)).reason == STAYS
    assert any("no spent charge" in told for told in hand.world.refusals("c"))


def test_spare_noise_leaves_for_a_round_that_is_paid_and_no_other(hand: Hand) -> None:
    """What the ledger was charged is the noise that is left."""
    edge = SendingEdge("a", hand.world.nodes["a"].ledger)
    agreement = hand.world.agreement
    hand.round(1)
    told = [codec.pack("spare_noise", records.SpareNoise(number, 0, bytes(8))) for number in (1, 2)]
    assert edge.let_out(agreement, told[0]) == told[0]
    with pytest.raises(UntaggedRelease, match="no spent charge"):
        edge.let_out(agreement, told[1])


def test_mode_none_needs_the_ledger_s_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hand = Hand(World.of(tmp_path, *MODE_NONE)).join()
    _, order = hand.order(1)
    assert "vector_chunk" in kinds(hand.ask("a", order))
    monkeypatch.setattr(LedgerStore, "note", lambda *_, **__: None)
    assert refusal(hand.ask("b", order)).reason == STAYS


def test_a_kind_of_message_that_nobody_declared_stays(hand: Hand, monkeypatch: pytest.MonkeyPatch) -> None:
    def replies(self: Node, message: bytes) -> Iterator[bytes]:
        yield codec.pack("study_end", records.StudyEnd("done", "cohort has 412 rows"))

    monkeypatch.setattr(Node, "_replies", replies)
    assert refusal(hand.ask("a", b"")).reason == STAYS


def test_a_message_whose_field_lost_its_tag_stays(hand: Hand, monkeypatch: pytest.MonkeyPatch) -> None:
    pruned = dict(OUTGOING["hello"].tags)
    del pruned["round"]
    monkeypatch.setattr(release_tags, "OUTGOING", {**OUTGOING, "hello": Outgoing(records.Hello, pruned)})
    untagged.cache_clear()
    try:
        with pytest.raises(UntaggedRelease, match="round has no tag"):
            list(hand.world.nodes["a"].on_connect())
    finally:
        untagged.cache_clear()


def test_no_vector_leaves_before_a_study_was_accepted(hand: Hand) -> None:
    edge = SendingEdge("a", hand.world.nodes["a"].ledger)
    chunk = codec.pack("vector_chunk", records.VectorChunk(1, 0, b"12345678"))
    with pytest.raises(UntaggedRelease, match="no study was accepted"):
        edge.let_out(None, chunk)
