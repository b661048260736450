"""A coordinator that lies over the real links of a whole study; it holds its own signing key and nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hospital_node.node_words import Outgoing
from hospital_node.round_work import RoundWork
from hospital_node.sending_edge import SendingEdge
from privacy.link.canonical import canonical, parse_canonical
from privacy.studies import exchange
from secagg import coordinator as protocol
from secagg import rules
from secagg.errors import OrderMismatch
from secagg.order import sign_order
from secagg.states import Advertised
from secagg.wire import codec
from secagg.wire.records import Agreement, RoundOrder, Signed, UploadHeader
from tests.consortium import HOSPITALS, World

ONE_ROUND = (("rounds = 2", "rounds = 1"),)
# Its server keeps state that hospitals cannot recompute: they cannot tell a made-up model from a right one.
ADAPTIVE = (("rounds = 2", "rounds = 2\nstrategy = 'fedadam'"),)


class OtherOrder:
    """Signs another order of one round for some hospitals."""

    def __init__(self, world: World, victims: str, number: int, what: str) -> None:
        self.world, self.victims, self.number, self.what = world, victims, number, what

    def __call__(self, hospital: str, kind: str, message: bytes) -> Iterable[bytes]:
        if kind != "round_order" or hospital not in self.victims:
            return (message,)
        told = codec.decode(RoundOrder, codec.unpack(kind, Signed, message).body)
        if told.round != self.number:
            return (message,)
        state = self.world.nodes[hospital].state
        assert state is not None
        assert not isinstance(state, Advertised)
        session = state if not hasattr(state, "after") else state.after
        key = self.world.keys["coordinator"].identity_private
        return (sign_order(key, session.seat.context, session.participants, self._changed(told)),)

    def _changed(self, told: RoundOrder) -> RoundOrder:
        match self.what:
            case "model":
                theta = np.frombuffer(told.model, dtype="<f8").copy()
                theta[-1] += 0.25
                return replace(told, model=theta.tobytes())
            case "setting":
                settings = parse_canonical(told.settings)
                assert isinstance(settings, dict)
                settings["training"]["learning_rate"] = 0.125
                return replace(told, settings=canonical(settings))
            case _:
                return replace(told, task="train")


def blind_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A coordinator that does not care which order a header names: it wants the hospitals to sign."""
    honest = protocol.add_upload

    def add_upload(
        state: protocol.Uploading, hospital: str, header: bytes, seals: bytes, digest: bytes
    ) -> protocol.Uploading:
        try:
            return honest(state, hospital, header, seals, digest)
        except OrderMismatch:
            told = codec.decode(UploadHeader, codec.unpack("upload_header", Signed, header).body).order_hash
            other = honest(
                replace(state, frame=replace(state.frame, order_hash=told)), hospital, header, seals, digest
            )
            return replace(state, uploads=other.uploads)

    monkeypatch.setattr(protocol, "add_upload", add_upload)


def signed(world: World, number: int) -> int:
    """How many agreements were signed in a round."""
    answers = [m for _, kind, m in world.link.answered if kind == "agreement"]
    return sum(codec.unpack("agreement", Agreement, m).round == number for m in answers)


@pytest.mark.threat("FL-09", control="C-MODELBIND")
def test_another_model_for_one_hospital_aborts_the_round(tmp_path: Path) -> None:
    world = World.of(tmp_path, *ADAPTIVE)
    world.link.down = OtherOrder(world, "d", 3, "model")
    run, executed = world.execute()
    third = run.outcomes[2]
    assert (third.status, third.culprit, third.total) == ("aborted", "d", None)
    assert third.reason == "d signed another round order (model or settings) than this one; abort the round"
    assert signed(world, 3) == 0
    assert ("ABORT", 3) in world.ledger("a")
    # One of two training rounds is left, which the study accepts; the record says which.
    assert [o.status for o in run.outcomes] == ["done", "done", "aborted"]
    assert executed.failed is None


