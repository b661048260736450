"""`data flatten`: from a source to the flat table that `data check` and `run` read; nothing leaves the hospital."""

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from hospital_node.findings import bucket
from hospital_node.sources.definition import Definition
from hospital_node.sources.facts import Records, SourceError, requests_of
from hospital_node.sources.timeline import Step, timeline
from hospital_node.sources.windows import flat_table


@dataclass(frozen=True, slots=True, repr=False)
class Flattened:
    """The flat table and what its maker may hear; it never prints.

    Attributes:
        table: one row for each patient.
        steps: patients left after each rule.
        empty: column -> patients without a value.
        notes: sentences for the data manager.
    """

    table: pd.DataFrame
    steps: tuple[Step, ...]
    empty: dict[str, int]
    notes: tuple[str, ...]

    def summary(self) -> dict[str, object]:
        """For the terminal: numbers of patients as buckets only."""
        return {
            "steps": [{"rule": step.rule, "patients": bucket(step.patients)} for step in self.steps],
            "empty": {name: bucket(number) for name, number in self.empty.items() if number},
            "notes": list(self.notes),
        }

    def lines(self) -> tuple[str, ...]:
        """The summary for people."""
        shrank = [f"{step.rule}: {bucket(step.patients)} patients" for step in self.steps]
        empty = [f"column '{name}' is empty for {bucket(n)} patients" for name, n in self.empty.items() if n]
        return (*shrank, *empty, *(f"note: {note}" for note in self.notes))


def flatten(definition: Definition, folder: Path) -> Flattened:
    """The cohort of the source in `folder`.

    Raises:
        SourceError: the source cannot be read, or something in it has no mapping.
    """
    records = _read(definition, folder)
    cohort = timeline(definition, records)
    table = flat_table(definition, records, cohort)
    empty = {str(name): int(count) for name, count in table.isna().sum().items()}
    return Flattened(table, cohort.steps, empty, (*records.notes, *cohort.notes))


def _read(definition: Definition, folder: Path) -> Records:
    requests = requests_of(definition)
    if definition.is_omop:
        from hospital_node.sources.omop import read_omop

        return read_omop(folder, definition, requests)
    from hospital_node.sources.fhir import read_fhir

    return read_fhir(folder, definition, requests)


def write_table(table: pd.DataFrame, out: Path, source: Path) -> None:
    """Write the table with mode 0600, at once or not at all.

    Args:
        out: `.csv` or `.parquet`; an older one is replaced.
        source: folder of the source, where nothing may be written.

    Raises:
        SourceError: another name, or a place inside the source.
    """
    writers: dict[str, Callable[[pd.DataFrame, Path], None]] = {
        ".csv": _write_csv,
        ".parquet": _write_parquet,
    }
    write = writers.get(out.suffix.lower())
    if write is None:
        raise SourceError(out.name, "is neither .csv nor .parquet; name one of them by --out")
    if out.resolve().is_relative_to(source.resolve()):
        raise SourceError(out.name, "would lie in the folder of the source; name another place by --out")
    out.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, name = tempfile.mkstemp(dir=out.parent, prefix=".flat-")
    os.close(handle)
    try:
        write(table, Path(name))
        os.replace(name, out)
    finally:
        Path(name).unlink(missing_ok=True)


def _write_csv(table: pd.DataFrame, path: Path) -> None:
    table.to_csv(path, index=False)


def _write_parquet(table: pd.DataFrame, path: Path) -> None:
    table.to_parquet(path, index=False)
