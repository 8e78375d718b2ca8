"""Dates, times and lengths in words, in the order and with the units of the reader's language."""

import datetime as dt

from django.utils import timezone
from django.utils.formats import date_format, number_format
from django.utils.translation import gettext as _
from django.utils.translation import pgettext

_WEEK = dt.timedelta(days=7)
# A day less at both ends, for the time zones.
_FIRST_MS, _LAST_MS = -62_135_510_400_000, 253_402_214_400_000


def utc(instant_ms: int) -> dt.datetime:
    """Return an instant (epoch ms) in UTC; beyond the calendar the first or last day it has."""
    instant = min(max(instant_ms, _FIRST_MS), _LAST_MS)
    return dt.datetime.fromtimestamp(instant / 1000, tz=dt.UTC)


def local(instant_ms: int) -> dt.datetime:
    """Return an instant in the reader's time zone."""
    return timezone.localtime(utc(instant_ms))


def time_text(moment: dt.datetime) -> str:
    """Return the time of a day: ``14:02``."""
    return date_format(moment, pgettext("date format", "H:i"))


def day_text(moment: dt.datetime, today: dt.date) -> str:
    """Return day and time, and the year where it is not this one: ``3 Dec, 10:00``."""
    if moment.year == today.year:
        return date_format(moment, pgettext("date format", "j M, H:i"))
    return date_format(moment, pgettext("date format", "j M Y, H:i"))


def date_text(day: dt.date) -> str:
    """Return a day with its year: ``15 Dec 2026``."""
    return date_format(day, pgettext("date format", "j M Y"))


def near_text(moment: dt.datetime, today: dt.date) -> str:
    """Return a time as near as it needs: ``10:00``, ``Tue 10:00``, ``3 Dec, 10:00``."""
    if moment.date() == today:
        return time_text(moment)
    if abs(moment.date() - today) < _WEEK:
        return date_format(moment, pgettext("date format", "D H:i"))
    return day_text(moment, today)


def length_text(length_ms: float) -> str:
    """Return a length in two units at most: ``12 ms``, ``1.2 s``, ``3 min 20 s``, ``1 d 3 h``."""
    if length_ms < 1000:
        return f"{max(0, round(length_ms))} {_('ms')}"
    seconds = length_ms / 1000
    if seconds < 10:
        tenths = round(seconds, 1)
        return f"{number_format(tenths, 1 if tenths % 1 else 0)} {_('s')}"
    return whole_text(round(seconds), 2)


def whole_text(seconds: int, count: int = 1) -> str:
    """Return a length in its largest units, at most so many: ``3 h``, ``1 d 3 h``."""
    units = ((_("d"), 86_400), (_("h"), 3600), (_("min"), 60), (_("s"), 1))
    largest = next((place for place, (_unit, size) in enumerate(units) if seconds >= size), 3)
    shown: list[str] = []
    for unit, size in units[largest : largest + count]:
        number, seconds = divmod(seconds, size)
        if number or not shown:
            shown.append(f"{number} {unit}")
    return " ".join(shown)
