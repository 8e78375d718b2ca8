"""A clock that stands still until a test moves it; epoch milliseconds, as everywhere."""

START = 4_000_000_000_000
"""A clock reading later than any real one."""

MINUTE = 60_000
NEVER = 2**53 - 1


class Clock:
    """Stands in for the database's clock."""

    def __init__(self, now: int) -> None:
        self.now = now

    def __call__(self) -> int:
        return self.now

    def advance(self, ms: int) -> int:
        self.now += ms
        return self.now
