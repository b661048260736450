"""Observation periods: which one holds an index day, or begins after it."""

import numpy as np
import pandas as pd

from hospital_node.sources.facts import NEVER, Ints


def period_of(periods: pd.DataFrame, person: Ints, day: Ints, *, later: bool) -> tuple[Ints, Ints]:
    """Start and end of each person's first period that ends on or after the day; NEVER where there is none.

    Args:
        periods: columns person, start, end.
        person, day: (n,) pairs that are asked about.
        later: also a period that starts after the day; otherwise only one that holds it.
    """
    asked = pd.DataFrame({"row": np.arange(len(day)), "person": person, "day": day})
    both = asked.merge(merge_periods(periods), on="person")
    both = both[both["day"] <= both["end"]]
    if not later:
        both = both[both["start"] <= both["day"]]
    both = both.sort_values(["row", "start"]).drop_duplicates("row")
    start, end = (np.full(len(day), NEVER, dtype=np.int64) for _ in range(2))
    start[both["row"]], end[both["row"]] = both["start"], both["end"]
    return start, end


def merge_periods(periods: pd.DataFrame) -> pd.DataFrame:
    """Periods of one person that overlap, or follow each other without a day between, as one.

    Args:
        periods: columns person, start, end.
    """
    ordered = periods.sort_values(["person", "start"], ignore_index=True)
    reach = ordered.groupby("person")["end"].cummax()
    same = ordered["person"] == ordered["person"].shift()
    opens = ~(same & (ordered["start"] <= reach.shift(fill_value=0) + 1))
    grouped = ordered.groupby(opens.cumsum())
    return grouped.agg(person=("person", "first"), start=("start", "min"), end=("end", "max"))
