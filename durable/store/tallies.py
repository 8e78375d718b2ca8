"""What this process's store has done so far, for metrics; whole numbers that only grow."""

from collections import Counter

batch_sizes: Counter[int] = Counter()
"""Transactions of the committer, by how many programs shared them."""


class Total:
    """A sum of measurements, and their number."""

    def __init__(self) -> None:
        """Start at nothing."""
        self.sum = 0.0
        self.count = 0

    def add(self, value: float) -> None:
        """Add one."""
        self.sum += value
        self.count += 1


commit_waits = Total()
"""Seconds between the sending of programs and the start of the transaction that ran them."""

statements: Counter[str] = Counter()
"""Statements sent, by who sent them."""
STORE = "store"

fired: Counter[str] = Counter()
"""What internal steps did, by name."""

SCHEDULE_PROMISES = "schedule promises"
