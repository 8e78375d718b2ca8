"""What this process's store has done so far, for metrics; whole numbers that only grow."""

from collections import Counter

batch_sizes: Counter[int] = Counter()
"""Transactions of the committer, by how many programs shared them."""

fired: Counter[str] = Counter()
"""What internal steps did, by name."""

SCHEDULE_PROMISES = "schedule promises"
