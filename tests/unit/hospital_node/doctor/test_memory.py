"""Memory: the machine's, and a control group's where that is less."""

from __future__ import annotations

from pathlib import Path

from hospital_node.doctor.memory import NODE_BYTES, available_bytes, judge, needed_bytes
from tests.doctor_setting import Setting

MIB = 1 << 20


def test_enough(setting: Setting) -> None:
    assert setting.outcome("memory").finding.result == "ok"


def test_a_machine_with_too_little(setting: Setting) -> None:
    (setting.system / "proc/meminfo").write_text("MemAvailable: 100000 kB\n")
    found = setting.outcome("memory").finding
    assert (found.result, "97 MiB available" in found.found) == ("failed", True)
    assert "more memory" in found.remedy
    assert judge(NODE_BYTES - 1, NODE_BYTES).result == "warn"
    assert judge(None, NODE_BYTES).result == "ok"


def test_a_container_may_have_less_than_its_machine(tmp_path: Path) -> None:
    for folder in ("proc/self", "sys/fs/cgroup/slice/node", "sys/fs/cgroup/memory"):
        (tmp_path / folder).mkdir(parents=True)
    assert available_bytes(tmp_path) is None
    (tmp_path / "proc/meminfo").write_text("MemFree: 1 kB\nMemAvailable:  8388608 kB\n")
    assert available_bytes(tmp_path) == 8192 * MIB
    (tmp_path / "proc/self/cgroup").write_text("0::/slice/node\n")
    group = tmp_path / "sys/fs/cgroup/slice/node"
    (group / "memory.max").write_text("max\n")
    (group / "memory.current").write_text(f"{100 * MIB}\n")
    assert available_bytes(tmp_path) == 8192 * MIB
    (group / "memory.max").write_text(f"{600 * MIB}\n")
    assert available_bytes(tmp_path) == 500 * MIB
    (tmp_path / "sys/fs/cgroup/memory/memory.limit_in_bytes").write_text(f"{50 * MIB}\n")
    (tmp_path / "sys/fs/cgroup/memory/memory.usage_in_bytes").write_text(f"{40 * MIB}\n")
    assert available_bytes(tmp_path) == 10 * MIB


def test_what_a_node_needs_grows_with_model_and_table() -> None:
    assert needed_bytes("", "", 0) == NODE_BYTES
    assert needed_bytes("mlp", "", 0) > NODE_BYTES
    assert needed_bytes("", ".parquet", MIB) > needed_bytes("", ".csv", MIB) > NODE_BYTES
