"""`python -m tests.bench.kanon --json`: what the anonymity stages cost on made-up patients, one JSON object a line.

{rows, quasi_identifiers, method, seconds}, wall time on one thread, best of three. Methods:

- k: from raw values on: six columns cut at public points or grouped, one class number a patient, class sizes, who is in a class below k.
- l: distinct values of a sensitive attribute in each class; t: ordered earth mover's distance of event times, per event code.
- threshold: noisy threshold over the cells of those classes. level: small classes of every combination of public levels, and the draw.
- mondrian: classes of at least k by medians, on a tenth of the rows.
"""

from __future__ import annotations

import argparse
import json
import secrets
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import product
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from privacy.noise.level_choice import choose, costs, levels_of, small_classes
from privacy.noise.noisy_threshold import Cell, ThresholdNoise, kept_cells
from privacy.patients.anonymity import (
    Codes,
    class_sizes,
    closeness,
    distinct,
    drop_small,
    generalize,
    interval_codes,
)
from privacy.patients.field import Field
from privacy.patients.mondrian import mondrian

K, BINS, RUNS = 5, 20, 3
CUTS = ((30.0, 40.0, 50.0, 60.0, 70.0, 80.0), (18.5, 25.0, 30.0, 35.0), (100.0, 120.0, 140.0, 160.0))
SEED = 7


@dataclass(frozen=True, slots=True)
class Line:
    """One measured method."""

    rows: int
    quasi_identifiers: int
    method: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Table:
    """Made-up patients.

    Attributes:
        numbers: (n,) three columns with cuts. groups: (n,) three columns of category codes with their number of codes.
        sensitive, time_bin, event: (n,) codes.
    """

    numbers: tuple[NDArray[np.float64], ...]
    groups: tuple[tuple[Codes, int], ...]
    sensitive: Codes
    time_bin: Codes
    event: Codes

    @classmethod
    def of(cls, rows: int) -> Table:
        """Patients with skewed categories, so that small classes exist."""
        rng = np.random.default_rng(SEED)
        numbers = tuple(rng.normal(mean, spread, rows) for mean, spread in ((60, 15), (27, 5), (135, 20)))
        groups = tuple(
            (rng.choice(size, rows, p=_falling(size)).astype(np.int64), size) for size in (2, 5, 12)
        )
        draw = [rng.integers(0, size, rows) for size in (8, BINS, 2)]
        return cls(numbers, groups, *draw)

    def classes(self) -> Codes:
        """The class of each patient, from raw values."""
        cut = [interval_codes(values, cuts) for values, cuts in zip(self.numbers, CUTS, strict=True)]
        sizes = [len(cuts) + 2 for cuts in CUTS] + [size for _, size in self.groups]
        return generalize([*cut, *(codes for codes, _ in self.groups)], sizes)


def _falling(size: int) -> NDArray[np.float64]:
    shares = 0.5 ** np.arange(size)
    return np.asarray(shares / shares.sum(), dtype=np.float64)


def _fields() -> tuple[Field, ...]:
    """Three numbers with three levels each, as a study file writes them."""
    common = {"type": "float", "role": "quasi_identifier", "purpose": "bench", "minimum": 0, "maximum": 300}
    return tuple(
        Field(name=f"x{i}", **common, cuts=[list(cuts), list(cuts[::2]), [cuts[2]]])
        for i, cuts in enumerate(CUTS)
    )


def seconds(work: Callable[[], object]) -> float:
    """Best of three on the clock."""
    found = []
    for _ in range(RUNS):
        start = perf_counter()
        work()
        found.append(perf_counter() - start)
    return min(found)


def lines(rows: int) -> Iterator[Line]:
    """All methods."""
    table = Table.of(rows)
    classes = table.classes()

    def k_anonymity() -> int:
        found = table.classes()
        drop_small(found, K)
        return int(class_sizes(found).min())

    yield Line(rows, 6, "k", seconds(k_anonymity))
    yield Line(rows, 6, "l", seconds(lambda: distinct(classes, table.sensitive)))
    yield Line(rows, 6, "t", seconds(lambda: closeness(classes, table.time_bin, table.event, BINS)))
    counts = {(number,): int(count) for number, count in enumerate(class_sizes(classes))}
    noise = ThresholdNoise(1.0, 1e-6)
    yield Line(rows, 6, "threshold", seconds(lambda: kept_cells(counts, K, noise, secrets.randbelow)))
    yield Line(rows, 3, "level", seconds(lambda: _drawn_level(table, rows)))
    part = rows // 10
    values = np.column_stack([*(x[:part] for x in table.numbers), *(c[:part] for c, _ in table.groups)])
    yield Line(part, 6, "mondrian", seconds(lambda: mondrian(values.astype(np.float64), K)))


def _drawn_level(table: Table, rows: int) -> tuple[int, ...]:
    fields = _fields()
    cut = [interval_codes(values, cuts) for values, cuts in zip(table.numbers, CUTS, strict=True)]
    sizes = [len(cuts) + 2 for cuts in CUTS]
    key = np.ravel_multi_index(cut, sizes)
    held = np.bincount(key, minlength=int(np.prod(sizes)))
    cells = product(*(range(size) for size in sizes))
    counts: dict[Cell, int] = {cell: int(n) for cell, n in zip(cells, held, strict=True) if n}
    cost = costs(small_classes(counts, fields, K), fields, K, rows)
    return levels_of(fields)[choose(cost, 0.5, secrets.randbelow)]


def main() -> int:
    """Prints one line a method; always 0: figures are judged by whoever reads them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="accepted for uniformity: output is JSON anyway")
    parser.add_argument("--rows", type=int, default=1_000_000)
    for line in lines(parser.parse_args().rows):
        print(json.dumps(asdict(line)), flush=True)
        print(f"{line.method}: {line.rows} rows in {line.seconds:.3f} s", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
