"""When people are at work: adds and measures business time. Pure; instants are epoch ms.

A moment counts when the wall clock of the calendar's zone shows a time within the hours, on one of
its days and on no holiday: an hour that the clocks repeat counts twice, one they skip never.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from dashboard.descriptions.reading import (
    DescriptionError,
    Source,
    a_list,
    a_name,
    an_integer,
    an_object,
)

MAX_DAYS = 1100
"""How far ahead or back business time is counted."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)
_MINUTE = 60_000
_DAY = 24 * 60 * _MINUTE
# No zone is further from UTC than this, with a day to spare for zones that moved across it.
_MARGIN = 26 * 60 * _MINUTE
_HOURS = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-(?:([01]\d|2[0-3]):([0-5]\d)|24:00)\Z")
_WORKDAYS = (1, 2, 3, 4, 5)


class TooFarError(ValueError):
    """The business time asked for lies more than ``MAX_DAYS`` away, or there is none till then."""


@dataclass(frozen=True, slots=True)
class BusinessHours:
    """Opening and closing time in ms after midnight, ISO weekdays, zone, days off."""

    opens: int
    closes: int
    days: frozenset[int]
    zone: ZoneInfo
    holidays: frozenset[date] = frozenset()

    @property
    def day_length(self) -> int:
        """Business time of an ordinary day, ms: what "a day" means in a span."""
        return self.closes - self.opens

    def add(self, instant: int, span: int) -> int:
        """Return the first moment after which ``span`` ms of business time have gone by.

        For a negative span it is the last moment before which they are still to come.
        """
        left = abs(span)
        if not left:
            return instant
        step = 1 if span > 0 else -1
        for opened, closed in self._around(instant, step):
            start, end = (
                (max(opened, instant), closed) if step > 0 else (min(closed, instant), opened)
            )
            length = (end - start) * step
            if length >= left:
                return start + left * step
            left -= max(length, 0)
        raise TooFarError

    def between(self, start: int, end: int) -> int:
        """Return the business time from one moment to another, ms; negative when it goes back."""
        if end < start:
            return -self.between(end, start)
        total = 0
        for opened, closed in self._around(start, 1):
            if opened >= end:
                return total
            total += max(0, min(closed, end) - max(opened, start))
        raise TooFarError

    def _around(self, instant: int, step: int) -> Iterator[tuple[int, int]]:
        """Return the stretches of business time from the day of an instant on, or back from it."""
        day = (_EPOCH + timedelta(milliseconds=instant)).astimezone(self.zone).date()
        for _ in range(MAX_DAYS):
            stretches = self.on(day)
            yield from stretches if step > 0 else reversed(stretches)
            try:
                day += timedelta(days=step)
            except OverflowError:
                raise TooFarError from None

    def on(self, day: date) -> list[tuple[int, int]]:
        """Return the stretches of business time of a day, mostly one: first and end moment."""
        if day.isoweekday() not in self.days or day in self.holidays:
            return []
        midnight = (day - _EPOCH.date()).days * _DAY
        stretches = []
        for start, end in pairwise(self._changes(midnight - _MARGIN, midnight + _DAY + _MARGIN)):
            offset = self._offset(start)
            opened = max(start, midnight + self.opens - offset)
            closed = min(end, midnight + self.closes - offset)
            if opened < closed:
                stretches.append((opened, closed))
        return stretches

    def _changes(self, start: int, end: int) -> list[int]:
        """Return both, and between them the moment at which the zone changes its offset, if any."""
        last = self._offset(end - 1)
        if self._offset(start) == last:
            return [start, end]
        before, after = start, end - 1
        while after - before > 1:
            middle = (before + after) // 2
            if self._offset(middle) == last:
                after = middle
            else:
                before = middle
        return [start, after, end]

    def _offset(self, instant: int) -> int:
        offset = (_EPOCH + timedelta(milliseconds=instant)).astimezone(self.zone).utcoffset()
        return (offset or timedelta()) // _MS


def read_calendar(value: Any, path: str) -> BusinessHours:
    """Read business hours: ``hours``, and where it matters ``days``, ``zone`` and ``holidays``."""
    source = Source(an_object(value, path), path)
    opens, closes = source.require("hours", _hours)
    return BusinessHours(
        opens=opens,
        closes=closes,
        days=source.get("days", _days, frozenset(_WORKDAYS)),
        zone=source.get("zone", _zone, ZoneInfo("UTC")),
        holidays=source.get("holidays", _holidays, frozenset()),
    )


def _hours(value: Any, path: str) -> tuple[int, int]:
    found = _HOURS.match(value) if isinstance(value, str) else None
    if found is None:
        raise DescriptionError(path, "must be hours like 09:00-17:00")
    opens = _clock(found[1], found[2])
    closes = _clock(found[3], found[4]) if found[3] else _DAY
    if closes <= opens:
        raise DescriptionError(path, "must end after they begin, on the same day")
    return opens, closes


def _clock(hours: str, minutes: str) -> int:
    return (int(hours) * 60 + int(minutes)) * _MINUTE


def _days(value: Any, path: str) -> frozenset[int]:
    days = frozenset(
        an_integer(one, f"{path}[{index}]", least=1, most=7)
        for index, one in enumerate(a_list(value, path))
    )
    if not days:
        raise DescriptionError(path, "names no day")
    return days


def _zone(value: Any, path: str) -> ZoneInfo:
    name = a_name(value, path)
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise DescriptionError(path, "must be a time zone like Europe/Berlin") from None


def _holidays(value: Any, path: str) -> frozenset[date]:
    return frozenset(
        _date(one, f"{path}[{index}]") for index, one in enumerate(a_list(value, path))
    )


def _date(value: Any, path: str) -> date:
    try:
        return date.fromisoformat(value)
    except (TypeError, ValueError):
        raise DescriptionError(path, "must be a day like 2026-12-25") from None
