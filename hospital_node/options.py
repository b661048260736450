"""Options that several commands of `wardround-hospital` share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

HOME = Annotated[Path, typer.Option("--home", help="Folder of this hospital's keys, policy and state.")]
JSON = Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")]
DATA = Annotated[Path, typer.Option("--data", help="Your table, .csv or .parquet.")]
DROP = Annotated[
    bool, typer.Option("--drop-undeclared", help="Leave out columns that the study does not declare.")
]
STUDY = Annotated[Path, typer.Option("--study", help="The study file that your people accepted.")]
