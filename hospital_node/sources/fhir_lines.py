"""Lines of a FHIR bulk export: `*.ndjson`, also gzipped, one resource each."""

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from hospital_node.sources.facts import SourceError

MAX_LINE_BYTES = 16 << 20
NO_RESOURCE = "is no JSON object in UTF-8; a bulk export has one resource a line"
Resource = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a resource stands.

    Attributes:
        file: name. line: from 1.
    """

    file: str
    line: int

    def __str__(self) -> str:
        """ "observations.ndjson line 17"."""
        return f"{self.file} line {self.line}"


def export_files(folder: Path) -> tuple[Path, ...]:
    """The export's files in a fixed order.

    Raises:
        SourceError: no such folder, or none in it.
    """
    if not folder.is_dir():
        raise SourceError(str(folder), "is no folder; give the folder of the bulk export")
    found = sorted(path for path in folder.rglob("*") if path.name.endswith((".ndjson", ".ndjson.gz")))
    if not found:
        raise SourceError(folder.name, "holds no .ndjson file; give the folder of the bulk export")
    return tuple(found)


def resources(files: tuple[Path, ...], types: frozenset[str]) -> Iterator[tuple[Place, Resource]]:
    """Every resource of these types.

    Raises:
        SourceError: a line is no resource.
    """
    marks = tuple(f'"{name}"'.encode() for name in sorted(types))
    for path in files:
        for number, line in _lines(path):
            place = Place(path.name, number)
            if not _is_whole(line):
                raise SourceError(str(place), NO_RESOURCE)
            # Parsing costs most of the time, and a resource's type stands in its line.
            if not any(mark in line for mark in marks):
                continue
            resource = _parsed(line, place)
            if resource.get("resourceType") in types:
                yield place, resource


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    problem = ""
    try:
        opener = gzip.open if path.name.endswith(".gz") else open
        with cast(BinaryIO, opener(path, "rb")) as file:
            number = 0
            while line := file.readline(MAX_LINE_BYTES + 1):
                number += 1
                if len(line) > MAX_LINE_BYTES:
                    problem = f"line {number} is longer than {MAX_LINE_BYTES >> 20} MiB; export it again"
                    break
                if line.strip():
                    yield number, line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
    except (OSError, EOFError) as error:
        problem = f"cannot be read: {getattr(error, 'strerror', None) or 'the file is damaged'}"
    if problem:
        raise SourceError(path.name, problem)


def _parsed(line: bytes, place: Place) -> Resource:
    parsed: Any = None
    try:
        parsed = json.loads(line)
    except (ValueError, RecursionError):
        parsed = None
    if not isinstance(parsed, dict):
        raise SourceError(str(place), NO_RESOURCE)
    return parsed


def _is_whole(line: bytes) -> bool:
    """Whether the line can be an object; one that was cut off must not be skipped for lack of its type."""
    bare = line.strip()
    return bare.startswith(b"{") and bare.endswith(b"}")
