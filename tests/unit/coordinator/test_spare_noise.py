"""Spare noise through real nodes and real rounds: what is taken out, who says nothing, who tells wrong, and what never lies on a disk."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from coordinator.outcome import Outcome
from coordinator.records import outcome_of, round_record
from coordinator.spare_noise import SpareNoiseTaken, spare_noise_of
from coordinator.state import StoredRound
from hospital_node import round_messages
from hospital_node.statistics import sums
from privacy.assessment import recompute_rounds
from privacy.assessment.evidence import RoundRecord
from privacy.link.canonical import parse_canonical
from privacy.noise.mechanisms import noisy_sum_in_layers
from privacy.studies import exchange
from privacy.studies.exchange import ExchangeError
from secagg.receipt import audit_receipt
from secagg.wire import codec
from secagg.wire.records import OpenRequest, SpareNoise
from tests.consortium import HOSPITALS, World
from tests.unit.coordinator.test_statistics_study import DISTRIBUTED


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[np.ndarray]]:
    """The layers of every sum, in the order in which they were drawn."""
    found: list[np.ndarray] = []

    def draw(*asked: Any) -> tuple[np.ndarray, np.ndarray]:
        noisy, layers = noisy_sum_in_layers(*asked)
        found.append(layers.copy())
        return noisy, layers

    monkeypatch.setattr(sums, "noisy_sum_in_layers", draw)
    return found


def finished(world: World) -> list[Outcome]:
    run, executed = world.execute()
    assert executed.failed is None, executed.failed
    return run.outcomes


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, list[Outcome]]:
    """A finished study in which everybody told what is spare."""
    world = World.of(tmp_path_factory.mktemp("quiet"), *DISTRIBUTED)
    return world, finished(world)


def sd(world: World, outcome: Outcome) -> float:
    """What everything behind the sum takes for its noise, in units of the clip."""
    assert outcome.total is not None
    task = exchange.task_at(world.agreement, outcome.round)
    released = exchange.statistic(world.agreement, task, outcome.total, outcome.answered)
    release = exchange.statistic_release(world.agreement, task)
    return released.noise_sd / (release.clip_l2 * release.noise_multiplier)


def test_what_four_hospitals_do_not_need_is_out_of_the_sum(tmp_path: Path, drawn: list[np.ndarray]) -> None:
    """n = 4, T = 1, t = 3: sqrt(4/2) of central noise become sqrt(4/3), to the last bit those layers."""
    world = World.of(tmp_path, *DISTRIBUTED)
    outcomes = finished(world)
    assert all(outcome.noise_removed == tuple(HOSPITALS) for outcome in outcomes)
    for place, outcome in enumerate(outcomes):
        assert outcome.total is not None
        length = exchange.task_at(world.agreement, outcome.round).length
        spare = sum(layers[1] for layers in drawn[4 * place : 4 * place + 4])
        before = world.recorded(outcome.round, outcome.answered)
        np.testing.assert_array_equal(before[:length] - spare, outcome.total[:length])
        assert outcome.total[exchange.REMOVED] == 4
        assert before[exchange.REMOVED] == 0
        assert sd(world, outcome) == pytest.approx((4 / 3) ** 0.5)


def test_nothing_is_told_where_t_is_n(tmp_path: Path) -> None:
    """Nor in mode local: `tests/sim/test_clear_text.py`."""
    world = World.of(tmp_path, *DISTRIBUTED, ("deadline_s = 20.0", "deadline_s = 20.0\nthreshold = 4"))
    outcomes = finished(world)
    assert "spare_noise" not in {kind for _, kind, _ in world.link.answered}
    assert not any(outcome.noise_removed for outcome in outcomes)


def test_a_sum_over_the_fewest_keeps_all_noise(tmp_path: Path) -> None:
    world = World.of(tmp_path, *DISTRIBUTED)
    world.link.up = lambda who, kind, message: [] if who == "d" and kind == "upload_header" else [message]
    outcomes = finished(world)
    assert {outcome.answered for outcome in outcomes} == {("a", "b", "c")}
    assert "spare_noise" not in {kind for _, kind, _ in world.link.answered}
    assert sd(world, outcomes[0]) == pytest.approx((3 / 2) ** 0.5)


def test_a_hospital_that_tells_nothing_or_wrong_leaves_its_share_in(tmp_path: Path) -> None:
    """Three of four: 3 times 1/3 and one whole half of the accounted variance. Rounds go on; who told wrong is named."""
    world = World.of(tmp_path, *DISTRIBUTED)
    faults = {1: "silent", 2: "far too much", 3: "cut short", 4: "more than it added", 5: "garbage"}

    def up(who: str, kind: str, message: bytes) -> list[bytes]:
        if who != "d" or kind != "spare_noise":
            return [message]
        piece = codec.unpack("spare_noise", SpareNoise, message)
        match faults[piece.round]:
            case "far too much":
                data = np.full(len(piece.data) // 8, 1 << 60, dtype="<i8").tobytes()
                return [codec.pack("spare_noise", SpareNoise(piece.round, 0, data))]
            case "cut short":
                return [codec.pack("spare_noise", SpareNoise(piece.round, 0, piece.data[:-8]))]
            case "more than it added":
                return [message, message]
            case "garbage":
                return [codec.wrap("spare_noise", b"\xff\xff")]
            case _:
                return []

    world.link.up = up
    outcomes = finished(world)
    assert {outcome.noise_removed for outcome in outcomes} == {("a", "b", "c")}
    assert all(outcome.answered == tuple(HOSPITALS) for outcome in outcomes)
    assert all(sd(world, outcome) == pytest.approx((3 / 3 + 1 / 2) ** 0.5) for outcome in outcomes)
    named = [(event.hospital, event.round) for event in world.progress if event.event == "spare_noise"]
    assert named == [("d", number) for number in (2, 3, 4, 5)]


def test_a_hospital_that_crashed_since_its_upload_leaves_its_share_in(tmp_path: Path) -> None:
    """Between agreeing and opening, in every round: it gives its shares from the journal, and has no noise to tell."""
    world = World.of(tmp_path, *DISTRIBUTED)

    def down(who: str, kind: str, message: bytes) -> list[bytes]:
        if (who, kind) == ("d", "open_request"):
            offer = next(m for h, k, m in world.link.sent if (h, k) == ("d", "study_offer"))
            list(world.restart("d").on_message(offer))
        return [message]

    world.link.down = down
    outcomes = finished(world)
    assert {outcome.noise_removed for outcome in outcomes} == {("a", "b", "c")}
    assert not any(silence.hospital == "d" for outcome in outcomes for silence in outcome.missing)
    assert sd(world, outcomes[0]) == pytest.approx((3 / 3 + 1 / 2) ** 0.5)


def test_an_open_request_again_brings_the_shares_and_no_noise(tmp_path: Path) -> None:
    """Told once: the stored replies hold the shares alone, and nothing of the layers is left in the node."""
    world = World.of(tmp_path, *DISTRIBUTED)
    again: list[list[str]] = []

    def up(who: str, kind: str, message: bytes) -> list[bytes]:
        if kind == "shares":
            assert world.nodes[who].spare is None, "it could be told once more"
        if who == "a" and kind == "shares" and not again:
            asked = next(m for h, k, m in reversed(world.link.sent) if (h, k) == ("a", "open_request"))
            again.append([codec.unwrap(reply)[0] for reply in world.nodes["a"].on_message(asked)])
        return [message]

    world.link.up = up
    finished(world)
    assert again == [["shares"]]
    assert all(node.spare is None for node in world.nodes.values())
    assert world.link.kinds("a").count("spare_noise") == world.link.kinds("a").count("shares")


def test_no_layer_is_ever_on_a_disk(tmp_path: Path, drawn: list[np.ndarray]) -> None:
    """Neither a layer nor what was told of it, in any file of any hospital, right after it opened; and not in a repr."""
    world = World.of(tmp_path, *DISTRIBUTED)
    searched = 0

    def up(who: str, kind: str, message: bytes) -> list[bytes]:
        nonlocal searched
        if kind in ("upload_header", "spare_noise", "shares") and searched < 12:
            searched += 1
            for layers in drawn:
                for layer in layers:
                    # Eight coordinates in a row are nobody else's numbers.
                    needle = layer[:8].astype("<i8").tobytes()
                    for path in (tmp_path / "state").rglob("*"):
                        assert not path.is_file() or needle not in path.read_bytes(), f"{path} holds noise"
            assert str(drawn[-1][1][0]) not in repr(world.nodes[who])
        return [message]

    world.link.up = up
    finished(world)
    assert searched == 12


def test_noise_is_told_only_behind_all_signatures(tmp_path: Path) -> None:
    """An open request with a threshold of signatures gets nothing, neither shares nor noise; the next one, with all, gets both."""
    world = World.of(tmp_path, *DISTRIBUTED)
    failed: list[str] = []

    def down(who: str, kind: str, message: bytes) -> list[bytes]:
        if kind == "open_request" and who == "a" and not failed:
            asked = codec.unpack("open_request", OpenRequest, message)
            few = codec.pack("open_request", OpenRequest(asked.round, asked.signatures[:3]))
            failed.extend(codec.unwrap(reply)[0] for reply in world.nodes["a"].on_message(few))
        return [message]

    world.link.down = down
    outcomes = finished(world)
    assert failed == ["abort"]
    assert outcomes[0].noise_removed == tuple(HOSPITALS)


def test_a_hospital_that_told_before_the_set_was_final_would_be_seen(
    tmp_path: Path, quiet: tuple[World, list[Outcome]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The weakened shell tells at agreeing; the order of messages shows it."""

    def order(world: World) -> list[str]:
        return [kind for kind in world.link.kinds("a") if kind in ("agreement", "spare_noise", "shares")][:3]

    assert order(quiet[0]) == ["agreement", "spare_noise", "shares"]
    as_built = round_messages.agree

    def hasty(node: round_messages.Participant, message: bytes) -> Iterator[bytes]:
        yield from as_built(node, message)
        if node.spare is not None:
            # In whatever state it is: that it does not wait for the right one is its fault.
            state: Any = node.state
            yield from node.spare.told(state)

    monkeypatch.setattr("hospital_node.node.agree", hasty)
    weak = World.of(tmp_path, *DISTRIBUTED)
    finished(weak)
    assert order(weak)[1] == "spare_noise"


