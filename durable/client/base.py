"""The port that workflows, workers and pages speak through; it hides where the engine is."""

import asyncio
from collections.abc import Collection, Mapping
from typing import Protocol

from durable.protocol.annotations import Annotation
from durable.protocol.claims import ANY, Claim, Wanted
from durable.protocol.records import PromiseRecord
from durable.protocol.requests import Reply, Request

__all__ = ["Annotations", "Claim", "Sender"]

type Annotations = Mapping[str, Annotation]


class Sender(Protocol):
    """Sends programs: requests that run in order in one transaction, or not at all."""

    def send(self, *requests: Request, annotations: Annotations | None = None) -> list[Reply]:
        """Run a program and return one reply a request.

        Inside the caller's ``transaction.atomic()`` it runs on the caller's connection and commits
        or rolls back with the caller's own rows.
        """

    def ask(
        self, *requests: Request, annotations: Annotations | None = None
    ) -> asyncio.Future[list[Reply]]:
        """Run a program in a transaction of its own, without blocking the running event loop."""

    def claim(
        self, groups: Collection[str], *, pid: str, ttl: int, limit: int, wanted: Wanted = ANY
    ) -> list[Claim]:
        """Acquire up to ``limit`` due tasks of the groups for a process; ``ttl`` in ms.

        Blocking; for a worker's own thread. Empty when nothing is due.
        """

    def heartbeat(self, pid: str, held: Mapping[str, int]) -> set[str]:
        """Extend the leases of the tasks held (id to version); return the ids that are lost."""

    def descendants(self, promise_id: str) -> list[PromiseRecord]:
        """Return every promise below one, in any state, found by their ``resonate:parent`` tags.

        Calls made with ``detached`` are below their origin.
        """

    def wait(self, promise_id: str, timeout: float | None = None) -> PromiseRecord | None:
        """Block until the promise is settled and return it; None after ``timeout`` seconds.

        Raises ``PromiseNotFoundError`` for an unknown id, and ``WaitInTransactionError`` at once
        inside ``atomic()``, where it would wait for itself.
        """
