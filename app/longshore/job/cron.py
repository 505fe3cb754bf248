"""Cron: five fields and a time zone, and the next moment that they name.

The rules are Vixie cron's. Where the clock of the zone jumps:

* An hour field that starts with ``*`` follows the clock: a minute that is skipped does not run, one that comes twice runs twice.
* Any other schedule runs once for each time it names: at the first of two passes, or, when all passes are skipped, at the end of
  the gap. Several times in one gap make one run.

Written here because the libraries answer otherwise: cronsim 2.8 goes back in time within a repeated hour and drops ``*/30 2 * * *``
on the day of a gap. ``tests/unit/job/test_cron.py`` holds this module against a minute-by-minute model.
"""

import hashlib
from bisect import bisect_left
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Final

from longshore.job.numerals import whole

MAX_NAME = 253
MACROS: Final = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
# The longest wait is for a 29 February on one weekday (`0 0 29 2 */7`) across 2100, no leap year: 40 years.
_HORIZON_YEARS = 41
_MINUTE, _DAY = timedelta(minutes=1), timedelta(days=1)
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()

    def parse(self, text: str) -> tuple[int, ...]:
        return tuple(sorted({value for part in text.split(",") for value in self._part(part)}))

    def _part(self, part: str) -> range:
        span, slash, step_text = part.partition("/")
        step = self._number(step_text, part) if slash else 1
        if not 1 <= step <= self.high:
            raise ValueError(f"{self.name}: the step of {part!r} must be 1 to {self.high}")
        if span == "*":
            return range(self.low, self.high + 1, step)
        first_text, dash, last_text = span.partition("-")
        first = self._value(first_text, part)
        # `5/15` means `5-59/15`, as in Debian and Kubernetes.
        last = self._value(last_text, part) if dash else self.high if slash else first
        if last < first:
            raise ValueError(f"{self.name}: {part!r} runs backwards")
        return range(first, last + 1, step)

    def _value(self, word: str, part: str) -> int:
        if word.lower() in self.names:
            return self.names.index(word.lower()) + self.low
        value = self._number(word, part)
        if not self.low <= value <= self.high:
            raise ValueError(f"{self.name}: {value} is outside {self.low}-{self.high}")
        return value

    def _number(self, word: str, part: str) -> int:
        if (value := whole(word)) is None or len(word) > 4:
            raise ValueError(f"{self.name}: {part!r} is none of *, number, range, list or step")
        return value


_FIELDS = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of month", 1, 31),
    _Field("month", 1, 12, _MONTHS),
    _Field("day of week", 0, 7, _WEEKDAYS),  # 7 is Sunday as well
)


@dataclass(frozen=True, slots=True)
class Missed:
    """The ticks that passed while nobody looked."""

    count: int
    """How many, but never more than the limit."""
    latest: datetime | None
    """The last one, in UTC; None when there was none."""


