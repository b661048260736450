"""Each invariant of the simulation notices when the control behind it is gone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hospital_node.journal import Journal
from hospital_node.ledger_store import LedgerStore
from hospital_node.round_work import RoundWork
from hospital_node.sending_edge import SendingEdge
from secagg import coordinator as co
from secagg import hospital as protocol
from secagg import rules, unmask
from secagg.context import label
from secagg.errors import ParameterError
from secagg.masks import Ring
from secagg.pairs import RoundFrame
from secagg.secret import SecretBytes
from secagg.states import Ordered, Uploaded
from secagg.tables import Opening
from secagg.wire import codec
from secagg.wire.records import Signed, UploadHeader
from tests.sim.hospitals import CountedEntropy
from tests.sim.record import kind_of
from tests.sim.scheduler import (
    AdvanceTime,
    Crash,
    Deliver,
    Restart,
    ServerLies,
    Simulation,
    Tamper,
    run,
)


def nothing(*_: Any, **__: Any) -> None:
    """A control that is switched off."""


def whatever(_edge: SendingEdge, _agreement: object, message: bytes) -> bytes:
    """The sending edge, switched off."""
    return message


@pytest.fixture
def four(tmp_path: Path) -> Iterator[Simulation]:
    simulation = Simulation(4, tmp_path)
    yield simulation
    simulation.close()


def until(simulation: Simulation, kind: str, count: int = 1) -> None:
    """Deliver until so many messages of this kind are under way at the front."""
    while [kind_of(e.message) for e in simulation.under_way[:count]] != [kind] * count:
        assert simulation.under_way, f"no {kind} ever came"
        simulation.step(Deliver(0))


def end(simulation: Simulation) -> None:
    """Let it settle and check everything."""
    simulation.settle()
    simulation.record.check(simulation.hospitals, [e.message for e in simulation.sent])


def test_a_round_without_faults_passes(four: Simulation) -> None:
    end(four)
    assert [done.round for done in four.server.finished] == [1, 2]


def damage_a_seed(four: Simulation) -> None:
    """One hospital never uploads, and of those who reveal their seed with it, one is misheard."""
    until(four, "round_order", 4)
    four.step(Crash(3))
    until(four, "upload_header")
    four.step(Deliver(0, 9))
    four.step(AdvanceTime())
    until(four, "agreement", 3)
    four.step(Tamper(1, -1, 1))


def test_a_wrong_sum_is_noticed(four: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    def unchecked(state: Opening, total: Ring) -> Ring:
        return total[: state.agreeing.uploading.session.desk.params.dim]

    monkeypatch.setattr(unmask, "check_constants", unchecked)
    four.server.rounds = 1
    damage_a_seed(four)
    with pytest.raises(AssertionError, match="not exact"):
        end(four)


def test_with_its_control_the_wrong_sum_is_an_abort(four: Simulation) -> None:
    damage_a_seed(four)
    end(four)
    assert 1 not in [done.round for done in four.server.finished]


def test_both_share_kinds_are_noticed(four: Simulation) -> None:
    """A hospital that forgets what it signed."""
    until(four, "agree_request", 4)
    forgetful = four.hospitals["h000"]
    assert forgetful.node is not None
    uploaded = forgetful.node.state
    four.step(ServerLies(0, 0, 0b0111))
    four.step(Deliver(-1))
    four.step(Deliver(-1))
    forgetful.node.state = uploaded
    with pytest.raises(AssertionError, match="both kinds"):
        end(four)


def test_two_vectors_under_one_round_key_are_noticed(
    four: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hospital that stores nothing of the round that it is in, and whose sending edge looks away."""
    commit = Journal.commit

    def before_the_round(journal: Journal, study: bytes, number: int, *rest: Any, **more: Any) -> None:
        if number == 0:
            commit(journal, study, number, *rest, **more)

    until(four, "round_order", 4)
    monkeypatch.setattr(Journal, "commit", before_the_round)
    monkeypatch.setattr(LedgerStore, "spend", nothing)
    monkeypatch.setattr(SendingEdge, "let_out", whatever)
    four.step(Deliver(0))
    four.step(Restart(0))
    four.step(Deliver(-2))
    with pytest.raises(AssertionError, match="another answer than before"):
        four.step(Deliver(-2))


def test_an_upload_that_nobody_paid_for_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RoundWork, "spend", nothing)
    monkeypatch.setattr(SendingEdge, "let_out", whatever)
    with pytest.raises(AssertionError, match="not marked as spent"):
        run(3, [])
    monkeypatch.setattr(RoundWork, "reserve", lambda *_: "nothing")
    with pytest.raises(AssertionError, match="nothing paid for"):
        run(3, [])


def test_a_charge_for_nothing_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any) -> None:
        raise ParameterError("no upload today")

    monkeypatch.setattr(protocol, "upload", fails)
    with pytest.raises(AssertionError, match="nothing left"):
        run(3, [])


def test_two_rosters_in_one_sum_are_noticed(four: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever was told another order is summed all the same: no label holds it and nobody compares."""

    def without_order(frame: RoundFrame, purpose: str, **parts: bytes | str | int) -> bytes:
        return label(frame.context, purpose, key_list=frame.participants.hash, round=frame.round, **parts)

    honest = co.add_upload

    def add_upload(state: co.Uploading, who: str, header: bytes, seals: bytes, digest: bytes) -> co.Uploading:
        signed = codec.unpack("upload_header", Signed, header)
        told = codec.decode(UploadHeader, signed.body).order_hash
        other = replace(state, frame=replace(state.frame, order_hash=told))
        return replace(state, uploads=honest(other, who, header, seals, digest).uploads)

    monkeypatch.setattr(RoundFrame, "label", without_order)
    monkeypatch.setattr(co, "add_upload", add_upload)
    monkeypatch.setattr(rules, "orders_are_equal", nothing)
    monkeypatch.setattr(rules, "order_is", nothing)
    monkeypatch.setattr(RoundWork, "check_order", nothing)
    until(four, "round_order", 4)
    four.step(Deliver(0, 4))
    until(four, "round_order", 4)
    four.step(ServerLies(2, 3, 1))
    four.step(Deliver(-1))
    with pytest.raises(AssertionError, match="one roster, list, order"):
        end(four)


def test_a_secret_in_a_message_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    upload = protocol.upload

    def leaking(state: Ordered, *given: Any) -> tuple[Uploaded, protocol.UploadMessages]:
        after, sent = upload(state, *given)
        seed = next(iter(state.secrets.values())).mask_seed.reveal()
        return after, replace(sent, vector=seed + sent.vector[len(seed) :])

    monkeypatch.setattr(protocol, "upload", leaking)
    with pytest.raises(AssertionError, match="secret on the wire"):
        run(3, [])


def test_a_secret_in_a_repr_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SecretBytes, "__repr__", lambda secret: secret.reveal().hex())
    with pytest.raises(AssertionError, match="secret in a text"):
        run(3, [])


def test_chance_in_a_machine_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(3, []) == run(3, [])
    monkeypatch.setattr(CountedEntropy, "random_bytes", lambda _, count: os.urandom(count))
    assert run(3, []) != run(3, [])