def test_the_count_in_the_sum_is_checked_and_kept(quiet: tuple[World, list[Outcome]]) -> None:
    world, (outcome, *_) = quiet
    assert outcome.total is not None
    stored = StoredRound(1, round_record(outcome, "life_table", 3, world.clock.now()), None, None)
    assert outcome_of(stored).noise_removed == tuple(HOSPITALS)
    for wrong in (-1, 5):
        total = outcome.total.copy()
        total[exchange.REMOVED] = wrong
        with pytest.raises(ExchangeError, match="took noise out"):
            exchange.removed_in(world.agreement, total, outcome.answered)


def test_where_the_stage_pays_for_the_rounds_nothing_is_spare(quiet: tuple[World, list[Outcome]]) -> None:
    """No study file says this today, since `synthetic_dp` is for mode local: there is a plan then, and it noises no round."""
    agreement = quiet[0].agreement
    task = exchange.task_at(agreement, 1)
    assert agreement.study.spare_layers == 1
    assert spare_noise_of(agreement, task) is not None
    stage = agreement.study.stage.model_copy(update={"kind": "synthetic_dp"})
    paid = agreement.study.model_copy(update={"stage": stage})
    assert paid.spare_layers == 0
    assert spare_noise_of(replace(agreement, study=paid), task) is None


