"""The benchmark runs and its lines have the fields that interfaces.md names."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.bench import secagg

STABLE = {
    "peers",
    "coordinates",
    "mask_cpu_s",
    "keystream_cpu_s",
    "unmask_cpu_s",
    "flower_mask_cpu_s",
    "flower_unmask_cpu_s",
    "bytes_up",
    "keystream_threads_cpu_s",
    "unmask_keystream_threads_cpu_s",
    "mask_first_cpu_s",
    "unmask_spooled_cpu_s",
}


def test_lines_of_the_benchmark(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--json", "--peers", "9", "--coordinates", "1000", "--repeats", "1"]
    code = secagg.main([*arguments, "--directory", str(tmp_path)])
    line = json.loads(capsys.readouterr().out)
    assert code == 0
    assert line.keys() >= STABLE
    assert all(line[key] > 0 for key in STABLE)
    assert line["unmask_expansions"] == 9 * 2
