"""How the API writes what the pages show: instants as text, sentences as they are."""

import datetime as dt
from collections.abc import Iterable
from typing import Annotated, Any

import msgspec

from dashboard.descriptions import Fact

MAX_NUMBER = 2**63 - 1
"""The largest number of a row."""

_EPOCH = dt.datetime.fromtimestamp(0, tz=dt.UTC)

type Moment = Annotated[dt.datetime, msgspec.Meta(tz=True)]
"""An instant as it is sent: with its zone."""


class LabelledValue(msgspec.Struct):
    """A line of a table of facts."""

    label: str
    value: Any


def instant(at: int | None) -> dt.datetime | None:
    """Return an instant in epoch ms as it is written."""
    return None if at is None else moment(at)


def moment(at: int) -> dt.datetime:
    """Return an instant in epoch ms as it is written; one that never comes is the last there is."""
    try:
        return dt.datetime.fromtimestamp(at / 1000, tz=dt.UTC)
    except (OverflowError, ValueError):
        return dt.datetime.max.replace(tzinfo=dt.UTC)


def epoch_ms(given: dt.datetime) -> int:
    """Return an instant as rows have it."""
    return (given - _EPOCH) // dt.timedelta(milliseconds=1)


def facts(found: Iterable[Fact]) -> list[LabelledValue]:
    """Return facts."""
    return [LabelledValue(one.label, one.value) for one in found]