def test_a_member_alone_counts(quiet: tuple[World, list[Outcome]]) -> None:
    """What came from a hospital that is not in the sum stays out of the reckoning."""
    world, _ = quiet
    task = exchange.task_at(world.agreement, 1)
    taken = SpareNoiseTaken(world.agreement, task)
    zeros = bytes(8 * task.length)
    for hospital in HOSPITALS:
        taken.take(hospital, codec.pack("spare_noise", SpareNoise(1, 0, zeros)), 1)
    taken.take("a", codec.pack("spare_noise", SpareNoise(2, 0, zeros)), 1)
    total = np.zeros(world.agreement.dim, dtype=np.uint64)
    quiet, removed = taken.out_of(total, ("a", "b", "c"))
    assert removed == ("a", "b", "c")
    assert quiet[exchange.REMOVED] == 3
    assert taken.wrong == {}


def test_a_record_that_says_otherwise_than_the_signed_sum_is_noticed(
    quiet: tuple[World, list[Outcome]],
) -> None:
    """The verifier takes the count from the sum that the receipt signs, not from the coordinator's own record."""
    world, (outcome, *_) = quiet
    assert outcome.receipt is not None
    params = recompute_rounds.parameters(world.agreement)
    study_hash = bytes.fromhex(world.agreement.hash)
    receipt = audit_receipt(outcome.receipt, study_hash, world.signed.roster, params)
    record = RoundRecord.model_validate(
        parse_canonical(round_record(outcome, "life_table", 3, world.clock.now()))
    )
    assert recompute_rounds._difference(record, receipt, None, world.agreement) == ""
    for wrong in (("a", "b", "c"), (), ("a", "b", "c", "e")):
        told = record.model_copy(update={"noise_removed": wrong})
        assert "spare noise" in recompute_rounds._difference(told, receipt, None, world.agreement)
