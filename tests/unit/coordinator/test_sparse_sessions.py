"""The coordinator over the sparse graph: graphs that are drawn anew, hospitals that come back with theirs, signatures that come late.

Four hospitals with two neighbors each are as few as the rules take; whoever is missing costs its neighbors their place.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from coordinator.results import write_study
from coordinator.study_run import StudyRun
from hospital_node.journal import graph_key
from secagg.joining import few_graphs
from secagg.sparse_table import GRAPHS_PER_HOSPITAL
from secagg.wire import codec
from secagg.wire.records import GraphContribution
from tests.consortium import HOSPITALS, World

SPARSE = (
    (
        "[privacy]",
        '[secure_aggregation]\ngraph = "sparse"\nneighbors = 2\nneighbor_threshold = 2\n\n[privacy]',
    ),
    ("rounds = 2", "rounds = 1"),
)


def opened(world: World) -> StudyRun:
    """The coordinator's run, up to the session."""
    run = world.study_run()
    run.state.open_study(run.study_hash, "small", world.agreement.to_bytes(), "2031-05-06T07:08:09Z")
    run._restore()
    run._join()
    return run


def graphs(world: World) -> dict[str, int]:
    """What each hospital's journal counts."""
    study = world.agreement.study.id
    return {hospital: node.journal.graphs(study) for hospital, node in world.nodes.items()}


def test_a_whole_study_over_the_sparse_graph(tmp_path: Path) -> None:
    world = World.of(tmp_path, *SPARSE)
    run, executed = world.execute()
    assert executed.failed is None
    assert [outcome.answered for outcome in run.outcomes] == [HOSPITALS] * 2
    assert all((outcome.total == world.recorded(outcome.round, HOSPITALS)).all() for outcome in run.outcomes)
    assert graphs(world) == dict.fromkeys(HOSPITALS, 1)
    assert world.link.kinds("a")[:3] == ["study_answer", "advert", "graph_contribution"]
    record, rounds = executed.record, run.state.rounds(run.study_hash)
    assert (
        write_study(tmp_path / "out", world.agreement, world.signed, record, rounds)["cohort"]["missing"]
        == []
    )


@pytest.mark.parametrize("contribution", [None, bytes(32)], ids=["none", "another"])
def test_who_does_not_reveal_is_left_out_of_a_new_graph(tmp_path: Path, contribution: bytes | None) -> None:
    world = World.of(tmp_path, *SPARSE)

    def bend(hospital: str, kind: str, message: bytes) -> Iterable[bytes]:
        if (hospital, kind) != ("d", "graph_contribution"):
            return (message,)
        return () if contribution is None else (codec.pack(kind, GraphContribution(contribution)),)

    world.link.up = bend
    run = opened(world)
    assert run.members == {"a", "b", "c"}
    [silence] = run.refused
    assert (silence.hospital, silence.step) == ("d", "reveal")
    assert graphs(world) == {"a": 2, "b": 2, "c": 2, "d": 1}


def test_who_has_no_graph_left_says_so_before_it_costs_others_one(tmp_path: Path) -> None:
    world = World.of(tmp_path, *SPARSE)
    study = graph_key(world.agreement.study.id)
    world.nodes["d"].journal._db.execute("INSERT INTO graphs VALUES (?, ?)", (study, GRAPHS_PER_HOSPITAL))
    run = opened(world)
    [silence] = run.refused
    assert (silence.hospital, silence.step) == ("d", "advertise")
    assert f"helped to draw {GRAPHS_PER_HOSPITAL} graphs" in silence.reason
    assert graphs(world) == {"a": 1, "b": 1, "c": 1, "d": GRAPHS_PER_HOSPITAL}


def test_without_the_early_word_it_costs_them_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hospital_node.study_messages.few_graphs", lambda _: None)
    world = World.of(tmp_path, *SPARSE)
    study = graph_key(world.agreement.study.id)
    world.nodes["d"].journal._db.execute("INSERT INTO graphs VALUES (?, ?)", (study, GRAPHS_PER_HOSPITAL))
    run = opened(world)
    assert [silence.step for silence in run.refused] == ["reveal"]
    assert graphs(world)["a"] == 2
    few_graphs(0)


@pytest.mark.parametrize("kind", ["key_list", "graph_seed", "round_order", "sign_request", "open_request"])
def test_a_hospital_that_comes_back_as_a_new_process_goes_on_in_its_graph(tmp_path: Path, kind: str) -> None:
    world = World.of(tmp_path, *SPARSE)
    came: list[str] = []

    def down(hospital: str, arriving: str, message: bytes) -> Iterable[bytes]:
        if (hospital, arriving) == ("d", kind) and not came:
            came.append(kind)
            world.restart("d")
            world.link.cut("d")
            world.link.back("d", fresh=True)
            return ()
        return (message,)

    world.link.down = down
    run, executed = world.execute()
    assert executed.failed is None, executed.failed
    assert [outcome.answered for outcome in run.outcomes] == [HOSPITALS] * 2
    assert graphs(world) == dict.fromkeys(HOSPITALS, 1)
    assert world.refusals("d") == []


def test_who_signs_too_late_is_in_the_sum_and_opens(tmp_path: Path) -> None:
    world = World.of(tmp_path, *SPARSE)
    lost: list[bytes] = []

    def up(hospital: str, kind: str, message: bytes) -> Iterable[bytes]:
        if (hospital, kind) == ("d", "set_signature") and not lost:
            lost.append(message)
            return ()
        return (message,)

    world.link.up = up
    run, executed = world.execute()
    assert executed.failed is None
    first = run.outcomes[0]
    assert (first.answered, first.missing) == (HOSPITALS, ())
    assert [entry.text for entry in world.progress if "does not go on at sign" in entry.text]


def test_too_few_signatures_abort_the_round(tmp_path: Path) -> None:
    world = World.of(tmp_path, *SPARSE)
    for node in world.nodes.values():
        world.with_policy(node, aborted_rounds_maximum=5)
    world.link.up = lambda hospital, kind, message: (
        () if kind == "set_signature" and hospital in "cd" else (message,)
    )
    run, executed = world.execute()
    assert executed.failed is not None
    assert run.outcomes[0].status == "aborted"
    assert "sign" in run.outcomes[0].reason
    assert run.outcomes[0].total is None
