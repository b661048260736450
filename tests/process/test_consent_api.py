"""The consent API against its own description, by schemathesis in an environment of its own: it brings many packages."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hospital_node.clock import SystemClock
from hospital_node.consent_store import ConsentStore
from hospital_node.home import Home

pytestmark = pytest.mark.slow

TOKEN = "a-token-for-the-fuzzer-alone"
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def schemathesis(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command."""
    folder = tmp_path_factory.mktemp("schemathesis") / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, timeout=120)
    install = [
        *(str(folder / "bin" / "python"), "-m", "pip", "install", "-q", "--disable-pip-version-check"),
        "schemathesis==4.32.5",
    ]
    done = subprocess.run(install, capture_output=True, text=True, timeout=900, check=False)
    if done.returncode:
        pytest.skip(f"schemathesis cannot be installed here: {done.stderr.strip().splitlines()[-1:]}")
    return folder / "bin" / "schemathesis"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """`wardround-hospital consent serve` as a process; its home and address."""
    token = tmp_path / "token"
    token.write_text(TOKEN)
    token.chmod(0o600)
    command = [
        *(sys.executable, "-u", "-m", "hospital_node.cli", "consent", "serve", "--home", str(tmp_path)),
        *("--token-file", str(token), "--port", "0"),
    ]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert process.stdout is not None
    address = process.stdout.readline().split(" ")[0]
    yield tmp_path, address
    process.terminate()
    process.wait(timeout=10)


def test_every_answer_is_one_that_the_description_allows(
    schemathesis: Path, served: tuple[Path, str]
) -> None:
    home, address = served
    assert address.endswith("/openapi.json")
    done = subprocess.run(
        [
            *(str(schemathesis), "run", address, "--header", f"Authorization: Bearer {TOKEN}"),
            *("--checks", "all", "--max-examples", "60", "--seed", "1", "--no-color"),
        ],
        capture_output=True,
        text=True,
        timeout=600,
        cwd=home,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:]
    with ConsentStore(Home(home).consents, SystemClock()) as store:
        # Some of the generated statements are good ones, and are there.
        assert store._database.execute("SELECT count(*) FROM consents").fetchone()[0] > 0
