"""The states of promises and tasks, once; everything else imports them from here."""

from enum import StrEnum


class PromiseState(StrEnum):
    """State of a promise record (protocol.md 2.2)."""

    PENDING = "pending"
    RESOLVED = "resolved"
    REJECTED = "rejected"
    REJECTED_CANCELED = "rejected_canceled"
    REJECTED_TIMEDOUT = "rejected_timedout"


class TaskState(StrEnum):
    """State of a task record (protocol.md 2.3)."""

    PENDING = "pending"
    ACQUIRED = "acquired"
    SUSPENDED = "suspended"
    HALTED = "halted"
    FULFILLED = "fulfilled"


SETTLEABLE = frozenset(
    {PromiseState.RESOLVED, PromiseState.REJECTED, PromiseState.REJECTED_CANCELED}
)
"""The states a client may settle a promise to; the fifth, a timeout, is the server's own."""
