"""The life table from which every model's baseline starts: one histogram of exits, in which a patient is one cell.

Source: the study's recipe for the noisy Newton fit; the exit histogram has sensitivity 1 because adding or removing
a patient changes one count by one, whereas counts of patients at risk would change along the whole follow-up.
"""

import numpy as np

from privacy.studies.grid import FloatArray, IntArray, time_grid

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

    Noise can make counts negative: events are floored at .5, censorings at 0. The hazard of an interval is held in [1e-4, 5].

    With left truncation the exits alone overstate who was at risk; the value is a start, and training corrects it.

    Args:
        event_counts, censor_counts: (K,) each.
        reach_the_end: of `exposure`.
    """
    events = np.maximum(event_counts, EVENT_FLOOR)
    exposed = exposure(event_counts, censor_counts, reach_the_end=reach_the_end)
    return np.asarray(np.log(np.clip(events / exposed, LOWEST_HAZARD, HIGHEST_HAZARD)), dtype=np.float64)


def exposure(
    event_counts: FloatArray, censor_counts: FloatArray, *, reach_the_end: bool = False
) -> FloatArray:
    """Patients at risk in each interval, (K,), at least 1; those who leave within it count for half of it.

    Whoever reaches the horizon is censored in the last interval too. Where those are most of its censorings, as in a trial with a
    fixed end, half an interval for them would make its hazard too high. `reach_the_end` counts half only for as many as the
    interval before lets expect, at its rate of censoring per patient and day.
    """
    events, censored = np.maximum(event_counts, EVENT_FLOOR), np.maximum(censor_counts, 0.0)
    at_risk = np.cumsum((events + censored)[::-1])[::-1]
    exposed = np.maximum(at_risk - 0.5 * (events + censored), 1.0)
    if reach_the_end:
        all_of_it, intervals = at_risk[-1] - 0.5 * events[-1], len(events)
        early = 0.0
        if intervals > 1:
            length = np.diff(time_grid(1.0, intervals))
            rate = length[-1] / length[-2] * censored[-2] / exposed[-2]
            early = min(rate * all_of_it / (1.0 + 0.5 * rate), censored[-1])
        exposed[-1] = max(all_of_it - 0.5 * early, 1.0)
    return np.asarray(exposed, dtype=np.float64)


def baseline_slopes(
    event_counts: FloatArray, censor_counts: FloatArray, *, reach_the_end: bool = False
) -> FloatArray:
    """What one more count of each cell adds to `baseline`, (K, 2K): events' cells, then censorings'.

    Floors and the rate of censoring before the end are taken to stay as they are: the first makes noise look larger than it is, the
    second moves the last interval by a twentieth of what its own events' noise does.
    """
    intervals = len(event_counts)
    exposed = exposure(event_counts, censor_counts, reach_the_end=reach_the_end)[:, None]
    later, own = np.triu(np.ones((intervals, intervals)), 1), np.eye(intervals)
    censorings = own / 2
    if reach_the_end:
        censorings[-1, -1] = 1.0
    by_events = own / np.maximum(event_counts, EVENT_FLOOR) - (later + own / 2) / exposed
    return np.hstack([by_events, -(later + censorings) / exposed])
