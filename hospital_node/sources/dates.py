"""Dates as sources write them: with or without a time, whole or in part.

The day is the calendar day as written, whatever the time zone behind it: a ward's day is the ward's. A time orders
records within their day; a record without one comes first on its day.
"""

import re
from datetime import date
from enum import Enum, auto
from typing import Literal, NamedTuple

Partial = Literal["refuse", "earliest", "middle", "latest", "drop"]

_DATE = re.compile(
    r"(\d{4})(?:-(\d{2})(?:-(\d{2})(?:[T ](\d{2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,9}))?)? ?(?:Z|[+-]\d{2}(?::?\d{2})?)?)?)?)?"
)
_EPOCH = date(1970, 1, 1).toordinal()


class Moment(NamedTuple):
    """A day since 1970-01-01, and microseconds since its midnight (0 without a time)."""

    day: int
    microsecond: int


class DateFault(Enum):
    """Why a text is no moment."""

    UNREADABLE = auto()
    PARTIAL = auto()
    DROPPED = auto()


def parse_moment(text: str, partial: Partial) -> Moment | DateFault:
    """The moment that `text` means.

    Args:
        text: YYYY, YYYY-MM, YYYY-MM-DD, or the last with a time behind "T" or a blank.
        partial: what the first two count as; "refuse" gives PARTIAL, "drop" DROPPED.
    """
    found = _DATE.fullmatch(text.strip())
    if found is None:
        return DateFault.UNREADABLE
    year, month, day = (None if part is None else int(part) for part in found.group(1, 2, 3))
    try:
        if month is not None and day is not None:
            return Moment(date(year or 0, month, day).toordinal() - _EPOCH, _time_of(found))
        first = date(year or 0, month or 1, 1)
        last = _last_day(first, month is None)
    except ValueError:
        return DateFault.UNREADABLE
    match partial:
        case "refuse":
            return DateFault.PARTIAL
        case "drop":
            return DateFault.DROPPED
        case "earliest":
            chosen = first
        case "latest":
            chosen = last
        case "middle":
            chosen = first.replace(month=7) if month is None else first.replace(day=15)
    return Moment(chosen.toordinal() - _EPOCH, 0)


def _last_day(first: date, whole_year: bool) -> date:
    if whole_year:
        return first.replace(month=12, day=31)
    following = (
        first.replace(year=first.year + 1, month=1)
        if first.month == 12
        else first.replace(month=first.month + 1)
    )
    return date.fromordinal(following.toordinal() - 1)


def _time_of(found: re.Match[str]) -> int:
    hour, minute, second = (int(part or 0) for part in found.group(4, 5, 6))
    # 24:00 and a leap second are allowed by ISO 8601 and stay on their day.
    if hour > 24 or minute > 59 or second > 60:
        raise ValueError
    fraction = int((found.group(7) or "0")[:6].ljust(6, "0"))
    return ((hour * 60 + minute) * 60 + second) * 1_000_000 + fraction


def day_number(day: date) -> int:
    """Days since 1970-01-01."""
    return day.toordinal() - _EPOCH
