"""The demo's check of sums finds one integer that is off."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from deploy.demo_consortium import DemoFolder, DemoRun
from deploy.exact_sum import SumCheck, check_sums
from tests.consortium import HOSPITALS, World, small_agreement

ONE_ROUND = (("rounds = 2", "rounds = 1"),)


@pytest.fixture
def demo(tmp_path: Path) -> tuple[World, DemoRun]:
    """A study run, its files laid out as the demo's processes leave them."""
    world = World.of(tmp_path, *ONE_ROUND)
    world.link.up = lambda h, k, m: () if (h, k) == ("d", "agreement") else (m,)
    run, _ = world.execute()
    run.state.close()
    folder = DemoFolder(tmp_path / "demo")
    (folder.coordinator / "state").mkdir(parents=True)
    shutil.copy(tmp_path / "coordinator.db", folder.coordinator / "state" / "coordinator.db")
    for hospital in HOSPITALS:
        shutil.copytree(tmp_path / "state" / hospital / "reports", folder.hospital(hospital).reports)
    return world, DemoRun(folder, 1, 0.0)


def test_equal_to_the_last_bit_over_exactly_the_named_hospitals(demo: tuple[World, DemoRun]) -> None:
    world, run = demo
    found = check_sums(run, world.agreement)
    assert found == SumCheck(2, True, "")
    assert found.sentence.startswith("exact sums: in 2 rounds")


def test_one_integer_off_in_one_round_is_found(demo: tuple[World, DemoRun]) -> None:
    world, run = demo
    path = run.folder.hospital("b").reports / "releases" / f"{world.study.id}-2.bin"
    recorded = np.frombuffer(path.read_bytes(), dtype="<i8").copy()
    recorded[3] += 1
    path.write_bytes(recorded.tobytes())
    found = check_sums(run, world.agreement)
    assert (found.rounds, found.equal) == (1, False)
    assert "FAILED, round 2 differs" in found.sentence


def test_a_study_without_a_finished_round_proves_nothing(demo: tuple[World, DemoRun]) -> None:
    _, run = demo
    other = small_agreement(*ONE_ROUND, ('id = "small"', 'id = "other"'))
    assert check_sums(run, other) == SumCheck(0, False, "no round was finished")
