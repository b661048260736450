"""The state folder's volume: full, read-only, in memory, over the network, slow."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hospital_node.doctor.disk import LEAST_BYTES, Volume, judge, kind_of, needed_bytes
from tests.doctor_setting import Setting
from tests.study_files import study

ROOT = Path(__file__).parents[4]
SPACIOUS = Volume(Path("/srv/state"), 1 << 40, 0.001, "ext4")
# Runs the check on folders in which volumes are mounted that nobody else sees.
LOOK = """
import sys
from pathlib import Path
from hospital_node.clock import SystemClock
from hospital_node.doctor.case import Case
from hospital_node.doctor.disk import look
from hospital_node.home import Home
for home in sys.argv[1:]:
    found = look(Case(Home(Path(home)), None, None, None, False, {}, SystemClock()))
    print(found.result, "|", found.found, "|", found.remedy)
"""
MOUNT = """
mount -t tmpfs -o size=1m none "$1" && mount -t tmpfs -o size=1m none "$2" || exit 77
mkdir "$1/state" "$2/state" "$3/state" "$3/reports"
mount -t tmpfs -o size=1m,ro none "$3/reports"
dd if=/dev/zero of="$1/ballast" bs=1M 2>/dev/null
mount -o remount,ro none "$2"
exec "$4" -c "$5" "$1" "$2" "$3"
"""


def test_a_disk_with_room(setting: Setting) -> None:
    before = sorted(setting.home.root.rglob("*"))
    found = setting.outcome("disk").finding
    assert found.result in ("ok", "warn"), found
    assert sorted(setting.home.root.rglob("*")) == before


def test_a_full_volume_and_a_read_only_one(tmp_path: Path) -> None:
    if shutil.which("unshare") is None:
        pytest.skip("no unshare here")
    homes = [str(tmp_path / name) for name in ("full", "readonly", "partly")]
    for home in homes:
        Path(home).mkdir()
    apart = ["unshare", "--user", "--map-root-user", "--mount"]
    command = [*apart, "sh", "-c", MOUNT, "sh", *homes, sys.executable, LOOK]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    if done.returncode == 77 or "unshare" in done.stderr:
        pytest.skip(f"no volume can be mounted here: {done.stderr.strip()[:100]}")
    assert done.returncode == 0, done.stderr
    full, readonly, partly = (line.split(" | ") for line in done.stdout.splitlines())
    assert (full[0], readonly[0], partly[0]) == ("failed", "failed", "failed")
    assert "No space left on device" in full[1]
    assert "make room" in full[2]
    assert "with write access" in readonly[2]
    assert "partly/reports is not writable" in partly[1]


def test_a_study_may_need_more_than_there_is() -> None:
    wide = study(('family = "piecewise_exponential"', 'family = "mlp"\nhidden = [4096, 4096]'))
    assert needed_bytes(wide) > 10 * needed_bytes(study()) > 10 * LEAST_BYTES
    low = Volume(Path("/srv/state"), needed_bytes(wide) - 1, 0.001, "ext4")
    assert judge(low, needed_bytes(wide)).result == "failed"
    assert judge(low, needed_bytes(study())).result in ("ok", "warn")


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("tmpfs", "keep --home on a disk"),
        ("overlay", "mount a volume"),
        ("nfs4", "on a disk of this machine"),
        ("cifs", "on a disk of this machine"),
    ],
)
def test_a_file_system_that_does_not_keep_a_ledger(kind: str, words: str) -> None:
    found = judge(Volume(Path("/srv/state"), 1 << 40, 0.001, kind), LEAST_BYTES)
    assert (found.result, words in found.remedy) == ("warn", True)


def test_little_room_and_slow_syncs_are_warned_of() -> None:
    assert judge(SPACIOUS, LEAST_BYTES).result == "ok"
    assert "make room" in judge(Volume(Path("/s"), 2 * LEAST_BYTES, 0.001, "ext4"), LEAST_BYTES).remedy
    assert "every round waits" in judge(Volume(Path("/s"), 1 << 40, 1.5, "ext4"), LEAST_BYTES).found


def test_the_file_system_is_that_of_the_innermost_and_latest_mount(tmp_path: Path) -> None:
    inner = tmp_path / "a folder" / "state"
    inner.mkdir(parents=True)
    (tmp_path / "proc/self").mkdir(parents=True)
    point = str(tmp_path / "a folder").replace(" ", "\\040")
    (tmp_path / "proc/self/mountinfo").write_text(
        "20 1 0:1 / / rw - ext4 /dev/sda rw\n"
        f"21 20 0:2 / {point} rw,noatime shared:1 - xfs /dev/sdb rw\n"
        f"22 21 0:3 / {point} rw - nfs4 server:/x rw\n"
        f"23 20 0:4 / {tmp_path}/other rw - tmpfs none rw\n"
    )
    assert kind_of(tmp_path, inner) == "nfs4"
    assert kind_of(tmp_path, tmp_path / "other" / "x") == "tmpfs"
    assert kind_of(tmp_path, Path("/")) == "ext4"
    assert kind_of(tmp_path / "nothing", inner) == ""
