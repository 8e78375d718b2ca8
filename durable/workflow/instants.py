"""Spans and instants as users write them, and epoch milliseconds as the engine keeps them."""

import math
from datetime import UTC, datetime, timedelta

from durable.protocol.validation import MAX_INSTANT

type When = float | timedelta | datetime
"""Seconds or a timedelta from now on, or an aware datetime."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_LAST = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // _MILLISECOND


def to_instant(when: When, now: int) -> int:
    """Return epoch milliseconds, rounded up; spans count from ``now``, and none is negative."""
    if isinstance(when, datetime):
        if when.utcoffset() is None:
            message = f"{when!r} has no time zone; use an aware datetime, or a timedelta"
            raise ValueError(message)
        return _clamp(-((_EPOCH - when) // _MILLISECOND))
    return _clamp(now + max(0, to_milliseconds(when)))


def to_milliseconds(span: float | timedelta) -> int:
    """Return a span in milliseconds, rounded up."""
    if isinstance(span, timedelta):
        return -(-span // _MILLISECOND)
    try:
        is_number = not isinstance(span, bool) and not math.isnan(span)
    except TypeError:
        is_number = False
    if not is_number:
        message = f"{span!r} is no time; use seconds, a timedelta or an aware datetime"
        raise TypeError(message)
    return MAX_INSTANT if math.isinf(span) and span > 0 else math.ceil(max(0, span) * 1000)


def _clamp(instant: int) -> int:
    return min(max(0, instant), MAX_INSTANT)


def to_datetime(instant: int) -> datetime | None:
    """Return an instant as an aware datetime; None for one that is practically never."""
    return None if instant > _LAST else _EPOCH + instant * _MILLISECOND


def to_text(instant: int) -> str:
    """Return an instant in ISO 8601, in UTC."""
    moment = to_datetime(instant)
    if moment is None:
        return "never"
    precision = "milliseconds" if moment.microsecond else "seconds"
    return moment.replace(tzinfo=None).isoformat(timespec=precision) + "Z"
