"""Honest runs in which hospitals are missing: every bundle verifies, and names them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from coordinator.pia.build import build
from coordinator.results import write_study
from privacy.assessment.verify import Report, verify_bundle
from privacy.link.folder_files import FolderFiles
from secagg.wire import codec
from secagg.wire.records import RoundOrder, Signed
from tests.consortium import World


def assessed(world: World) -> tuple[dict[str, bytes], Mapping[str, Any]]:
    """The whole study and its bundle."""
    run, executed = world.execute()
    out = world.root / "out"
    result = write_study(
        out, world.agreement, world.signed, executed.record, run.state.rounds(run.study_hash)
    )
    build(out, identity=world.keys["coordinator"].identity_private)
    return dict(FolderFiles(out)), result


def holds(report: Report) -> bool:
    problems = [check.text for check in report.checks if not check.ok]
    failed = [claim.text for claim in report.claims if claim.status == "FAILED"]
    assert not problems, (problems, failed)
    return report.ok


def order_round(message: bytes) -> int:
    return codec.decode(RoundOrder, codec.unpack("round_order", Signed, message).body).round


def refuses(world: World) -> None:
    world.with_policy(world.nodes["c"], families=("mlp",))


def silent_at_advertise(world: World) -> None:
    world.link.up = lambda h, k, m: () if (h, k) == ("d", "advert") else (m,)


def cut_before_round_three(world: World) -> None:
    def down(hospital: str, kind: str, message: bytes) -> Iterable[bytes]:
        if kind == "receipt" and hospital == "a" and len(world.ledger("a")) == 4:
            world.link.cut("b")
        return (message,)

    world.link.down = down


def comes_back(world: World) -> None:
    """Silent in round 2, in the sums of rounds 1 and 3."""
    world.link.down = lambda h, k, m: () if (h, k) == ("b", "round_order") and order_round(m) == 2 else (m,)


def at_each_step(world: World) -> None:
    """Round 1: b is silent at upload. Round 2: c at agree. Round 3: d at open."""
    plan = {("b", 1, "round_order"), ("c", 2, "agree_request"), ("d", 3, "open_request")}
    under_way = [0]

    def down(hospital: str, kind: str, message: bytes) -> Iterable[bytes]:
        if kind == "round_order":
            under_way[0] = order_round(message)
        return () if (hospital, under_way[0], kind) in plan else (message,)

    world.link.down = down


@pytest.mark.parametrize(
    ("fault", "missing"),
    [
        (refuses, ["c"]),
        (silent_at_advertise, ["d"]),
        (cut_before_round_three, ["b"]),
        (comes_back, ["b"]),
        (at_each_step, ["b", "c", "d"]),
    ],
)
def test_a_run_with_missing_hospitals_verifies_and_names_them(
    tmp_path: Path, fault: object, missing: list[str]
) -> None:
    assert callable(fault)
    world = World.of(tmp_path)
    fault(world)
    files, result = assessed(world)
    assert result["status"] == "done"
    assert [m["hospital"] for m in result["cohort"]["missing"]] == missing
    assert holds(verify_bundle(files))
