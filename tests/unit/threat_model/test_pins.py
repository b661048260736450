"""The installation takes exactly the versions that were tested."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[3]


def name_of(requirement: str) -> str:
    return re.split(r"[\[<>=!~; ]", requirement, maxsplit=1)[0].lower().replace("_", "-").replace(".", "-")


def test_every_dependency_is_pinned_to_one_version() -> None:
    lines = [
        line.split("#")[0].strip() for line in (ROOT / "deploy" / "constraints.txt").read_text().splitlines()
    ]
    pinned = [line for line in lines if line]
    assert all(re.fullmatch(r"[\w.\-\[\]]+==[\w.+!]+(\s*;.*)?", line) for line in pinned)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = [
        *project["dependencies"],
        *extras["study"],
        *extras["coordinator"],
        *extras["hospital"],
        *extras["dpo"],
    ]
    missing = {name_of(line) for line in wanted} - {name_of(line) for line in pinned} - {"wardround"}
    assert not missing
