"""The quality report as a file that only its owner can read: JSON, or one self-contained HTML page."""

import json
import os
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from jinja2 import DictLoader, Environment, StrictUndefined

from hospital_node.synthesis.quality import Quality
from privacy.ledgers.policy_file import SyntheticGate

_WIDTH, _HEIGHT = 640.0, 240.0


def render(found: Quality, gate: SyntheticGate) -> str:
    """The page.

    Args:
        found: the report.
        gate: the hospital's setting.
    """
    template = files("hospital_node.synthesis").joinpath("quality.html.j2").read_text(encoding="utf-8")
    environment = Environment(
        loader=DictLoader({"page": template}),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    end = found.curve[-1][0]
    lines = [_line([(point[0] / end, point[side]) for point in found.curve]) for side in (1, 2)]
    return environment.get_template("page").render(q=found, gate=gate, real=lines[0], synthetic=lines[1])


def write(found: Quality, gate: SyntheticGate, path: Path) -> None:
    """Write with mode 0600; an older report is replaced."""
    text = (
        json.dumps(found.to_json() | {"synthetic_gate": gate}, indent=1)
        if path.suffix.lower() == ".json"
        else render(found, gate)
    )
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)


def _line(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{_WIDTH * x:.1f},{_HEIGHT * (1 - y):.1f}" for x, y in points)
