"""Is there a disk under the state folder on which a study survives: writable, with room, and kept over a restart?"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from hospital_node.doctor.case import Case
from hospital_node.doctor.finding import Check, Finding, failed, ok, warn
from privacy.studies.study import Study
from privacy.studies.study_tasks import tasks_of
from privacy.studies.training import resolve_training

LEAST_BYTES = 50 << 20
PLENTY_BYTES = 1 << 30
WORD_BYTES = 8
# A round keeps its upload, the sum, the model and what was answered.
VECTORS_A_ROUND = 4
SLOW_SYNC_S = 0.25
PROBE_BYTES = 1 << 14
SYNCS = 3
GONE_WITH_RESTART = frozenset({"tmpfs", "ramfs"})
GONE_WITH_CONTAINER = frozenset({"overlay", "aufs"})
OVER_NETWORK = frozenset(
    {"9p", "afs", "ceph", "cifs", "fuse.glusterfs", "fuse.sshfs", "ncpfs", "nfs", "nfs4", "smb3", "smbfs"}
)


@dataclass(frozen=True, slots=True)
class Volume:
    """What is under the state folder.

    Attributes:
        free_bytes: for this user.
        sync_s: how long a small write to it took until it was on the disk.
        kind: type of the file system; empty where the system does not say.
    """

    path: Path
    free_bytes: int
    sync_s: float
    kind: str


def look(case: Case) -> Finding:
    for folder in written(case.home.root):
        if folder.is_dir() and not os.access(folder, os.W_OK | os.X_OK):
            return failed(
                f"{folder} is not writable by this user",
                "give it to the user who runs the node, or mount its volume with write access",
            )
    state = next(f for f in (case.home.ledger.parent, case.home.root) if f.is_dir())
    try:
        # The quickest of three: the slowest says how busy the disk is at this moment.
        sync_s = min(_try_to_write(state, case) for _ in range(SYNCS))
    except OSError as problem:
        return failed(
            f"nothing can be written to {state} ({problem.strerror})",
            "make room on its volume, or mount it with write access",
        )
    volume = Volume(state, shutil.disk_usage(state).free, sync_s, kind_of(case.system, state))
    return judge(volume, needed_bytes(case.study))


def written(root: Path) -> tuple[Path, ...]:
    """Folders of the home that a node writes to."""
    names = ("state", "state/session", "reports", "epochs", "kept")
    return (root, *(root / name for name in names))


def _try_to_write(folder: Path, case: Case) -> float:
    path = folder / f".doctor-{os.getpid()}"
    started_s = case.clock.monotonic_s()
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(handle, bytes(PROBE_BYTES))
        os.fsync(handle)
    finally:
        os.close(handle)
        path.unlink()
    return case.clock.monotonic_s() - started_s


def kind_of(system: Path, folder: Path) -> str:
    """Type of the file system that holds a folder, from /proc/self/mountinfo (proc(5)); "" where there is none."""
    try:
        table = (system / "proc/self/mountinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    where, found = folder.resolve(), ("", "")
    for line in table.splitlines():
        mount, _, rest = line.partition(" - ")
        # Blanks in names are written as octal.
        point = mount.split(" ")[4].replace("\\040", " ") if mount.count(" ") > 4 else ""
        # A later mount at the same place covers the earlier one.
        if point and where.is_relative_to(point) and len(point) >= len(found[0]):
            found = (point, rest.split(" ", 1)[0])
    return found[1]


def needed_bytes(study: Study | None) -> int:
    """What one study leaves on the disk at most, by the length of its longest vector and the number of its rounds."""
    if study is None:
        return LEAST_BYTES
    training = resolve_training(study)
    tasks = tasks_of(study, training)
    longest = max(task.length for task in tasks)
    return LEAST_BYTES + VECTORS_A_ROUND * WORD_BYTES * longest * (len(tasks) + 1)


def judge(volume: Volume, need: int) -> Finding:
    """The worst that is to be said of a volume that could be written to."""
    free, room = _size(volume.free_bytes), f"{volume.path} has {_size(volume.free_bytes)} free"
    if volume.free_bytes < need:
        return failed(
            f"{room}, a study needs about {_size(need)}",
            "make room on this volume; nothing in state/ or kept/ may be deleted",
        )
    if volume.kind in GONE_WITH_RESTART:
        return warn(
            f"{volume.path} lies in memory ({volume.kind}): with a restart the ledger is gone, and with it what was spent",
            "keep --home on a disk",
        )
    if volume.kind in GONE_WITH_CONTAINER:
        return warn(
            f"{volume.path} lies in a container's own layer ({volume.kind}), which goes with the container",
            "mount a volume there",
        )
    if volume.kind in OVER_NETWORK:
        return warn(
            f"{volume.path} lies on a network file system ({volume.kind}), whose locks and syncs SQLite cannot rely on",
            "keep --home on a disk of this machine",
        )
    if volume.free_bytes < max(PLENTY_BYTES, 2 * need):
        return warn(f"{room}, a study needs about {_size(need)}", "make room on this volume before the study")
    if volume.sync_s > SLOW_SYNC_S:
        return warn(
            f"a small write to {volume.path} took {volume.sync_s:.1f} s to reach the disk, and every round waits for several",
            "find out what keeps this disk busy, or move --home to another",
        )
    return ok(f"{free} free, writable{f', {volume.kind}' if volume.kind else ''}")


def _size(count: int) -> str:
    return f"{count / (1 << 30):.1f} GiB" if count >= 1 << 30 else f"{count >> 20} MiB"


CHECK = Check("disk", look, needs=("home",), remedy="a volume that hangs is seen by `df`; remount it")
