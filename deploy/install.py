"""Creates `.venv` and installs the pinned dependencies; standard library only, since it runs before anything is there."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CONSTRAINTS = ROOT / "deploy" / "constraints.txt"
TORCH = "torch==2.13.0"
MINIMUM = (3, 11)
DEMO, DEMO_AND_NETWORKS = "demo", "study"
CUDA_ONLY = (
    "torch from your package index is a CUDA build of several GB; give `TORCH_INDEX=<address>` to make with the CPU index that pytorch.org "
    "shows under 'Get started', or `ALLOW_CUDA=1` to take it."
)


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def fail(sentence: str) -> int:
    sys.stderr.write(f"error: {sentence}\n")
    return 2


def pip(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]


def create_venv(directory: Path) -> int:
    """Makes the virtual environment with the interpreter that runs this file."""
    if sys.version_info < MINIMUM:
        found = ".".join(str(part) for part in sys.version_info[:3])
        return fail(f"Python {found} is too old; run again with `make PYTHON=python3.11` or newer.")
    try:
        venv.create(directory, with_pip=True)
    except (subprocess.CalledProcessError, OSError, ImportError):
        return fail(
            f"Cannot create {directory.name}; on Debian and Ubuntu run `apt install make python3-venv` first."
        )
    return 0


def gpu_packages(index: list[str]) -> list[str]:
    """Names of the CUDA packages that a plain torch would bring, without downloading any of them."""
    report = subprocess.run(
        pip("install", "-qq", "--dry-run", "--report", "-", *index, "-c", str(CONSTRAINTS), TORCH),
        capture_output=True,
        text=True,
        check=False,
    )
    if report.returncode != 0:
        return []
    planned = json.loads(report.stdout).get("install", [])
    names = [package["metadata"]["name"] for package in planned]
    return sorted(name for name in names if name.startswith(("nvidia-", "triton")))


def install(extras: str, torch_index: str) -> int:
    """Installs the project with the given extras; never pulls a CUDA build of torch by accident."""
    index = ["--extra-index-url", torch_index] if torch_index else []
    started = time.monotonic()
    say(f"Installing wardround[{extras}] with pinned versions into .venv (a few minutes the first time) ...")
    if not os.environ.get("ALLOW_CUDA") and gpu_packages(index):
        if extras != DEMO_AND_NETWORKS:
            return fail(CUDA_ONLY)
        # The demo's model is linear: it needs no torch, and must not cost a visitor gigabytes.
        say(f"Without torch for now, so families 'mlp' and 'module' are not there: {CUDA_ONLY}")
        extras = DEMO
    done = subprocess.run(
        pip("install", "-qq", *index, "-c", str(CONSTRAINTS), "-e", f"{ROOT}[{extras}]"), check=False
    )
    if done.returncode != 0:
        return fail(f"pip could not install wardround[{extras}]; its own message stands above.")
    say(f"Installed in {time.monotonic() - started:.0f} s.")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    create = commands.add_parser("venv")
    create.add_argument("directory", type=Path)
    extra = commands.add_parser("extras")
    extra.add_argument("extras")
    extra.add_argument("--torch-index", default="")
    arguments = parser.parse_args()
    if arguments.command == "venv":
        return create_venv(arguments.directory)
    return install(arguments.extras, arguments.torch_index)


if __name__ == "__main__":
    sys.exit(main())
