"""The demo's consortium: folders, data, keys that each party makes for itself, a roster that all of them sign."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from coordinator import enrolment as coordinator_enrolment
from coordinator import keys as coordinator_keys
from coordinator.entropy import OsEntropy as CoordinatorEntropy
from deploy.actg175 import HOSPITALS, write_demo
from hospital_node import enrolment, keys
from hospital_node.entropy import OsEntropy
from hospital_node.home import Home


@dataclass(frozen=True, slots=True)
class DemoFolder:
    """Where a demo keeps what; `data` stands for what the hospitals' data managers extracted."""

    root: Path

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def coordinator(self) -> Path:
        return self.root / "coordinator"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    def hospital(self, name: str) -> Home:
        return Home(self.root / "hospitals" / name)

    def run(self, number: int) -> Path:
        return self.root / f"run-{number}"

    def next_run(self) -> int:
        """1 for a fresh folder, one more for every run that was kept."""
        return 1 + sum(1 for _ in self.root.glob("run-*"))


@dataclass(frozen=True, slots=True)
class DemoRun:
    """One run in a folder."""

    folder: DemoFolder
    number: int
    started_s: float
    hospitals: tuple[str, ...] = HOSPITALS

    @property
    def out(self) -> Path:
        return self.folder.run(self.number)

    @property
    def study(self) -> Path:
        return self.folder.data / f"study-{self.number}.toml"


def prepare(folder: DemoFolder, console: Console) -> DemoRun:
    """Data, keys and roster for a fresh folder; only a new study for one that is kept."""
    run = DemoRun(folder, folder.next_run(), time.monotonic())
    if run.number == 1:
        console.print(
            "[bold]ACTG 175[/bold]: 2,139 patients of a randomized HIV trial, in four pretended hospitals by age"
        )
        write_demo(folder.data)
        policies = {
            folder.hospital(name): (folder.data / f"{name}.policy.toml").read_text(encoding="utf-8")
            for name in HOSPITALS
        }
        form_consortium(folder.coordinator, policies, "operator of the demo")
        console.print("every party made its own keys; all hospitals signed the roster")
    text = (folder.data / "study.toml").read_text(encoding="utf-8")
    run.study.write_text(
        text.replace('id = "actg175-demo"', f'id = "actg175-demo-{run.number}"'), encoding="utf-8"
    )
    run.out.mkdir()
    return run


def form_consortium(coordinator: Path, policies: Mapping[Home, str], contact: str) -> None:
    """init, enrol and roster, as the three commands do it on each party's machine.

    Args:
        coordinator: the coordinator's home folder.
        policies: each hospital's home folder, named as the hospital, with the text of its policy.toml.
        contact: whom to call, for the enrolment files.
    """
    now = datetime.now(UTC)
    at_coordinator = coordinator / "keys"
    coordinator_keys.create(at_coordinator, "coordinator", entropy=CoordinatorEntropy().take, now=now)
    files = []
    for home, policy in policies.items():
        home.prepare()
        keys.create(home.keys, home.root.name, entropy=OsEntropy().random_bytes, now=now)
        files.append(enrolment.write_enrolment(home.keys, contact))
        home.policy.write_text(policy, encoding="utf-8")
    coordinator_enrolment.enrol(at_coordinator, files)
    draft = coordinator_enrolment.draft_roster(at_coordinator, contact)
    signatures = [enrolment.sign_roster(home.keys, draft) for home in policies]
    complete = coordinator_enrolment.collect_signatures(at_coordinator, signatures).path
    assert complete is not None
    for home in policies:
        enrolment.accept_roster(home.keys, complete)
