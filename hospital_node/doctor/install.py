"""Is everything installed that a hospital's node imports?"""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping
from importlib import metadata
from importlib.util import find_spec

from hospital_node.doctor.case import Case
from hospital_node.doctor.finding import Check, Finding, failed, ok
from privacy.link.release import installed_release

LEAST_PYTHON = (3, 11)
# Module -> distribution; what `[hospital]` needs in pyproject.toml, but for torch and opacus (packages.py).
MODULES: Mapping[str, str] = {
    "cryptography": "cryptography",
    "dp_accounting": "dp-accounting",
    "flwr": "flwr",
    "grpc": "grpcio",
    "jinja2": "jinja2",
    "numpy": "numpy",
    "opendp": "opendp",
    "pandas": "pandas",
    "pandera": "pandera",
    "pyarrow": "pyarrow",
    "uvloop": "uvloop",
}
REMEDY = "in the virtual environment, from the folder of the code: pip install -c deploy/constraints.txt -e '.[hospital]'"


def look(case: Case) -> Finding:
    missing = [name for module, name in MODULES.items() if find_spec(module) is None]
    return judge(sys.version_info[:2], missing, installed_release(), _version("grpcio"))


def judge(python: tuple[int, int], missing: list[str], release: str, grpc: str) -> Finding:
    """Args: `missing` names distributions; `release` is "0" where none of wardround is installed."""
    if python < LEAST_PYTHON:
        return failed(
            f"Python {python[0]}.{python[1]} is too old",
            f"make the virtual environment with Python {LEAST_PYTHON[0]}.{LEAST_PYTHON[1]} or newer",
        )
    if missing:
        return failed(f"not installed: {', '.join(missing)}", REMEDY)
    return ok(f"wardround {release}, Python {platform.python_version()}, grpcio {grpc}")


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "of unknown version"


CHECK = Check("install", look, remedy=REMEDY)
