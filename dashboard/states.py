"""What a page says about the state of an execution or a step: a word, a mark and a hue."""

from enum import Enum
from typing import Any, Protocol

from django.utils.functional import Promise as LazyText
from django.utils.translation import gettext_lazy as _

from durable.protocol.states import PromiseState, TaskState


class Status(Enum):
    """Value in query strings, the word shown, the mark in ``marks.svg`` and the colour family."""

    STUCK = ("stuck", _("Stuck"), "stuck", "warn")
    HUMAN = ("human", _("Waiting for a person"), "human", "human")
    RUNNING = ("running", _("Running"), "running", "active")
    QUEUED = ("queued", _("Queued"), "queued", "idle")
    SLEEPING = ("sleeping", _("Sleeping"), "sleeping", "rest")
    WAITING = ("waiting", _("Waiting"), "waiting", "rest")
    SUCCEEDED = ("succeeded", _("Succeeded"), "succeeded", "good")
    FAILED = ("failed", _("Failed"), "failed", "bad")
    CANCELLED = ("cancelled", _("Cancelled"), "cancelled", "idle")
    TIMED_OUT = ("timedout", _("Timed out"), "timedout", "warn")

    def __init__(self, slug: str, label: LazyText, mark: str, hue: str) -> None:
        """Spread the value over attributes that templates read."""
        self.slug = slug
        self.label = label
        self.mark = mark
        self.hue = hue

    @property
    def is_final(self) -> bool:
        """Whether nothing can happen any more."""
        return self in FINAL


FINAL = frozenset({Status.SUCCEEDED, Status.FAILED, Status.CANCELLED, Status.TIMED_OUT})
OPEN = tuple(status for status in Status if status not in FINAL)
"""The others, most telling first: an execution shows the first that applies to any part of it."""

BY_SLUG = {status.slug: status for status in Status}

SETTLED = {
    PromiseState.RESOLVED: Status.SUCCEEDED,
    PromiseState.REJECTED: Status.FAILED,
    PromiseState.REJECTED_CANCELED: Status.CANCELLED,
    PromiseState.REJECTED_TIMEDOUT: Status.TIMED_OUT,
}


class Kind(Enum):
    """What a promise stands for in a call tree: its value, and what it is called on a page."""

    CALL = ("call", _("function"))
    STEP = ("step", _("step"))
    TIMER = ("timer", _("timer"))
    LATENT = ("latent", _("outside answer"))

    def __init__(self, slug: str, label: LazyText) -> None:
        """Spread the value over attributes."""
        self.slug = slug
        self.label = label


KIND_BY_SLUG = {kind.slug: kind for kind in Kind}


def projected(state: str, timeout_at: int, now: int, *, is_timer: bool) -> PromiseState:
    """Return the state that an observer sees: a pending row past its deadline is settled."""
    if state != PromiseState.PENDING or timeout_at > now:
        return PromiseState(state)
    return PromiseState.RESOLVED if is_timer else PromiseState.REJECTED_TIMEDOUT


def settled_status(state: PromiseState) -> Status | None:
    """Return the status of a settled promise; None for a pending one."""
    return SETTLED.get(state)


class TaskRow(Protocol):
    """What is read of a task."""

    @property
    def state(self) -> Any: ...
    @property
    def stuck(self) -> Any: ...
    @property
    def expires_at(self) -> Any: ...


def pending_status(kind: Kind, task: TaskRow | None, now: int) -> Status:
    """Return the status of one pending promise; a call has a task."""
    match kind:
        case Kind.TIMER:
            return Status.SLEEPING
        case Kind.LATENT:
            return Status.HUMAN
        case Kind.STEP:
            return Status.RUNNING
    if task is None:
        return Status.QUEUED
    if task.stuck is not None or task.state == TaskState.HALTED:
        return Status.STUCK
    if task.state == TaskState.ACQUIRED and (task.expires_at or 0) > now:
        return Status.RUNNING
    return Status.WAITING if task.state == TaskState.SUSPENDED else Status.QUEUED
