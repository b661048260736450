"""`python -m tests.bench.round_trip --json`: what one round costs without training, over mutual TLS on loopback.

A coordinator process and three hospital processes, each the command that operators run: signed orders, ledger RESERVE and SPENT, journal, anchor,
masks, agree, open, receipt, the coordinator's state and Flower's strategy, all with full syncs on a real file system. Only
training is prepared (`round_trip_node`), under the demo's noise plan, whose charges are real. A time is that of a whole round: from the start of
one to the start of the next, as the coordinator prints them.

Beside it, in the same run and for the same members: the bytes of a round (order down, vector up, receipt down, and the three trips' small
messages) moved over the same link by processes that do nothing else, and one FULL commit of SQLite in the same folder.
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from coordinator.link import Connected, LinkServer, Received
from privacy.studies.agreement import MODULUS_BITS
from privacy.studies.study import parse_study
from tests import study_files
from tests.bench.round_trip_node import asking
from tests.process.link_setup import Consortium, make_consortium

HOSPITALS = ("a", "b", "c")
INTERVALS = 10
INPUTS = 6
# Rounds at the start are left out: connections, databases and caches are new.
WARM_UP = 3
PATIENCE_S = 600.0
SMALL_TRIPS = 2
SMALL_BYTES = 1500
COMMITS = 50

POLICY = """
epsilon_total = 8
delta_total = 1e-5
minimum_noise_multiplier = 0.1
minimum_threshold = 3
minimum_cohort = 3
colluding_minimum = 1
aborted_rounds_maximum = 5
modes = ["local"]
families = ["mlp"]
stages = ["none", "generalize"]
purposes = ["test"]
expires = 2099-12-31
"""


@dataclass(frozen=True, slots=True)
class Line:
    """One case; times in milliseconds on the clock.

    Attributes:
        coordinates: of the model; each is 8 bytes here, as the studies' ring has 64 bits.
        moved_ms: the same bytes over the same link, nothing else; median.
        over_moved: median_ms / moved_ms.
        commit_ms: one FULL commit in the same folder while nothing else of this runs; median.
        file_system: where the state lies; tmpfs would make syncs free.
        hospital_cpu_ms, coordinator_cpu_ms: CPU time of one hospital's and of the coordinator's process in a round; mean.
        load: runnable processes of the machine, one-minute mean, before and after.
    """

    hospitals: int
    coordinates: int
    tls: bool
    median_ms: float
    p95_ms: float
    rounds: int
    moved_ms: float
    over_moved: float
    commit_ms: float
    file_system: str
    hospital_cpu_ms: float
    coordinator_cpu_ms: float
    load: tuple[float, float]


def hidden_for(coordinates: int) -> tuple[int, ...]:
    """Widths of the layers of a network with about so many parameters."""
    if coordinates <= 4000 * (INPUTS + 2):
        return (max(1, (coordinates - INTERVALS) // (INPUTS + 2)),)
    width = round((coordinates + (INPUTS + 3) ** 2 / 4) ** 0.5 - (INPUTS + 3) / 2)
    return (width, width)


def write_study(folder: Path, coordinates: int, rounds: int) -> Path:
    """A study of so many rounds behind its life table."""
    model = f'family = "mlp"\nhidden = {list(hidden_for(coordinates))}\nrounds = {rounds}\nlocal_steps = 1\n'
    text = study_files.text(
        ('family = "piecewise_exponential"\n', model + "sample_rate = 0.01\n"),
        ('id = "small"', 'id = "round-trip"'),
    )
    path = folder / "study.toml"
    path.write_text(text, encoding="utf-8")
    return path


def file_system(folder: Path) -> str:
    """The type of the file system that holds the folder."""
    best, kind = "", "unknown"
    for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines():
        _, mount, found, *_ = line.split()
        if folder.resolve().is_relative_to(mount) and len(mount) >= len(best):
            best, kind = mount, found
    return kind


def commit_ms(folder: Path) -> float:
    """Median of one FULL commit of a small row, in write-ahead mode."""
    base = sqlite3.connect(folder / "commit.db", isolation_level=None)
    base.execute("PRAGMA journal_mode = WAL")
    base.execute("PRAGMA synchronous = FULL")
    base.execute("CREATE TABLE one (number INTEGER PRIMARY KEY, row BLOB)")
    times = []
    for _ in range(COMMITS):
        start = time.perf_counter()
        base.execute("INSERT OR REPLACE INTO one VALUES (1, ?)", (os.urandom(100),))
        times.append(time.perf_counter() - start)
    base.close()
    return 1000 * median(times)


def homes(folder: Path) -> Consortium:
    """Keys, roster and policy of every member, in the places where the commands look."""
    made = make_consortium(folder / "members", hospitals=HOSPITALS)
    for member in ("coordinator", *HOSPITALS):
        home = folder / member
        home.mkdir()
        (folder / "members" / member).rename(home / "keys")
        if member in HOSPITALS:
            (home / "policy.toml").write_text(POLICY, encoding="utf-8")
            study_files.write_csv(study_files.table(), home, "table.csv")
    return made


@dataclass(frozen=True, slots=True)
class Rounds:
    """Wall time of every round behind the warm-up, and mean CPU time of one hospital and of the coordinator in one of them; ms."""

    wall_ms: list[float]
    hospital_cpu_ms: float
    coordinator_cpu_ms: float


def run_study(folder: Path, study: Path, rounds: int) -> Rounds:
    """The whole study, by the commands that operators run."""
    with Processes(folder) as processes:
        processes.start(
            "coordinator",
            "coordinate",
            *("run", "--home", str(folder / "coordinator"), "--study", str(study), "--listen", "127.0.0.1:0"),
            *("--out", str(folder / "out"), "--no-pia", "--json"),
        )
        (listening,) = processes.wait_for("coordinator", "listening", 1)
        for name in HOSPITALS:
            processes.start(
                name,
                "serve",
                *("run", "--home", str(folder / name), "--study", str(study), "--json"),
                *("--data", str(folder / name / "table.csv")),
                *("--coordinator", f"127.0.0.1:{listening['port']}"),
            )
        processes.wait_for("coordinator", "done", 1)
        starts = processes.events("coordinator", "round_started")[1 + WARM_UP :]
        took = [processes.events(name, "training")[1 + WARM_UP :] for name in HOSPITALS]
    walls = [1000 * (b["wall_s"] - a["wall_s"]) for a, b in pairwise(starts)]
    return Rounds(walls, sum(map(_cpu_ms, took)) / len(took), _cpu_ms(starts))


def _cpu_ms(events: list[dict[str, Any]]) -> float:
    """Mean CPU time from one to the next."""
    return 1000 * (events[-1]["cpu_s"] - events[0]["cpu_s"]) / (len(events) - 1)


class Processes:
    """The members' processes; what they print goes to files, so that nobody who reads along takes a share of the two cores."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._running.values():
            process.terminate()
        for process in self._running.values():
            process.wait()

    def start(self, name: str, role: str, *arguments: str) -> None:
        with (
            (self._folder / f"{name}.out").open("wb") as out,
            (self._folder / f"{name}.err").open("wb") as err,
        ):
            command = [sys.executable, "-m", "tests.bench.round_trip_node", role, *arguments]
            self._running[name] = subprocess.Popen(command, stdout=out, stderr=err)

    def events(self, name: str, event: str) -> list[dict[str, Any]]:
        """What the process said so far of one kind."""
        lines = (self._folder / f"{name}.out").read_text(encoding="utf-8").split("\n")[:-1]
        return [body for line in lines if (body := json.loads(line))["event"] == event]

    def wait_for(self, name: str, event: str, count: int) -> list[dict[str, Any]]:
        """So many events of one kind; the process must live until then."""
        end = time.monotonic() + PATIENCE_S
        while len(found := self.events(name, event)) < count:
            ended = [
                f"{who}: {(self._folder / f'{who}.err').read_text(encoding='utf-8')[-500:]}"
                for who, p in self._running.items()
                if p.poll()
            ]
            if ended or time.monotonic() > end:
                raise SystemExit("; ".join(ended) or f"no {event} of {name} within {PATIENCE_S:.0f} s")
            time.sleep(0.2)
        return found


