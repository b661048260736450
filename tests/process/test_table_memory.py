"""A million rows in bounded memory: peak of a fresh process that checks and profiles tables of two sizes."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.study_files import text

# Measured: 120 bytes a row for seven columns, of which the columns are 49, over 200 MB of libraries and 80 MB of Parquet's own.
BYTES_A_ROW, LEAST_MB = 180, 400
# Not ru_maxrss, which a process inherits from the one that started it.
MEASURE = """
import re, sys
from hospital_node.cli import app
app(sys.argv[1:], standalone_mode=False)
print(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read()).group(1))
"""


def peak_mb(*arguments: object) -> float:
    """Of the command in a process of its own."""
    ran = subprocess.run(
        [sys.executable, "-c", MEASURE, *map(str, arguments)], capture_output=True, text=True, check=True
    )
    return int(ran.stdout.splitlines()[-1]) / 1024


def write(rows: int, path: Path) -> Path:
    rng = np.random.default_rng(1)
    frame = pd.DataFrame(
        {
            "pid": np.char.add("P", np.arange(rows).astype(str)),
            "days": np.round(rng.uniform(1, 1500, rows), 1),
            "dead": rng.integers(0, 2, rows),
            "age": np.round(rng.uniform(20, 90, rows), 2),
            "marker": np.round(rng.uniform(0, 900, rows), 2),
            "arm": rng.integers(0, 3, rows).astype(str),
            "smoker": rng.integers(0, 2, rows),
        }
    )
    if path.suffix == ".csv":
        frame.to_csv(path, index=False)
    else:
        frame.to_parquet(path, index=False)
    return path


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from Linux's /proc")
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_memory_grows_by_less_than_the_bound(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "study.toml").write_text(text())
    peaks = []
    for rows in (250_000, 1_000_000):
        data = write(rows, tmp_path / f"{rows}{suffix}")
        command = ("data", "profile", "--study", tmp_path / "study.toml", "--data", data)
        peaks.append(peak_mb(*command, "--out", tmp_path / "profile.html"))
    assert peaks[0] < LEAST_MB
    assert (peaks[1] - peaks[0]) * (1 << 20) < BYTES_A_ROW * 750_000
