"""The error replies that several steps share; the texts are the reference server's."""

from durable.protocol.requests import CONFLICT, INVALID, NOT_FOUND, UNSUITABLE, Reply

PROMISE_NOT_FOUND = Reply(NOT_FOUND, "Promise not found")
TASK_NOT_FOUND = Reply(NOT_FOUND, "Task not found")
SCHEDULE_NOT_FOUND = Reply(NOT_FOUND, "Schedule not found")
TIMER_WITH_TARGET = Reply(INVALID, "A promise cannot be a timer and have a resonate:target tag")


def invalid(text: str) -> Reply:
    """A door check failed (400)."""
    return Reply(INVALID, text)


def conflict(text: str) -> Reply:
    """State, version or liveness of the subject is not what the request needs (409)."""
    return Reply(CONFLICT, text)


def unsuitable(text: str) -> Reply:
    """A second object is missing or unsuitable (422)."""
    return Reply(UNSUITABLE, text)
