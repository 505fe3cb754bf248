"""Cron against a model that looks at every minute, and against tables of the days on which clocks jump."""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longshore.job.cron import MAX_NAME, Cron, Missed, job_name

MINUTE = timedelta(minutes=1)
WEEKDAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat", "sun"]
RANGES = [(0, 59), (0, 23), (1, 31), (1, 12), (0, 7)]
# A day before each of these clocks jump, forwards and backwards: by an hour, by half an hour, at midnight, by a whole day.
JUMPS = [
    ("Europe/Berlin", datetime(2026, 3, 28, tzinfo=UTC)),
    ("Europe/Berlin", datetime(2026, 10, 24, tzinfo=UTC)),
    ("America/New_York", datetime(2026, 3, 7, 12, tzinfo=UTC)),
    ("America/New_York", datetime(2026, 10, 31, 12, tzinfo=UTC)),
    ("Australia/Lord_Howe", datetime(2026, 4, 3, 20, tzinfo=UTC)),
    ("Australia/Lord_Howe", datetime(2026, 10, 2, 20, tzinfo=UTC)),
    ("America/Santiago", datetime(2026, 9, 5, tzinfo=UTC)),
    ("America/Santiago", datetime(2026, 4, 4, tzinfo=UTC)),
    ("Pacific/Apia", datetime(2011, 12, 29, tzinfo=UTC)),
    ("UTC", datetime(2024, 2, 28, tzinfo=UTC)),
]


def named(word: str, low: int, high: int) -> set[int]:
    """What a field of plain numbers names, by the shortest road."""
    found: set[int] = set()
    for part in word.split(","):
        span, _, step = part.partition("/")
        first, _, last = (f"{low}-{high}" if span == "*" else span).partition("-")
        end = int(last) if last else high if step else int(first)
        found |= {value for value in range(int(first), end + 1) if (value - int(first)) % int(step or 1) == 0}
    return found


def names(text: str) -> Callable[[datetime], bool]:
    words = text.split()
    minutes, hours, days, months, weekdays = (named(word, *span) for word, span in zip(words, RANGES, strict=True))
    both_restricted = words[2][0] != "*" and words[4][0] != "*"

    def name(local: datetime) -> bool:
        by_day, by_weekday = local.day in days, local.isoweekday() % 7 in {day % 7 for day in weekdays}
        day = by_day or by_weekday if both_restricted else by_day and by_weekday
        return local.minute in minutes and local.hour in hours and local.month in months and day

    return name


def model(text: str, start: datetime, end: datetime, zone: ZoneInfo) -> Iterator[datetime]:
    """Every tick after ``start`` up to ``end``, minute by minute: the definition of what Cron does."""
    named_by, moment = names(text), start - timedelta(hours=26)
    shown = moment.astimezone(zone).replace(tzinfo=None)  # the latest local minute that the clock has shown or skipped
    while moment < end:
        moment += MINUTE
        local = moment.astimezone(zone).replace(tzinfo=None)
        if text.split()[1].startswith("*"):
            tick = named_by(local)
        else:
            tick = False
            while shown < local:
                shown += MINUTE
                tick = tick or named_by(shown)
        if tick and moment > start:
            yield moment


def words(low: int, high: int) -> st.SearchStrategy[str]:
    number = st.integers(low, high)
    span = st.tuples(number, number).map(lambda pair: f"{min(pair)}-{max(pair)}")
    step = st.integers(1, high).map(str)
    part = st.one_of(
        number.map(str), span, st.tuples(st.one_of(st.just("*"), number.map(str), span), step).map("/".join)
    )
    return st.one_of(st.just("*"), st.lists(part, min_size=1, max_size=3).map(",".join))


@settings(max_examples=200, deadline=None)
@given(
    text=st.tuples(*(words(*span) for span in RANGES)).map(" ".join)
    | st.tuples(words(0, 59), words(0, 23)).map(lambda pair: f"{pair[0]} {pair[1]} * * *"),
    jump=st.sampled_from(JUMPS),
    minutes=st.integers(0, 36 * 60),
    seconds=st.integers(0, 59),
)
def test_every_tick_is_the_models_tick(text: str, jump: tuple[str, datetime], minutes: int, seconds: int) -> None:
    zone, start = ZoneInfo(jump[0]), jump[1] + minutes * MINUTE
    end = start + timedelta(hours=30)
    expected = list(model(text, start, end, zone))

    cron, found, tick = Cron.parse(text), [], start + timedelta(seconds=seconds)
    while (tick := cron.after(tick, zone)) is not None and tick <= end and len(found) <= len(expected):
        found.append(tick)

    assert [moment for moment in expected if moment > start + timedelta(seconds=seconds)] == found


