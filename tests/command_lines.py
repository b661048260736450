"""Runs a script's commands in this process: arguments in, exit code and output out."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Ran:
    """One finished command."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """The one JSON object that it printed."""
        (line,) = self.out.splitlines()
        return json.loads(line)

    def error(self) -> str:
        """The one `error:` line, and nothing else was said."""
        assert self.out == ""
        (line,) = self.err.splitlines()
        assert line.startswith("error: "), line
        return line


def run(main: Callable[[], None], *arguments: object) -> Ran:
    """`main` as the script's entry point calls it."""
    out, err = io.StringIO(), io.StringIO()
    typed, sys.argv = sys.argv, ["script", *map(str, arguments)]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main()
    except SystemExit as ended:
        return Ran(int(str(ended.code or 0)), out.getvalue(), err.getvalue())
    finally:
        sys.argv = typed
    raise AssertionError("a script ends by SystemExit")
