"""Group commit: programs that wait while a transaction is under way share the next one."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable

from django.db import InterfaceError, OperationalError, connections

from durable.store.base import MAX_LOCKED_IDS, CommitUnknownError, Program, StoreConflictError

_logger = logging.getLogger(__name__)
_RETRY_AFTER = 0.002
_MAX_RETRY_AFTER = 0.05
_CONFLICT_TRIES = 20

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
        self._condition = threading.Condition()
        self._thread: threading.Thread | None = None
        self._stopping = False

    def submit(self, program: Program) -> None:
        """Queue a program; its future is completed after the commit."""
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
            while not self._queue:
                if self._aside:
                    if not self._condition.wait(self._retry_after):
                        self._queue.extend(self._aside)
                        self._aside.clear()
                        self._retry_after = min(self._retry_after * 2, _MAX_RETRY_AFTER)
                elif self._stopping:
                    return []
                else:
                    self._condition.wait()
            batch = [self._queue.popleft()]
            size = batch[0].size
            while self._queue and size + self._queue[0].size <= MAX_LOCKED_IDS:
                batch.append(self._queue.popleft())
                size += batch[-1].size
            return batch

    def _run(self, batch: list[Program]) -> None:
        try:
            aside = self._commit(batch)
        except Exception as error:  # noqa: BLE001 - it belongs to one of the programs
            self._recover(error)
            if isinstance(error, CommitUnknownError):  # running again could undo what was done
                for program in batch:
                    program.future.set_exception(error)
            elif len(batch) == 1:
                self._run_alone(batch[0], error)
            else:
                for program in batch:
                    self._run([program])
            return
        if len(aside) < len(batch):
            self._retry_after = _RETRY_AFTER
        self._aside.extend(aside)

    def _run_alone(self, program: Program, error: Exception) -> None:
        for _ in range(_CONFLICT_TRIES):
            if not is_retriable(error):
                break
            try:
                self._aside.extend(self._commit([program]))
            except Exception as again:  # noqa: BLE001 - told to the caller
                self._recover(again)
                error = again
            else:
                return
        program.future.set_exception(error)

    def _recover(self, error: Exception) -> None:
        lost = isinstance(error, (OperationalError, InterfaceError, CommitUnknownError))
        if lost and not is_transient(error):
            _logger.warning("database connection lost", extra={"action": "reconnect"})
            connections[self._alias].close()
            time.sleep(_RETRY_AFTER)


def is_retriable(error: Exception) -> bool:
    """Whether nothing was committed and another try makes sense, perhaps on a new connection."""
    return is_transient(error) or isinstance(error, (OperationalError, InterfaceError))


def is_transient(error: Exception) -> bool:
    """Whether it may succeed at once: a guard did not hold, or the file was locked."""
    if isinstance(error, StoreConflictError):
        return True
    return isinstance(error, OperationalError) and any(
        text in str(error) for text in ("database is locked", "deadlock detected")
    )
