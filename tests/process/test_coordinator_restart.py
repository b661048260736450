"""The coordinator's process is killed in the middle of a study and started again: the study goes on, nothing is charged or summed twice."""

from __future__ import annotations

import json
import socket
from pathlib import Path

from rich.console import Console

from deploy.demo_consortium import DemoFolder, prepare
from deploy.exact_sum import check_sums
from deploy.processes import Line, ProcessGroup
from privacy.studies import agreement as agreements
from tests.process.demo_runs import HOSPITALS, Demo, no_process_left

PATIENCE_S = 180.0
KILLED_AFTER = 3


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def is_event(line: Line, name: str) -> bool:
    return line.process == "coordinator" and line.event is not None and line.event.get("event") == name


def test_a_killed_coordinator_goes_on_at_its_last_signed_round(tmp_path: Path) -> None:
    run = prepare(DemoFolder(tmp_path / "demo"), Console(quiet=True))
    address = f"127.0.0.1:{free_port()}"
    coordinator = [
        "run", "--home", str(run.folder.coordinator), "--study", str(run.study), "--listen", address,
        "--out", str(run.out), "--json",
    ]  # fmt: skip
    with ProcessGroup(run.folder.logs) as group:
        group.start("coordinator", "coordinator.cli", coordinator)
        for name in run.hospitals:
            home = str(run.folder.hospital(name).root)
            data = str(run.folder.data / f"{name}.csv")
            group.start(
                name,
                "hospital_node.cli",
                [
                    "run",
                    "--home",
                    home,
                    "--study",
                    str(run.study),
                    "--data",
                    data,
                    "--coordinator",
                    address,
                    "--json",
                ],
            )
        for line in group.lines(PATIENCE_S):
            if is_event(line, "round_started") and line.event and line.event["round"] == KILLED_AFTER + 1:
                group["coordinator"].kill()
                break
        group.wait("coordinator", PATIENCE_S)
        group.start("coordinator", "coordinator.cli", coordinator)
        resumed = any(is_event(line, "resumed") for line in group.lines(PATIENCE_S))
        assert resumed
        assert group.wait("coordinator", PATIENCE_S) == 0
        assert [group.wait(name, PATIENCE_S) for name in run.hospitals] == [0, 0, 0, 0]
    demo = Demo(run.folder.root, 0, "")
    rounds = {record["round"]: record for record in demo.rounds()}
    assert sorted(rounds) == list(range(1, 12))
    # The one under way; on a busy machine the coordinator is rounds further before this process reads its line.
    aborted = [number for number, record in rounds.items() if record["status"] == "aborted"]
    assert len(aborted) <= 1
    assert all(number > KILLED_AFTER for number in aborted)
    assert all(record["answered"] == HOSPITALS for record in rounds.values() if record["status"] == "done")
    agreement = agreements.from_bytes((run.out / "evidence" / "agreement.json").read_bytes())
    assert check_sums(run, agreement).equal
    assert demo.result["guarantee"]["epsilon"] <= 3
    for name in HOSPITALS:
        assert len(demo.ledger(name)) <= 11
    assert json.loads((run.out / "pia.json").read_text())
    assert no_process_left(tmp_path)
