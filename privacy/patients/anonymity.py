"""k-anonymity by fixed public generalization; k, l and t of what comes out.

Integer codes go in: one array per quasi-identifier, cut by public points, so that the class of one patient never
depends on another's values. Measures describe a table that stays at the hospital; they are figures for its data
manager and no guarantee (dropping small classes costs sensitivity k, see the design's data page).

Sources: k: Samarati & Sweeney 1998. l (distinct): Machanavajjhala et al. 2007, section 4. t with the ordered earth
mover's distance: Li, Li & Venkatasubramanian 2007, section 5.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from privacy.patients.field import Field

Codes = NDArray[np.int64]

# Below this many possible classes a table of counts is faster than sorting; 2^24 counts are 128 MB.
DENSE_CELLS = 1 << 24


def interval_codes(values: NDArray[np.float64], cuts: Sequence[float]) -> Codes:
    """Number of the half-open interval [a, b) of each value; len(cuts) + 1 where the value is missing (NaN).

    Args:
        values: (n,)
        cuts: ascending; m cuts make m + 1 intervals, numbered from 0.
    """
    codes = np.searchsorted(np.asarray(cuts, dtype=np.float64), values, side="right").astype(
        np.int64, copy=False
    )
    codes[np.isnan(values)] = len(cuts) + 1
    return codes


def representatives(field: Field) -> NDArray[np.float64]:
    """For each interval of a number's cuts the public value that stands for it, (intervals,).

    The middle of the interval, on the log1p scale where the dictionary says so. The two outer intervals reach to the
    bounds, where hardly anybody is: they count as no wider than their neighbor.
    """
    low, high = field.bounds
    edges = np.array([low, *field.cut_points, high], dtype=np.float64)
    if field.log1p:
        edges = np.log1p(edges)
    if field.cut_points:
        least, most = 2 * edges[1] - edges[2], 2 * edges[-2] - edges[-3]
        edges[0], edges[-1] = max(edges[0], least), min(edges[-1], most)
    middle = (edges[:-1] + edges[1:]) / 2
    return np.asarray(np.expm1(middle) if field.log1p else middle, dtype=np.float64)


def generalize(codes: Sequence[Codes], sizes: Sequence[int]) -> Codes:
    """One class number per patient, 0 <= class < number of classes present.

    Args:
        codes: one (n,) array for each quasi-identifier, values in [0, size).
        sizes: number of codes of each.

    Returns:
        (n,); equal numbers exactly where all codes are equal.
    """
    key = np.zeros(len(codes[0]), dtype=np.int64)
    span = 1
    for code, size in zip(codes, sizes, strict=True):
        if span * size >= 1 << 62:
            key, span = _dense(key, span)
        # In place, here and below: a million patients are 8 MB an array.
        key *= size
        key += code
        span *= size
    return _dense(key, span)[0]


def _dense(key: Codes, span: int) -> tuple[Codes, int]:
    """The same classes numbered without gaps, and how many there are."""
    if span <= DENSE_CELLS:
        present = np.bincount(key, minlength=span) > 0
        number = np.cumsum(present, dtype=np.int64) - 1
        return number[key], int(present.sum())
    found, dense = np.unique(key, return_inverse=True)
    return dense.astype(np.int64), len(found)


def class_sizes(classes: Codes) -> Codes:
    """Patients in each class, (number of classes,)."""
    return np.bincount(classes).astype(np.int64)


def drop_small(classes: Codes, k: int) -> NDArray[np.bool_]:
    """Which patients are in a class of at least k, (n,)."""
    return np.asarray(class_sizes(classes)[classes] >= k)


@dataclass(frozen=True, slots=True)
class Measures:
    """What a table of classes shows; None where there is no patient.

    Attributes:
        k: patients in the smallest class.
        l: distinct values of a sensitive attribute in the class that has fewest, smallest over the attributes.
        t: largest distance, in [0, 1], of the outcome's distribution in a class from that in the whole table.
        classes: number of classes.
    """

    k: int | None
    l: int | None  # noqa: E741  (the literature's letter)
    t: float | None
    classes: int


def measure(classes: Codes, sensitive: Iterable[Codes], time_bin: Codes, event: Codes, bins: int) -> Measures:
    """k, l and t of one table.

    Args:
        classes: (n,) as `generalize` returns them.
        sensitive: for each sensitive attribute (n,) codes >= 0; taken one after the other.
        time_bin: (n,) public time bin in [0, bins).
        event: (n,) 0 or 1.
        bins: number of time bins.
    """
    if not len(classes):
        return Measures(k=None, l=None, t=None, classes=0)
    sizes = class_sizes(classes)
    return Measures(
        k=int(sizes.min()),
        l=min((distinct(classes, codes) for codes in sensitive), default=None),
        t=closeness(classes, time_bin, event, bins),
        classes=len(sizes),
    )


def distinct(classes: Codes, sensitive: Codes) -> int:
    """Fewest distinct sensitive values in any class (distinct l-diversity)."""
    width = int(sensitive.max()) + 1
    n_classes = int(classes.max()) + 1
    pairs = classes * width
    pairs += sensitive
    if n_classes * width <= DENSE_CELLS:
        seen = (np.bincount(pairs, minlength=n_classes * width) > 0).reshape(n_classes, width)
        return int(seen.sum(axis=1).min())
    return int(np.bincount(np.unique(pairs) // width, minlength=n_classes).min())


def closeness(classes: Codes, time_bin: Codes, event: Codes, bins: int) -> float:
    """Largest ordered earth mover's distance over classes and event codes.

    The time of events and the time of censoring are compared separately, each class with the whole table; a class
    without patients of one code has no distribution there and is left out of that comparison. The distance between
    two neighboring bins is 1 / (bins - 1).
    """
    if bins < 2:
        return 0.0
    worst = 0.0
    n_classes = int(classes.max()) + 1
    n_codes = int(event.max()) + 1
    cells = classes * bins
    cells += time_bin
    cells *= n_codes
    cells += event
    tables = np.bincount(cells, minlength=n_classes * bins * n_codes).reshape(n_classes, bins, n_codes)
    for code in np.flatnonzero(tables.any(axis=(0, 1))):
        table = tables[:, :, code]
        totals = table.sum(axis=1, keepdims=True)
        overall = table.sum(axis=0) / totals.sum()
        shares = table[totals[:, 0] > 0] / totals[totals > 0][:, None]
        gaps = np.abs(np.cumsum(shares - overall, axis=1)).sum(axis=1) / (bins - 1)
        worst = max(worst, float(gaps.max()))
    return worst