# local ticks with their offsets, from midnight of the day of the jump
DAYS = {
    "Berlin spring, in the gap: once, after it": ("Europe/Berlin", "2026-03-29", "30 2 * * *", ["03:00+02:00"]),
    "Berlin spring, several in the gap: once": ("Europe/Berlin", "2026-03-29", "*/10 2 * * *", ["03:00+02:00"]),
    "Berlin spring, gap and the hour after it: once": ("Europe/Berlin", "2026-03-29", "0 2,3 * * *", ["03:00+02:00"]),
    "Berlin spring, every hour: follows the clock": (
        "Europe/Berlin", "2026-03-29", "0 * * * *", ["00:00+01:00", "01:00+01:00", "03:00+02:00", "04:00+02:00"]),
    "Berlin autumn, twice shown: the first": ("Europe/Berlin", "2026-10-25", "30 2 * * *", ["02:30+02:00"]),
    "Berlin autumn, ranges: the first pass": (
        "Europe/Berlin", "2026-10-25", "0,30 1-3 * * *",
        ["01:00+02:00", "01:30+02:00", "02:00+02:00", "02:30+02:00", "03:00+01:00", "03:30+01:00"]),
    "Berlin autumn, every hour: both passes": (
        "Europe/Berlin", "2026-10-25", "30 * * * *", ["00:30+02:00", "01:30+02:00", "02:30+02:00", "02:30+01:00"]),
    "New York spring": ("America/New_York", "2026-03-08", "15 2 * * *", ["03:00-04:00"]),
    "New York autumn": ("America/New_York", "2026-11-01", "15 1 * * *", ["01:15-04:00"]),
    "New York autumn, every half hour": (
        "America/New_York", "2026-11-01", "*/30 */1 * * *",
        ["00:00-04:00", "00:30-04:00", "01:00-04:00", "01:30-04:00", "01:00-05:00", "01:30-05:00"]),
    "Lord Howe spring, half an hour is skipped": (
        "Australia/Lord_Howe", "2026-10-04", "15,45 2 * * *", ["02:30+11:00", "02:45+11:00"]),
    "Lord Howe autumn, half an hour comes twice": (
        "Australia/Lord_Howe", "2026-04-05", "15,45 1 * * *", ["01:15+11:00", "01:45+11:00"]),
    "Lord Howe autumn, every hour": (
        "Australia/Lord_Howe", "2026-04-05", "45 * * * *", ["00:45+11:00", "01:45+11:00", "01:45+10:30", "02:45+10:30"]),
    "Santiago spring, midnight is skipped": ("America/Santiago", "2026-09-06", "@daily", ["01:00-03:00"]),
}  # fmt: skip


@pytest.mark.parametrize(("zone_name", "day", "text", "expected"), DAYS.values(), ids=DAYS.keys())
def test_days_on_which_the_clock_jumps(zone_name: str, day: str, text: str, expected: list[str]) -> None:
    zone, cron = ZoneInfo(zone_name), Cron.parse(text)
    tick = datetime.fromisoformat(day).replace(tzinfo=zone) - timedelta(seconds=1)
    found = []
    for _ in expected:
        tick = cron.after(tick, zone)
        found.append(f"{tick.astimezone(zone):%Y-%m-%dT%H:%M}{tick.astimezone(zone).isoformat()[-6:]}")

    assert [f"{day}T{time}" for time in expected] == found
    if len(expected) == 1:
        assert cron.after(tick, zone).astimezone(zone).date() > datetime.fromisoformat(day).date()


@pytest.mark.parametrize(
    ("text", "day"),
    [("45 2 * * *", 26), ("45 2,3 * * *", 25)],
    ids=["it ran in the first pass", "a later hour is to come"],
)
def test_asked_in_the_second_pass_of_an_hour_it_does_not_go_back(text: str, day: int) -> None:
    zone = ZoneInfo("Europe/Berlin")
    found = Cron.parse(text).after(datetime(2026, 10, 25, 2, 30, tzinfo=zone, fold=1), zone)

    assert found is not None
    assert (day, 3 if day == 25 else 2, 45) == (found.astimezone(zone).day, found.astimezone(zone).hour, found.minute)