@dataclass(frozen=True, slots=True)
class Cron:
    """A parsed schedule. It names local times; ``after`` says when these are."""

    text: str
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: tuple[int, ...]
    months: tuple[int, ...]
    weekdays: frozenset[int]
    """As ``date.isoweekday`` counts: Monday 1 to Sunday 7."""
    either_day: bool
    """Both day fields are restricted (start without ``*``): one of the two is enough."""
    follows_clock: bool
    """The hour field starts with ``*``."""

    @classmethod
    def parse(cls, text: str) -> "Cron":
        """Read five fields or a macro such as ``@hourly``; raises ValueError that names the field."""
        return _parsed(text)

    @classmethod
    def _read(cls, text: str) -> "Cron":
        words = MACROS.get(text.strip().lower(), text).split()
        if len(words) != len(_FIELDS):
            raise ValueError(
                f"{text!r} is not a cron schedule: write five fields (minute, hour, day of month, month, day of week)"
                f" or one of {', '.join(MACROS)}"
            )
        minutes, hours, days, months, weekdays = (field.parse(word) for field, word in zip(_FIELDS, words, strict=True))
        return cls(
            text=text, minutes=minutes, hours=hours, days=days, months=months,
            weekdays=frozenset(day or 7 for day in weekdays),
            either_day=not words[2].startswith("*") and not words[4].startswith("*"),
            follows_clock=words[1].startswith("*"),
        )  # fmt: skip

    def after(self, moment: datetime, zone: tzinfo) -> datetime | None:
        """The first tick after ``moment`` (aware), in UTC; None when there is none within 41 years.

        Exact for zones whose offsets are whole minutes (every zone since 1972).
        """
        moment = moment.astimezone(UTC)
        if self.follows_clock:
            return self._next_by_clock(moment.replace(second=0, microsecond=0) + _MINUTE, zone)
        local: datetime | None = _local(moment, zone).replace(second=0, microsecond=0)
        while local is not None:
            local = self._at_or_after(local + _MINUTE)
            # Not later than `moment` is a time in the second pass of a repeated hour: it ran in the first.
            if local is not None and (tick := _first_pass(local, zone)) > moment:
                return tick
        return None

    def _next_by_clock(self, start: datetime, zone: tzinfo) -> datetime | None:
        while (local := self._at_or_after(here := _local(start, zone))) is not None:
            end = start + (local - here)
            change = _first_change(start, end, zone)
            if change is None:
                return end
            start = change  # the clock jumps before that: read on from there
        return None

    def _at_or_after(self, local: datetime) -> datetime | None:
        """The first local time that the fields name, from ``local`` (naive, whole minutes) on."""
        day, limit = local.date(), min(local.year + _HORIZON_YEARS, datetime.max.year - 1)
        if self._matches(day):
            for hour in self.hours[bisect_left(self.hours, local.hour) :]:
                first = local.minute if hour == local.hour else 0
                if (at := bisect_left(self.minutes, first)) < len(self.minutes):
                    return local.replace(hour=hour, minute=self.minutes[at])
        while day.year <= limit:
            day += _DAY
            if day.month not in self.months:
                day = (day.replace(day=1) + 31 * _DAY).replace(day=1) - _DAY
            elif self._matches(day):
                return datetime(day.year, day.month, day.day, self.hours[0], self.minutes[0])
        return None

    def _matches(self, day: date) -> bool:
        by_number, by_weekday = day.day in self.days, day.isoweekday() in self.weekdays
        fits = by_number or by_weekday if self.either_day else by_number and by_weekday
        return fits and day.month in self.months

    def missed(self, last: datetime, now: datetime, zone: tzinfo, *, limit: int = 100) -> Missed:
        """The ticks after ``last`` up to ``now``. However long that is, it takes at most ``limit`` + 40 steps."""
        count, tick = 0, self.after(last, zone)
        while tick is not None and tick <= now and count < limit:
            count, latest = count + 1, tick
            tick = self.after(tick, zone)
        if not count:
            return Missed(0, None)
        if tick is not None and tick <= now:
            latest = self._latest(tick, now, zone)
        return Missed(count, latest)

    def _latest(self, tick: datetime, now: datetime, zone: tzinfo) -> datetime:
        """The last tick up to ``now``, between two moments, the first a tick: by halving."""
        low, high = tick, now
        while high - low >= _MINUTE:
            middle = low + (high - low) / 2
            following = self.after(middle, zone)
            if following is not None and following <= now:
                low = following
            else:
                high = middle
        return low


@lru_cache(maxsize=1024)  # a value of the text alone, and thousands of schedules have few different texts
def _parsed(text: str) -> Cron:
    return Cron._read(text)


def job_name(schedule: str, tick: datetime) -> str:
    """The name of the Job of one tick: the same tick gives the same name, so that no leader creates it twice."""
    minutes = f"-{int(tick.timestamp()) // 60}"
    if len(schedule) + len(minutes) <= MAX_NAME:
        return schedule + minutes
    digest = hashlib.sha256(schedule.encode()).hexdigest()[:10]
    return f"{schedule[: MAX_NAME - len(minutes) - 11].rstrip('-.')}-{digest}{minutes}"


def _local(moment: datetime, zone: tzinfo) -> datetime:
    return moment.astimezone(zone).replace(tzinfo=None)


def _first_pass(local: datetime, zone: tzinfo) -> datetime:
    """When the clock first shows ``local``, in UTC; the end of the gap when it never does."""
    moment = local.replace(tzinfo=zone, fold=0).astimezone(UTC)
    if _local(moment, zone) == local:
        return moment
    # In a gap `fold` chooses the offset: 1 the one after it, which gives a moment before the jump; 0 the other way round.
    before = local.replace(tzinfo=zone, fold=1).astimezone(UTC)
    return _first_change(before, moment, zone) or moment


def _first_change(start: datetime, end: datetime, zone: tzinfo) -> datetime | None:
    """The first minute after ``start``, up to ``end``, with another offset; None when there is none."""
    offset = start.astimezone(zone).utcoffset()
    while start < end:
        # By days: no zone changes twice within one.
        low, high = start, min(start + _DAY, end)
        if high.astimezone(zone).utcoffset() == offset:
            start = high
            continue
        while high - low > _MINUTE:
            middle = low + (high - low) // _MINUTE // 2 * _MINUTE
            low, high = (middle, high) if middle.astimezone(zone).utcoffset() == offset else (low, middle)
        return high
    return None
