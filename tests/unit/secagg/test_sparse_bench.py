"""The runs at scale work, at sizes that a test can wait for; their figures at full size are `python -m tests.bench.NAME`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.bench import memory, scale


def test_a_small_run_is_exact(capsys: pytest.CaptureFixture[str]) -> None:
    assert scale.main(["--json", "--hospitals", "24", "--coordinates", "100"]) == 0
    line = json.loads(capsys.readouterr().out)
    assert line["exact"]
    assert line["dropped"] == 2
    assert line["signature_checks_done"] < line["signature_checks"]


@pytest.mark.slow
def test_two_hundred_hospitals_with_and_without_the_cache(capsys: pytest.CaptureFixture[str]) -> None:
    assert scale.main(["--json", "--hospitals", "200", "--coordinates", "10000"]) == 0
    assert scale.main(["--json", "--hospitals", "60", "--coordinates", "100", "--no-cache"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert all(line["exact"] for line in lines)
    assert lines[1]["signature_checks_done"] == lines[1]["signature_checks"]
    assert lines[0]["cpu_seconds"] < 60


@pytest.mark.slow
def test_memory_of_the_coordinator_does_not_grow_with_the_hospitals(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--json", "--hospitals", "4", "12", "--coordinates", "2000000", "--directory", str(tmp_path)]
    assert memory.main(options) == 0
    few, many = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert many["peak_rss_mib"] - few["peak_rss_mib"] < few["vector_mib"]
    assert many["peak_rss_mib"] - many["before_mib"] < 4 * many["vector_mib"]
