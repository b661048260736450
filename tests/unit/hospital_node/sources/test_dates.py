"""Dates with and without a time, whole or in part."""

from datetime import date, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hospital_node.sources.dates import DateFault, Moment, Partial, day_number, parse_moment
from hospital_node.sources.facts import NEVER
from hospital_node.sources.timeline import years_between

ZONES = st.sampled_from([None, *(timezone(timedelta(hours=h)) for h in (-12, 0, 5, 14))])


@given(st.datetimes(min_value=datetime(1000, 1, 1), timezones=ZONES))
def test_a_moment_is_the_day_and_time_as_written(moment: datetime) -> None:
    found = parse_moment(moment.isoformat(), "refuse")
    assert isinstance(found, Moment)
    assert date(1970, 1, 1) + timedelta(days=found.day) == moment.date()
    assert found.microsecond == (
        moment - moment.replace(hour=0, minute=0, second=0, microsecond=0)
    ) / timedelta(microseconds=1)


RULES: tuple[Partial, ...] = ("earliest", "middle", "latest")


@given(st.integers(1, 9998), st.integers(1, 12))
def test_parts_of_a_date_stay_within_what_they_mean(year: int, month: int) -> None:
    for text, first, after in (
        (f"{year:04d}", date(year, 1, 1), date(year + 1, 1, 1)),
        (f"{year:04d}-{month:02d}", date(year, month, 1), date(year + month // 12, month % 12 + 1, 1)),
    ):
        early, middle, late = (parse_moment(text, rule) for rule in RULES)
        assert early == Moment(day_number(first), 0)
        assert late == Moment(day_number(after) - 1, 0)
        assert isinstance(middle, Moment)
        assert abs(middle.day - (day_number(first) + day_number(after)) / 2) <= 1.5
        assert parse_moment(text, "refuse") is DateFault.PARTIAL
        assert parse_moment(text, "drop") is DateFault.DROPPED


@settings(max_examples=50)
@given(st.text(alphabet="0123456789-T:Z+. ", max_size=12))
def test_no_text_crashes(text: str) -> None:
    assert isinstance(parse_moment(text, "middle"), Moment | DateFault)


@pytest.mark.parametrize(
    "text", ["", "19.11.1947", "2020-02-30", "2020-13", "0000-01-01", "2020-01-01T25:00", "20200101"]
)
def test_what_is_no_date(text: str) -> None:
    assert parse_moment(text, "middle") is DateFault.UNREADABLE


@given(st.lists(st.tuples(st.dates(), st.dates()), min_size=1, max_size=20))
def test_age_is_the_number_of_birthdays(pairs: list[tuple[date, date]]) -> None:
    import numpy as np

    birth, day = (np.array([day_number(d) for d in column]) for column in zip(*pairs, strict=True))
    expected = [b.year - a.year - ((b.month, b.day) < (a.month, a.day)) for a, b in pairs]
    assert years_between(birth, day).tolist() == expected
    assert np.isnan(years_between(np.array([NEVER]), np.array([0]))).all()
