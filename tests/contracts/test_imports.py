"""The import contracts hold, and each of them bites: one planted violation per rule must be found."""

from __future__ import annotations

import pkgutil
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("secagg", "privacy", "threat_model", "hospital_node", "coordinator", "deploy")
LINT = Path(sys.executable).with_name("lint-imports")

PLANTED = {
    "arrows point down only": ("privacy/planted.py", "import coordinator.clock\n"),
    "the shells never import each other": ("hospital_node/planted.py", "import coordinator.clock\n"),
    "secagg is pure": ("secagg/planted.py", "import secrets\n"),
    "the coordinator cannot load a model or a patient table": ("coordinator/planted.py", "import pandas\n"),
    "privacy is pure": ("privacy/planted.py", "import sqlite3\n"),
    "the dpo command needs privacy and secagg alone": ("deploy/dpo_cli.py", "import threat_model\n"),
}


def lint(directory: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(LINT), "--no-cache"], cwd=directory, capture_output=True, text=True, check=False
    )


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the sources in which a violation can be planted."""
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path / "pyproject.toml")
    return tmp_path


def test_contracts_hold(tree: Path) -> None:
    result = lint(tree)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("rule", PLANTED)
def test_planted_violation_is_found(tree: Path, rule: str) -> None:
    path, line = PLANTED[rule]
    target = tree / path
    before = target.read_text() if target.exists() else '"""Planted."""\n\n'
    target.write_text(before + "\n" + line)
    result = lint(tree)
    assert result.returncode == 1, result.stdout
    assert "BROKEN" in result.stdout


def test_init_files_are_empty() -> None:
    inits = [path for package in PACKAGES for path in (ROOT / package).rglob("__init__.py")]
    assert inits
    assert [str(path) for path in inits if path.read_text().strip()] == []


@pytest.mark.parametrize(
    ("package", "forbidden"),
    [
        (
            "coordinator",
            ("torch", "opacus", "pandas", "lifelines", "pandera", "pyarrow", "opendp", "hospital_node"),
        ),
        ("secagg", ("grpc", "flwr", "asyncio", "torch", "sqlite3")),
        ("privacy", ("grpc", "flwr", "torch", "opendp", "sqlite3", "pandas")),
        ("threat_model", ("grpc", "flwr", "torch", "pandas")),
    ],
)
def test_whole_package_loads_without(package: str, forbidden: tuple[str, ...]) -> None:
    """Importing every module of a package in a fresh interpreter loads none of the forbidden ones, not even indirectly."""
    modules = [
        found.name
        for found in pkgutil.walk_packages([str(ROOT / package)], prefix=f"{package}.")
        if "__main__" not in found.name
    ]
    assert modules
    code = (
        "import importlib, sys\n"
        f"for name in {modules!r}: importlib.import_module(name)\n"
        f"print([name for name in {forbidden!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