@pytest.mark.parametrize("what", ["model", "setting", "task"])
def test_a_hospital_that_sees_the_lie_refuses_it_alone(tmp_path: Path, what: str) -> None:
    """Under plain averaging the hospital recomputes the model, and the settings are in the agreement."""
    world = World.of(tmp_path, *ONE_ROUND)
    world.link.down = OtherOrder(world, "d", 1 if what == "task" else 2, what)
    run, executed = world.execute()
    lied = run.outcomes[0 if what == "task" else 1]
    assert lied.answered == ("a", "b", "c")
    assert [(s.hospital, s.step) for s in lied.missing] == [("d", "upload")]
    expected = {
        "model": "does not follow from the signed sum",
        "setting": "settings of",
        "task": "for the task",
    }
    assert expected[what] in lied.missing[0].reason
    assert ("RESERVE", lied.round) not in world.ledger("d")
    assert executed.failed is None


@pytest.mark.threat("FL-09", control="C-MODELBIND")
@pytest.mark.parametrize("what", ["model", "setting"])
def test_hospitals_refuse_to_sign_a_set_that_was_told_two_things(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """Also where the victim does not notice and the coordinator hides it."""
    blind_engine(monkeypatch)
    monkeypatch.setattr(RoundWork, "check_order", lambda *_: None)
    world = World.of(tmp_path, *ONE_ROUND)
    world.link.down = OtherOrder(world, "d", 2, what)
    run, executed = world.execute()
    second = run.outcomes[1]
    assert second.status == "aborted"
    assert "a: d signed another round order" in second.reason
    assert "d: a, b, c signed another round order" in second.reason
    assert signed(world, 2) == 0
    assert executed.failed is not None


def test_without_comparing_order_hashes_the_round_would_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blind_engine(monkeypatch)
    monkeypatch.setattr(RoundWork, "check_order", lambda *_: None)
    monkeypatch.setattr(rules, "orders_are_equal", lambda *_: None)
    world = World.of(tmp_path, *ONE_ROUND)
    world.link.down = OtherOrder(world, "d", 2, "model")
    run, _ = world.execute()
    second = run.outcomes[1]
    # The sealing, whose labels hold the order hash too, still keeps d's shares apart.
    assert (second.status, second.answered) == ("done", ("a", "b", "c"))
    assert signed(world, 2) == 3


@pytest.mark.threat("FL-10", control="C-MODELPOLICY")
@pytest.mark.parametrize("what", ["model", "setting"])
def test_a_lie_to_everybody_is_refused_by_everybody(tmp_path: Path, what: str) -> None:
    world = World.of(tmp_path, *ONE_ROUND)
    world.link.down = OtherOrder(world, "abcd", 2, what)
    run, executed = world.execute()
    assert executed.failed is not None
    assert executed.failed.exit_code == 3
    assert "0 hospitals at step upload, the threshold is 3" in str(executed.failed)
    assert all(world.ledger(h)[:-1] == [("RESERVE", 1), ("SPENT", 1)] for h in HOSPITALS)
    assert run.outcomes[1].total is None


def test_a_declined_upload_is_named_and_the_others_are_summed(tmp_path: Path) -> None:
    world = World.of(tmp_path, *ONE_ROUND)

    def approve(outgoing: Outgoing) -> bool:
        return outgoing.step != "upload" or outgoing.round != 2

    world.nodes["c"].approve = approve
    run, executed = world.execute()
    assert executed.failed is None
    second = run.outcomes[1]
    assert second.answered == ("a", "b", "d")
    assert [(s.hospital, s.step, s.kind, s.reason) for s in second.missing] == [
        ("c", "upload", "abort", "the operator of c did not let the upload of round 2 leave")
    ]
    np.testing.assert_array_equal(second.total, world.recorded(2, "abd"))
    assert world.ledger("c")[:-1] == [("RESERVE", 1), ("SPENT", 1), ("RESERVE", 2)]


def test_a_hospital_of_another_agreement_shows_in_the_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever uploads another weight than it declared makes the sum unusable, with a sentence and no traceback.

    An honest node does not let such a vector out; the hospital meant here has switched that off.
    """
    world = World.of(tmp_path, *ONE_ROUND)
    honest = exchange._assemble

    def heavier(agreement: Any, hospital: str, payload: np.ndarray) -> np.ndarray:
        vector = honest(agreement, hospital, payload)
        vector[-1] += np.uint64(hospital == "b")
        return vector

    monkeypatch.setattr(exchange, "_assemble", heavier)
    monkeypatch.setattr(SendingEdge, "check_vector", lambda *_: None)
    _, executed = world.execute()
    assert executed.failed is not None
    assert "the weights sum to 1801 where the answering hospitals declared 1800" in str(executed.failed)