NEXT = {
    "names in any case, and ranges of them": ("0 9 * JAN-mar Mon-FRI", "2026-03-31T10:00Z", "2027-01-01T09:00Z"),
    "7 is Sunday": ("0 0 * * 7", "2026-11-21T00:00Z", "2026-11-22T00:00Z"),
    "both day fields: either is enough": ("0 0 13 * fri", "2026-11-07T00:00Z", "2026-11-13T00:00Z"),
    "both day fields: Friday before the 13th": ("0 0 13 * fri", "2026-12-04T00:00Z", "2026-12-11T00:00Z"),
    "a star with a step is no restriction, so both must hold": ("0 0 */2 * mon", "2026-11-16T00:00Z", "2026-11-23T00:00Z"),
    "29 February skips 2100": ("0 0 29 2 *", "2096-02-29T00:00Z", "2104-02-29T00:00Z"),
    "29 February on a Sunday across 2100": ("0 0 29 2 */7", "2088-02-29T00:00Z", "2128-02-29T00:00Z"),
    "30 February never comes": ("0 0 30 2 *", "2026-01-01T00:00Z", None),
    "31 of short months never comes": ("0 0 31 2,4,6,9,11 *", "2026-01-01T00:00Z", None),
    "every minute of a day that never comes": ("* * 30 2 *", "2026-01-01T00:00Z", None),
    "seconds are cut": ("* * * * *", "2026-01-01T00:00:59Z", "2026-01-01T00:01Z"),
    "number and step run to the end": ("40/10 1 * * *", "2026-01-01T01:41Z", "2026-01-01T01:50Z"),
    "@hourly": ("@hourly", "2026-01-01T00:00Z", "2026-01-01T01:00Z"),
    "@weekly": ("@Weekly", "2026-11-21T00:00Z", "2026-11-22T00:00Z"),
    "the end of the calendar": ("0 0 1 1 *", "9999-06-01T00:00Z", None),
}  # fmt: skip


@pytest.mark.parametrize(("text", "moment", "expected"), NEXT.values(), ids=NEXT.keys())
def test_the_next_tick(text: str, moment: str, expected: str | None) -> None:
    found = Cron.parse(text).after(datetime.fromisoformat(moment), UTC)

    assert (datetime.fromisoformat(expected) if expected else None) == found


BAD = {
    "* * * *": "is not a cron schedule",
    "0 * * * * *": "is not a cron schedule",
    "@reboot": "is not a cron schedule",
    "@every 5m": "is not a cron schedule",
    "": "is not a cron schedule",
    "60 * * * *": "minute: 60 is outside 0-59",
    "* 24 * * *": "hour: 24 is outside 0-23",
    "* * 0 * *": "day of month: 0 is outside 1-31",
    "* * * 13 *": "month: 13 is outside 1-12",
    "* * * * 8": "day of week: 8 is outside 0-7",
    "* * * foo *": "month: 'foo' is none of",
    "* * * * L": "day of week: 'L' is none of",
    "1, * * * *": "minute: '' is none of",
    "*/0 * * * *": "minute: the step of '*/0' must be",
    "*/60 * * * *": "minute: the step of '*/60' must be",
    "*/ * * * *": "minute: '*/' is none of",
    "* 5-3 * * *": "hour: '5-3' runs backwards",
    "* * * * fri-sun": "day of week: 'fri-sun' runs backwards",
    "-1 * * * *": "minute: '-1' is none of",
    "1-2-3 * * * *": "minute: '1-2-3' is none of",
    "٣ * * * *": "minute: '٣' is none of",
    "99999999999999999999 * * * *": "minute: ",
}


@pytest.mark.parametrize("text", BAD)
def test_a_bad_schedule_is_refused_by_field(text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(BAD[text])):
        Cron.parse(text)


@settings(max_examples=50, deadline=None)
@given(
    text=st.tuples(words(0, 59), words(0, 23)).map(lambda pair: f"{pair[0]} {pair[1]} * * *"),
    jump=st.sampled_from(JUMPS),
    minutes=st.integers(0, 30 * 60),
    limit=st.integers(1, 120),
)
def test_missed_ticks_are_counted_up_to_a_limit(
    text: str, jump: tuple[str, datetime], minutes: int, limit: int
) -> None:
    zone, last = ZoneInfo(jump[0]), jump[1]
    expected = list(model(text, last, last + minutes * MINUTE, zone)) if minutes else []

    found = Cron.parse(text).missed(last, last + minutes * MINUTE, zone, limit=limit)

    assert Missed(min(limit, len(expected)), expected[-1] if expected else None) == found


def test_ten_missed_years_take_no_longer_than_a_day() -> None:
    last, now = datetime(2016, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, 0, 0, 30, tzinfo=UTC)

    assert Missed(100, datetime(2026, 1, 1, tzinfo=UTC)) == Cron.parse("* * * * *").missed(last, now, UTC)


def test_a_tick_has_one_name() -> None:
    zone = ZoneInfo("Europe/Berlin")
    first = datetime(2026, 10, 25, 2, 30, tzinfo=zone)

    assert "report-29881470" == job_name("report", first)
    assert job_name("report", first) == job_name("report", first.astimezone(UTC))
    assert job_name("report", first) != job_name("report", first.replace(fold=1))


def test_long_names_stay_names_and_stay_apart() -> None:
    tick = datetime(2026, 1, 1, tzinfo=UTC)
    alike = ["a" * 241 + "." + end * 11 for end in "bc"]
    found = {job_name(name, tick) for name in alike}

    assert 2 == len(found)
    assert all(len(name) <= MAX_NAME and ".-" not in name for name in found)
