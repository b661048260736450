"""Test vectors: whole rounds from given randomness, and messages that must be refused, as JSON.

`python -m secagg.vectors [FOLDER]` writes them to an existing folder, tests/vectors/v1 by default, byte for byte the same
each time. Byte strings are hexadecimal; a second implementation needs SPEC.md and these files, nothing else.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from secagg.vector_faults import faults
from secagg.vector_rounds import whole_rounds

FOLDER = "tests/vectors/v1"


def files() -> dict[str, bytes]:
    """File name to contents."""
    every = {**whole_rounds(), **faults()}
    return {f"{name}.json": (json.dumps(log, indent=1) + "\n").encode() for name, log in every.items()}


def main(arguments: Sequence[str]) -> None:
    """Write the files."""
    folder = arguments[0] if arguments else FOLDER
    for name, data in files().items():
        with open(f"{folder}/{name}", "wb") as file:
            file.write(data)


if __name__ == "__main__":
    main(sys.argv[1:])