def moved_ms(folder: Path, keys: Consortium, vector_bytes: int, rounds: int) -> float:
    """Median time to move a round's bytes over the link and do nothing with them."""
    server = LinkServer("127.0.0.1:0", keys.coordinator_keys, keys.roster)
    port = server.start()
    try:
        with Processes(folder) as processes:
            for name in HOSPITALS:
                processes.start(f"moving-{name}", "move", str(folder / name / "keys"), str(port))
            for _ in HOSPITALS:
                assert isinstance(server.receive(PATIENCE_S), Connected)
            times = []
            for _ in range(rounds):
                start = time.perf_counter()
                _trip(server, asking(vector_bytes, vector_bytes))
                for _ in range(SMALL_TRIPS):
                    _trip(server, asking(SMALL_BYTES, SMALL_BYTES))
                # The receipt: its arrival is part of the round, as the next order waits behind it.
                _trip(server, asking(vector_bytes, 1))
                times.append(time.perf_counter() - start)
    finally:
        server.stop()
    return 1000 * median(times[WARM_UP:])


def _trip(server: LinkServer, message: bytes) -> None:
    for name in HOSPITALS:
        server.send(name, message)
    due = len(HOSPITALS)
    while due:
        event = server.receive(PATIENCE_S)
        assert isinstance(event, Received)
        due -= event.message[:1] == b"\x01"


