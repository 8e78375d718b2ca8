"""The one place that reads the system's clock."""

import time

_NANOSECONDS_PER_MS = 1_000_000


def now_ms() -> int:
    """Return the system's time in milliseconds since the Unix epoch."""
    return time.time_ns() // _NANOSECONDS_PER_MS
