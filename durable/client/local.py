"""Straight into this process's store, on the caller's transaction when there is one."""

import asyncio
import threading
import time
from collections.abc import Collection, Mapping

from durable.client.base import Annotations, Claim, Sender
from durable.exceptions import PromiseNotFoundError, WaitInTransactionError
from durable.notify import EVERYTHING, SETTLED, get_notifier
from durable.notify.base import Topics
from durable.protocol.claims import ANY, Wanted
from durable.protocol.records import PromiseRecord
from durable.protocol.requests import PromiseGet, Reply, Request
from durable.store import get_store
from durable.store.claims import claim, heartbeat
from durable.store.database import DatabaseStore
from durable.store.lineage import fetch_descendants

_POLL_SECONDS = 1.0
_READ_SECONDS = 1.0
_MS = 1000


class LocalSender:
    """A ``Sender`` on the database of ``DURABLE_DATABASE``; safe to use from any thread."""

    @property
    def _store(self) -> DatabaseStore:
        return get_store()

    def send(self, *requests: Request, annotations: Annotations | None = None) -> list[Reply]:
        """Run a program; inside ``transaction.atomic()`` it is part of the caller's transaction."""
        return self._store.run(*requests, annotations=annotations)

    def ask(
        self, *requests: Request, annotations: Annotations | None = None
    ) -> asyncio.Future[list[Reply]]:
        """Run a program in a transaction of its own, without blocking the event loop."""
        return self._store.ask(*requests, annotations=annotations)

    def claim(
        self, groups: Collection[str], *, pid: str, ttl: int, limit: int, wanted: Wanted = ANY
    ) -> list[Claim]:
        """Acquire up to ``limit`` wanted tasks of the groups that are due; ``ttl`` in ms."""
        return claim(self._store, groups, pid=pid, ttl=ttl, limit=limit, wanted=wanted)

    def heartbeat(self, pid: str, held: Mapping[str, int]) -> set[str]:
        """Extend the leases of the tasks held; return the ids that are lost."""
        return heartbeat(self._store, pid, held)

    def descendants(self, promise_id: str) -> list[PromiseRecord]:
        """Return every promise below one, found by their ``resonate:parent`` tags."""
        return fetch_descendants(self._store, promise_id)

    def wait(self, promise_id: str, timeout: float | None = None) -> PromiseRecord | None:
        """Block until the promise is settled; woken by its commit, and looking once a second."""
        if self._store.connection.in_atomic_block:
            raise WaitInTransactionError(promise_id)
        settled = threading.Event()

        def wake(topics: Topics) -> None:
            if SETTLED in topics or EVERYTHING in topics:
                settled.set()

        end = None if timeout is None else time.monotonic() + timeout
        unsubscribe = get_notifier(self._store.alias).subscribe(wake)
        try:
            while True:
                settled.clear()
                try:
                    record = self._read(promise_id, end)
                except TimeoutError:
                    return None
                if not record.is_pending:
                    return record
                left = _POLL_SECONDS if end is None else min(_POLL_SECONDS, end - time.monotonic())
                left = min(left, (record.timeout_at - self._store.clock_now()) / _MS + 0.001)
                if end is not None and time.monotonic() >= end:
                    return None
                settled.wait(max(left, 0.001))
        finally:
            unsubscribe()

    def _read(self, promise_id: str, end: float | None) -> PromiseRecord:
        """Read; raise ``TimeoutError`` when a busy database lets the wait's end pass."""
        left = None if end is None else max(end - time.monotonic(), _READ_SECONDS)
        [reply] = self._store.submit(PromiseGet(promise_id)).result(left)
        if reply.promise is None:
            raise PromiseNotFoundError(promise_id)
        return reply.promise


_sender = LocalSender()


def get_sender() -> Sender:
    """Return the process's sender."""
    return _sender