def measure(coordinates: int, rounds: int, where: Path) -> Line:
    """One case."""
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="round-trip-", dir=where) as name:
        folder = Path(name)
        keys = homes(folder)
        study = write_study(folder, coordinates, rounds)
        parse_study(study.read_text(encoding="utf-8"), study.name)
        commit = commit_ms(folder)
        found = run_study(folder, study, rounds)
        times = found.wall_ms
        moved = moved_ms(folder, keys, coordinates * MODULUS_BITS // 8, min(rounds, 40))
        kind = file_system(folder)
    return Line(
        len(HOSPITALS),
        coordinates,
        True,
        median(times),
        quantiles(times, n=20)[-1],
        len(times),
        moved,
        median(times) / moved,
        commit,
        kind,
        found.hospital_cpu_ms,
        found.coordinator_cpu_ms,
        (load, os.getloadavg()[0]),
    )


def summary(line: Line) -> str:
    """One line for people."""
    return (
        f"{line.hospitals} hospitals, {line.coordinates} coordinates, mutual TLS: a round {line.median_ms:.1f} ms "
        f"(95 %: {line.p95_ms:.1f}), the bytes alone {line.moved_ms:.1f} ms ({line.over_moved:.1f} x), one FULL commit "
        f"{line.commit_ms:.2f} ms on {line.file_system}; CPU {line.hospital_cpu_ms:.1f} ms a hospital, "
        f"{line.coordinator_cpu_ms:.1f} ms the coordinator; load {line.load[0]:.1f} to {line.load[1]:.1f}"
    )


def main(arguments: Sequence[str]) -> int:
    """Print every case."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.round_trip", description=__doc__)
    parser.add_argument("--json", action="store_true", help="JSON lines on standard output")
    parser.add_argument("--coordinates", type=int, nargs="+", default=[10_000, 1_000_000])
    parser.add_argument("--rounds", type=int, help="training rounds; by default 100, fewer for long vectors")
    parser.add_argument(
        "--where", type=Path, default=Path.cwd(), help="folder for the members' state, on a real disk"
    )
    asked = parser.parse_args(arguments)
    for coordinates in asked.coordinates:
        line = measure(coordinates, asked.rounds or (100 if coordinates <= 100_000 else 20), asked.where)
        if asked.json:
            print(json.dumps(asdict(line)), flush=True)
        print(summary(line), file=sys.stderr, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
