"""Coarser versions of a study's public cuts, and k, l and t under them, for the data manager's page alone.

Every version merges neighboring intervals or groups that the study declares; no cut point is taken from the data.
Which version a consortium chooses after looking at such figures does depend on the data: the page says so.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import pandas as pd

from hospital_node.cohort import cells
from hospital_node.stage import exits, quasi_codes, sensitive_codes
from privacy.patients.anonymity import Codes, Measures, class_sizes, generalize, measure
from privacy.patients.field import Field
from privacy.studies.study import Study

# Versions of one field: as declared, then halves until one interval is left.
_MOST_VERSIONS = 6
_MOST_COMBINATIONS = 256


@dataclass(frozen=True, slots=True)
class Version:
    """One field at one granularity.

    Attributes:
        field: name.
        merged: how many neighboring intervals or groups became one; 1 is as declared.
        written: the cuts as a study file has them; "" where nothing is left of them.
    """

    field: str
    merged: int
    written: str


@dataclass(frozen=True, slots=True)
class Granularity:
    """All quasi-identifiers at one granularity each, measured.

    Attributes:
        versions: one a field.
        measures: k, l, t and classes of the whole table.
        below: patients in classes smaller than the k that is looked for.
    """

    versions: tuple[Version, ...]
    measures: Measures
    below: int


@dataclass(frozen=True, slots=True)
class Coarser:
    """What the page shows.

    Attributes:
        k: what is looked for: the study's k, or `DEFAULT_K`.
        steps: every field merged alike, from the study's own cuts to none.
        suggestion: the finest combination with at least k in every class; None where none has.
    """

    k: int
    steps: tuple[Granularity, ...]
    suggestion: Granularity | None


DEFAULT_K = 5


def coarser(frame: pd.DataFrame, study: Study) -> Coarser | None:
    """Measure the study's cuts and coarser ones; None without quasi-identifiers or patients.

    Args:
        frame: as `read_table` returns it.
    """
    quasi = study.dictionary.quasi_identifiers
    if not quasi or frame.empty:
        return None
    bench = _Bench(frame, study, study.stage.k or DEFAULT_K)
    versions = [_versions(field) for field in quasi]
    deepest = max(len(found) for found in versions)
    steps = [
        bench.measured([found[min(step, len(found) - 1)] for found in versions]) for step in range(deepest)
    ]
    return Coarser(bench.k, tuple(steps), _finest(bench, versions))


def _finest(bench: "_Bench", versions: Sequence[Sequence[Version]]) -> Granularity | None:
    """The combination with the fewest merges whose classes all reach k."""
    choices = list(product(*(range(len(found)) for found in versions)))
    if len(choices) > _MOST_COMBINATIONS:
        deepest = max(len(found) for found in versions)
        choices = [tuple(min(step, len(found) - 1) for found in versions) for step in range(deepest)]
    for choice in sorted(choices, key=lambda levels: (sum(levels), levels)):
        chosen = [found[level] for found, level in zip(versions, choice, strict=True)]
        if int(class_sizes(bench.classes(chosen)).min()) >= bench.k:
            return bench.measured(chosen)
    return None


class _Bench:
    """One table, measured again and again."""

    def __init__(self, frame: pd.DataFrame, study: Study, k: int) -> None:
        self.k = k
        self._codes = {f.name: quasi_codes(frame, f) for f in study.dictionary.quasi_identifiers}
        self._missing = {f.name: np.isnan(cells(frame, f)) for f in study.dictionary.quasi_identifiers}
        self._bins, self._event = exits(frame, study)
        self._intervals = study.intervals
        self._sensitive = tuple(sensitive_codes(frame, study, self._bins, self._event))

    def classes(self, versions: Sequence[Version]) -> Codes:
        merged = []
        for version in versions:
            codes, missing = self._codes[version.field], self._missing[version.field]
            # A missing cell stays a class of its own, whatever is merged.
            merged.append(np.where(missing, 0, 1 + codes // version.merged))
        return generalize(merged, [int(codes.max(initial=0)) + 1 for codes in merged])

    def measured(self, versions: Sequence[Version]) -> Granularity:
        classes = self.classes(versions)
        sizes = class_sizes(classes)
        measures = measure(classes, self._sensitive, self._bins, self._event, self._intervals)
        return Granularity(tuple(versions), measures, int(sizes[sizes < self.k].sum()))


def _versions(field: Field) -> tuple[Version, ...]:
    """From the declared cuts to one interval, merging twice as many each time."""
    parts = _parts(field)
    found: list[Version] = []
    merged = 1
    while len(found) < _MOST_VERSIONS - 1 and merged < parts:
        found.append(Version(field.name, merged, _written(field, merged)))
        merged *= 2
    return (*found, Version(field.name, max(parts, 1), _written(field, max(parts, 1))))


def _parts(field: Field) -> int:
    if field.type == "category":
        return max(field.group_of_category) + 1
    if field.type == "bool":
        return 2
    # Without cuts there is nothing public to merge: only all values at once.
    return len(field.cut_points) + 1 if field.cuts else 1 << 40


def _written(field: Field, merged: int) -> str:
    if merged >= _parts(field):
        return ""
    if field.type == "category":
        group = field.group_of_category
        groups: dict[int, list[str]] = {}
        for label, number in zip(field.categories, group, strict=True):
            groups.setdefault(number // merged, []).append(label)
        return str(list(groups.values())).replace("'", '"')
    if field.type == "bool" or not field.cuts:
        return "as it is"
    return str([int(cut) if cut.is_integer() else cut for cut in field.cut_points[merged - 1 :: merged]])
