"""`make bench`: every benchmark, one JSON object a line on standard output, a summary line for people on standard error."""

from __future__ import annotations

import subprocess
import sys

BENCHMARKS: tuple[tuple[str, ...], ...] = (
    ("tests.bench.secagg", "--json"),
    ("tests.bench.scale", "--json"),
    ("tests.bench.memory", "--json"),
    ("tests.bench.round_trip", "--json"),
    ("tests.bench.dp_step", "--json"),
    ("tests.bench.kanon", "--json"),
    ("tests.bench.flatten", "--json"),
    ("tests.bench.utility", "--json", "--mode", "none"),
    ("tests.bench.utility", "--json", "--mode", "local", "--epsilon", "3"),
)


def main() -> int:
    """Runs all; the first exit code that is not 0, or 0."""
    codes = [
        subprocess.run([sys.executable, "-m", *command], check=False).returncode for command in BENCHMARKS
    ]
    return next((code for code in codes if code), 0)


if __name__ == "__main__":
    sys.exit(main())
