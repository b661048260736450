"""Is there memory for the table and the training?"""

from __future__ import annotations

import re
from pathlib import Path

from hospital_node.doctor.case import Case
from hospital_node.doctor.finding import Check, Finding, failed, ok, warn

# Measured (README, Limits): 225 MB for `data check` of a small CSV table, 300 MB of Parquet; a node beside it a little more.
NODE_BYTES = 400 << 20
TORCH_BYTES = 600 << 20
# 125 bytes a row of seven columns, which take about 45 bytes of CSV; Parquet packs them closer.
PER_BYTE = {".csv": 3, ".parquet": 12}


def look(case: Case) -> Finding:
    family = "" if case.study is None else case.study.model.family
    size = case.data.stat().st_size if case.data is not None and case.data.is_file() else 0
    suffix = case.data.suffix.lower() if case.data is not None else ""
    return judge(available_bytes(case.system), needed_bytes(family, suffix, size))


def needed_bytes(family: str, suffix: str, table_bytes: int) -> int:
    """An estimate from above, by the model's family and the size of the table's file."""
    return (
        NODE_BYTES
        + (TORCH_BYTES if family == "mlp" else 0)
        + PER_BYTE.get(suffix, max(PER_BYTE.values())) * table_bytes
    )


def available_bytes(system: Path) -> int | None:
    """What a new process may take: the machine's available memory, or less where a control group allows less; None where nothing says so."""
    machine = re.search(r"^MemAvailable:\s+(\d+) kB", _text(system / "proc/meminfo"), re.MULTILINE)
    if machine is None:
        return None
    available = int(machine[1]) * 1024
    for limit, used in _control_groups(system):
        ceiling, taken = _text(limit).strip(), _text(used).strip()
        if ceiling.isdecimal() and taken.isdecimal():
            available = min(available, max(int(ceiling) - int(taken), 0))
    return available


def _control_groups(system: Path) -> list[tuple[Path, Path]]:
    root = system / "sys/fs/cgroup"
    one = root / "memory"
    found = [(one / "memory.limit_in_bytes", one / "memory.usage_in_bytes")]
    own = re.search(r"^0::/(.*)$", _text(system / "proc/self/cgroup"), re.MULTILINE)
    for folder in {root, root / own[1] if own else root}:
        found.append((folder / "memory.max", folder / "memory.current"))
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""


def judge(available: int | None, need: int) -> Finding:
    """Fails where the node would be killed, warns where it may swap."""
    wanted = f"this node needs about {need >> 20} MiB"
    if available is None:
        return ok(f"{wanted}; how much is free this system does not say")
    said = f"{available >> 20} MiB available, {wanted}"
    if available < need // 2:
        return failed(said, "end other programs, or give the machine or the container more memory")
    if available < need:
        return warn(said, "end other programs, or give the machine or the container more memory")
    return ok(said)


CHECK = Check("memory", look)
