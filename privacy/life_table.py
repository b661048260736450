"""The life table from which every model's baseline starts: one histogram of exits, in which a patient is one cell.

Source: the study's recipe for the noisy Newton fit; the exit histogram has sensitivity 1 because adding or removing
a patient changes one count by one, whereas counts of patients at risk would change along the whole follow-up.
"""

import numpy as np

from privacy.grid import FloatArray, IntArray

EVENT_FLOOR = 0.5
LOWEST_HAZARD = 1e-4
HIGHEST_HAZARD = 5.0


def counts(exit_interval: IntArray, event: IntArray, intervals: int) -> IntArray:
    """Exits by interval, shape (2 intervals,): first those with the event, then those without.

    Args:
        exit_interval: (n,) in [0, intervals).
        event: (n,) 1 for the event, 0 for censored.
        intervals: K.
    """
    cell = np.where(event == 1, exit_interval, intervals + exit_interval)
    return np.bincount(cell, minlength=2 * intervals).astype(np.int64)


def baseline(
    event_counts: FloatArray, censor_counts: FloatArray, *, reach_the_end: bool = False
) -> FloatArray:
    """Log of the cumulative hazard of each interval, shape (K,), from counts that may be noised.

    Noise can make counts negative: events are floored at .5, censorings at 0. Those who leave within an interval count
    as at risk for half of it. The hazard of an interval is held in [1e-4, 5].

    Whoever reaches the horizon is censored in the last interval too. Where those are most of its censorings, as in a trial with a
    fixed end, half an interval for them would make its hazard too high, `reach_the_end` counts all of it.

    With left truncation the exits alone overstate who was at risk; the value is a start, and training corrects it.
    """
    events = np.maximum(event_counts, EVENT_FLOOR)
    censored = np.maximum(censor_counts, 0.0)
    at_risk = np.cumsum((events + censored)[::-1])[::-1]
    missed = 0.5 * censored
    if reach_the_end:
        missed[-1] = 0.0
    exposed = np.maximum(at_risk - missed - 0.5 * events, 1.0)
    return np.asarray(np.log(np.clip(events / exposed, LOWEST_HAZARD, HIGHEST_HAZARD)), dtype=np.float64)
