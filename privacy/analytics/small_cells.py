"""Mode none: counts below the study's minimum cell are left out of the result.

Nothing is noised there, so this is a rule for what is printed and no guarantee: the coordinator and every hospital of the sum have seen the exact
table, and differences between results can still give a small count away.
"""

from __future__ import annotations

import numpy as np

from privacy.studies.grid import FloatArray

LEFT_OUT = "fewer patients than the study's minimum cell"


def is_small(count: float, minimum: int) -> bool:
    """Whether a count of patients is one that may not be printed; nobody is no patient."""
    return 0 < round(count) < minimum


def told(changes: FloatArray, minimum: int) -> FloatArray:
    """At which intervals a running total may be printed, (K,) bool: where it moved by nobody or by enough since it was last printed.

    Args:
        changes: (K,) by how many patients the total moves in each interval.
        minimum: smallest count that is printed.
    """
    shown = np.zeros(len(changes), dtype=bool)
    since = 0.0
    for k, change in enumerate(changes):
        since += float(change)
        if not is_small(since, minimum):
            shown[k], since = True, 0.0
    return shown
