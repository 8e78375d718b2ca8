"""Group commit: programs that wait while a transaction is under way share the next one."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable

from django.db import OperationalError, connections

from durable.store import tallies
from durable.store.base import (
    MAX_LOCKED_IDS,
    CommitUnknownError,
    ConnectionLostError,
    Program,
    StoreConflictError,
)

_logger = logging.getLogger(__name__)
_RETRY_AFTER = 0.002
_MAX_RETRY_AFTER = 0.05
_TRIES = 20
_TRANSIENT_STATES = frozenset({"40001", "40P01", "55P03"})  # serialization, deadlock, lock timeout

type Commit = Callable[[list[Program]], list[Program]]
"""Runs programs in one transaction, completes their futures, returns those set aside."""


class Committer:
    """A thread with a connection of its own, started with the first program.

    It takes what is queued and never waits for more. A program that fails never fails its
    neighbours: the batch is run again one by one. Programs whose ids another transaction holds are
    set aside and tried again, and stop nobody.
    """

    def __init__(self, alias: str, commit: Commit) -> None:
        """``alias`` names the database; ``commit`` runs one batch on this thread's connection."""
        self._alias = alias
        self._commit = commit
        self._queue: deque[Program] = deque()
        self._aside: list[Program] = []
        self._retry_after = _RETRY_AFTER
        self._retry_at = 0.0
        self._condition = threading.Condition()
        self._thread: threading.Thread | None = None
        self._stopping = False

    def submit(self, program: Program) -> None:
        """Queue a program; its future is completed after the commit, and cannot be cancelled."""
        program.future.set_running_or_notify_cancel()
        with self._condition:
            if self._stopping:
                message = "the store is closed"
                raise RuntimeError(message)
            self._queue.append(program)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._work, name="durable-committer", daemon=True
                )
                self._thread.start()
            self._condition.notify()

    def close(self) -> None:
        """Commit what is queued, then end the thread."""
        with self._condition:
            self._stopping = True
            self._condition.notify()
            thread = self._thread
        if thread is not None:
            thread.join()

    def _work(self) -> None:
        try:
            while batch := self._take():
                self._run(batch)
        finally:
            connections[self._alias].close()

    def _take(self) -> list[Program]:
        """Wait for programs; return those whose ids fit into one transaction."""
        with self._condition:
            while not (self._queue or self._is_retry_due()):
                if self._stopping and not self._aside:
                    return []
                self._condition.wait(self._retry_at - time.monotonic() if self._aside else None)
            if self._is_retry_due():  # also while the queue never runs dry
                self._queue.extendleft(reversed(self._aside))
                self._aside.clear()
            batch = [self._queue.popleft()]
            size = batch[0].size
            while self._queue and size + self._queue[0].size <= MAX_LOCKED_IDS:
                batch.append(self._queue.popleft())
                size += batch[-1].size
            return batch

    def _is_retry_due(self) -> bool:
        return bool(self._aside) and self._retry_at <= time.monotonic()

    def _set_aside(self, programs: list[Program]) -> None:
        if programs:
            self._aside.extend(programs)
            self._retry_at = time.monotonic() + self._retry_after
            self._retry_after = min(self._retry_after * 2, _MAX_RETRY_AFTER)
        elif not self._aside:
            self._retry_after = _RETRY_AFTER

    def _run(self, batch: list[Program]) -> None:
        tallies.batch_sizes[len(batch)] += 1
        began_at = time.monotonic()
        for program in batch:
            tallies.commit_waits.add(began_at - program.sent_at)
        try:
            self._set_aside(self._commit(batch))
        except Exception as error:  # noqa: BLE001 - it belongs to one of the programs
            self._recover(error)
            rest = [program for program in batch if not program.future.done()]
            if isinstance(error, CommitUnknownError):  # running again could undo what was done
                for program in rest:
                    program.future.set_exception(error)
            elif len(rest) == 1:
                self._run_alone(rest[0], error)
            else:
                for program in rest:
                    self._run([program])

    def _run_alone(self, program: Program, error: Exception) -> None:
        for _ in range(_TRIES):
            if not is_retriable(error):
                break
            try:
                self._set_aside(self._commit([program]))
            except Exception as again:  # noqa: BLE001 - told to the caller
                self._recover(again)
                error = again
            else:
                return
        program.future.set_exception(error)

    def _recover(self, error: Exception) -> None:
        if isinstance(error, (ConnectionLostError, CommitUnknownError)):
            _logger.warning("database connection lost", extra={"action": "reconnect"})
            connections[self._alias].close()
            time.sleep(_RETRY_AFTER)


def is_retriable(error: Exception) -> bool:
    """Whether nothing was committed and another try makes sense, perhaps on a new connection."""
    return is_transient(error) or isinstance(error, ConnectionLostError)


def is_transient(error: Exception) -> bool:
    """Whether the same program may succeed at once: a guard did not hold, or a lock was busy."""
    if isinstance(error, StoreConflictError):
        return True
    return isinstance(error, OperationalError) and (
        getattr(error.__cause__, "sqlstate", None) in _TRANSIENT_STATES
        or "database is locked" in str(error)
    )
