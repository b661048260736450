"""The profile as one self-contained HTML file that only its owner can read: no script, nothing to fetch."""

import os
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

from jinja2 import DictLoader, Environment, StrictUndefined

from hospital_node.profile import Bar, ColumnProfile, Profile

_WIDTH, _HEIGHT, _GAP = 300.0, 92.0, 1.5


def render(profile: Profile) -> str:
    """The page."""
    template = files("hospital_node").joinpath("profile.html.j2").read_text(encoding="utf-8")
    environment = Environment(
        loader=DictLoader({"page": template}),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["format_number"] = "{:.4g}".format
    return environment.get_template("page").render(p=profile, bars=_bars)


def write(profile: Profile, path: Path) -> None:
    """Write the page with mode 0600; an older one is replaced."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(render(profile))


def _bars(column: ColumnProfile) -> Iterator[tuple[str, str, str, str, Bar]]:
    """x, y, width and height of each bar."""
    most = max(bar.patients for bar in column.bars) or 1
    width = _WIDTH / len(column.bars)
    for number, bar in enumerate(column.bars):
        height = _HEIGHT * bar.patients / most
        figures = (number * width, _HEIGHT - height, max(width - _GAP, 0.5), height)
        x, y, w, h = (f"{figure:.2f}" for figure in figures)
        yield x, y, w, h, bar
