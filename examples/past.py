"""A clock that is set back: what the demo tells of earlier days happens at their hours."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connections

from durable import clock, conf

_NANOSECONDS_PER_HOUR = 3_600_000_000_000


class Past:
    """Stands in for ``time`` in the engine's clock. It may only be moved on."""

    def __init__(self, hours: float) -> None:
        """``hours`` is how long ago it begins."""
        self._hours = hours

    def time_ns(self) -> int:
        """Return the time, as ``time.time_ns`` does."""
        return time.time_ns() - round(self._hours * _NANOSECONDS_PER_HOUR)

    def go_on(self, hours: float) -> None:
        """Go on until so many hours ago."""
        if hours > self._hours:
            message = f"{hours} hours ago was before {self._hours} hours ago"
            raise ValueError(message)
        self._hours = hours


def may_go_back() -> bool:
    """Whether the clock is this process's: PostgreSQL goes by its own."""
    return connections[conf.database_alias()].vendor == "sqlite"


@contextmanager
def in_the_past(hours: float) -> Iterator[Past]:
    """Set the clock of this process back, and right again at the end."""
    past, real = Past(hours), clock.time
    setattr(clock, "time", past)  # noqa: B010 - it is no module, and need not be one
    try:
        yield past
    finally:
        setattr(clock, "time", real)  # noqa: B010
