"""What the store takes and gives: programs, settlements, and its errors."""

from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field

from durable.exceptions import DurableError
from durable.machine.footprint import Footprint, footprint_of
from durable.protocol.annotations import Annotation
from durable.protocol.requests import Reply, Request

MAX_LOCKED_IDS = 2000
"""Ids locked in one transaction: the database's lock table is finite."""


class StoreConflictError(DurableError):
    """A row is no longer what the transaction read; it is run again from the start."""

    def __init__(self, table: str) -> None:
        """``table`` is where the guard did not hold."""
        super().__init__(f"a row of {table} changed between read and write")


class CommitUnknownError(DurableError):
    """The connection broke while committing: the change may or may not be there."""

    def __init__(self) -> None:
        """The text says what the caller can do."""
        super().__init__(
            "the connection to the database broke while committing; read before trying again"
        )


@dataclass(slots=True, eq=False)
class Program:
    """Requests that run in order in one transaction, or not at all."""

    requests: tuple[Request, ...]
    annotations: Mapping[str, Annotation] = field(default_factory=dict)
    now: int = 0
    preload: bool = False
    future: Future[list[Reply]] = field(default_factory=Future)
    footprint: Footprint = field(init=False)

    def __post_init__(self) -> None:
        promises: dict[str, None] = {}
        schedules: dict[str, None] = {}
        for request in self.requests:
            footprint = footprint_of(request)
            promises.update(dict.fromkeys(footprint.promises))
            schedules.update(dict.fromkeys(footprint.schedules))
        self.footprint = Footprint(tuple(promises), tuple(schedules))

    @property
    def size(self) -> int:
        """How many ids it locks."""
        return len(self.footprint.promises) + len(self.footprint.schedules)
