"""What the store takes and gives: programs, settlements, and its errors."""

import time
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field

from django.db import OperationalError
from msgspec.structs import replace

from durable.exceptions import DurableError
from durable.machine.footprint import Footprint, footprint_of
from durable.protocol.annotations import Annotation, Settler
from durable.protocol.requests import (
    PromiseGet,
    PromiseSettle,
    Request,
    ScheduleGet,
    TaskFence,
    TaskFulfill,
    TaskGet,
    TaskHeartbeat,
)
from durable.protocol.validation import find_error
from durable.store.futures import ReplyFuture

MAX_LOCKED_IDS = 2000
"""Ids locked in one transaction: the database's lock table is finite."""


class StoreConflictError(DurableError):
    """A row is no longer what the transaction read; it is run again from the start."""

    def __init__(self, table: str) -> None:
        """``table`` is where the guard did not hold."""
        super().__init__(f"a row of {table} changed between read and write")


class ConnectionLostError(OperationalError):
    """The connection broke before the commit: nothing was changed."""


class CommitUnknownError(DurableError):
    """The connection broke while committing: the change may or may not be there."""

    def __init__(self) -> None:
        """The text says what the caller can do."""
        super().__init__(
            "the connection to the database broke while committing; read before trying again"
        )


class IsolationLevelError(DurableError):
    """The transaction reads from a snapshot that is older than the locks it takes."""

    def __init__(self, level: str) -> None:
        """``level`` is that of the transaction."""
        super().__init__(
            f"programs cannot run in a {level.upper()} transaction: they have to read what others "
            "committed before their locks were granted; use READ COMMITTED"
        )


@dataclass(slots=True, eq=False)
class Program:
    """Requests that run in order in one transaction, or not at all."""

    requests: tuple[Request, ...]
    annotations: Mapping[str, Annotation] = field(default_factory=dict)
    now: int = 0
    preload: bool = False
    future: ReplyFuture = field(default_factory=Future)
    sent_at: float = field(default_factory=time.monotonic)
    errors: tuple[str | None, ...] = field(init=False)
    """The type rule that each request breaks, if any."""
    footprint: Footprint = field(init=False)

    def __post_init__(self) -> None:
        self.annotations = {one: _storable(note) for one, note in self.annotations.items()}
        self.errors = tuple(map(find_error, self.requests))
        promises: dict[str, None] = {}
        schedules: dict[str, None] = {}
        for request, error in zip(self.requests, self.errors, strict=True):
            if error:  # refused before anything is read; its ids may be no ids
                continue
            footprint = footprint_of(request)
            promises.update(dict.fromkeys(footprint.promises))
            schedules.update(dict.fromkeys(footprint.schedules))
        self.footprint = Footprint(tuple(promises), tuple(schedules))

    @property
    def size(self) -> int:
        """How many ids it locks."""
        return len(self.footprint.promises) + len(self.footprint.schedules)

    @property
    def is_reading(self) -> bool:
        """Whether it writes nothing, so that it needs no locks and nobody's commit."""
        return all(isinstance(one, PromiseGet | TaskGet | ScheduleGet) for one in self.requests)

    @property
    def may_settle(self) -> bool:
        """Whether it may settle what others wait for."""
        return any(
            isinstance(
                one.action if isinstance(one, TaskFence) else one, PromiseSettle | TaskFulfill
            )
            for one in self.requests
        )

    def split(self, held: frozenset[str]) -> "tuple[Program, Program] | None":
        """Part a heartbeat: tasks whose locks are held, with its future, and those for later.

        None for other programs: they run as a whole or wait as a whole.
        """
        match self.requests:
            case (TaskHeartbeat(pid, tasks),):
                now = tuple(ref for ref in tasks if ref.id in held)
                later = tuple(ref for ref in tasks if ref.id not in held)
                return (
                    Program((TaskHeartbeat(pid, now),), now=self.now, future=self.future),
                    Program((TaskHeartbeat(pid, later),), now=self.now),
                )
            case _:
                return None


def _storable(note: Annotation) -> Annotation:
    """Replace what no text column holds: an exception's message may say anything."""
    return replace(
        note,
        last_error=_storable_text(note.last_error),
        started_by=_storable_text(note.started_by),
        stuck=_storable_text(note.stuck),
        settler=_storable_settler(note.settler),
    )


def _storable_settler(settler: Settler | None) -> Settler | None:
    if settler is None:
        return None
    return Settler(_storable_text(settler.by) or "", _storable_text(settler.address) or "")


def _storable_text(text: str | None) -> str | None:
    if text is None:
        return None
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode(errors="replace").decode()
