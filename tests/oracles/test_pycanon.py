"""k, l and t by pycanon, which shares no code with ours and lives in an environment of its own: it pins other versions."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from privacy.patients.anonymity import class_sizes, closeness, distinct, generalize

pytestmark = pytest.mark.slow

ORACLE = """
import json, sys
import pandas as pd
from pycanon import anonymity
table = pd.read_csv(sys.argv[1])
quasi = ["a", "b", "c"]
print(json.dumps({
    "k": int(anonymity.k_anonymity(table, quasi)),
    "l": int(anonymity.l_diversity(table, quasi, ["s"])),
    "t": [float(anonymity.t_closeness(part.reset_index(drop=True), quasi, ["bin"])) for _, part in table.groupby("event")],
}))
"""


@pytest.fixture(scope="module")
def pycanon(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python that has pycanon."""
    folder = tmp_path_factory.mktemp("pycanon") / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, timeout=120)
    python = folder / "bin" / "python"
    install = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", "pycanon==1.3.6"]
    done = subprocess.run(install, capture_output=True, text=True, timeout=900, check=False)
    if done.returncode:
        pytest.skip(f"pycanon cannot be installed here: {done.stderr.strip().splitlines()[-1:]}")
    return python


@pytest.mark.parametrize("rows", [60, 400])
def test_the_same_k_l_and_t(pycanon: Path, tmp_path: Path, rows: int) -> None:
    rng = np.random.default_rng(rows)
    table = pd.DataFrame({name: rng.integers(0, size, rows) for name, size in (("a", 3), ("b", 2), ("c", 2))})
    table["s"], table["bin"], table["event"] = (rng.integers(0, size, rows) for size in (4, 5, 2))
    path = tmp_path / "table.csv"
    table.to_csv(path, index=False)
    done = subprocess.run(
        [str(pycanon), "-c", ORACLE, str(path)], capture_output=True, text=True, timeout=300, check=True
    )
    oracle = json.loads(done.stdout.strip().splitlines()[-1])
    codes = [table[name].to_numpy(dtype=np.int64) for name in ("a", "b", "c")]
    classes = generalize(codes, (3, 2, 2))
    sensitive, bins, event = (table[name].to_numpy(dtype=np.int64) for name in ("s", "bin", "event"))
    assert int(class_sizes(classes).min()) == oracle["k"]
    assert distinct(classes, sensitive) == oracle["l"]
    assert closeness(classes, bins, event, 5) == pytest.approx(max(oracle["t"]), abs=1e-9)
