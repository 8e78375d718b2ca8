"""The heartbeat of a process: a thread of its own, which no user code can block."""

import logging
import os
import socket
import threading
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

from django.db import DatabaseError, connections

from durable import clock, conf
from durable.client.base import Sender
from durable.models import Worker as WorkerRow

_MS = 1000
_PAUSE_AFTER_ERROR = 0.3

_logger = logging.getLogger(__name__)


class Heartbeat:
    """Extends all leases of the process in one statement, and keeps its row current."""

    def __init__(
        self,
        sender: Sender,
        pid: str,
        groups: Sequence[str],
        *,
        concurrency: int,
        functions: Collection[str],
        held: Callable[[], dict[str, int]],
        running: Callable[[], list[dict[str, Any]]],
        lose: Callable[[Iterable[str]], None],
    ) -> None:
        """``functions`` are the names of what it knows.

        ``held`` gives the leases (id to version), ``running`` what runs now, ``lose`` takes ids.

        All three are called on the heartbeat's thread.
        """
        self._sender = sender
        self._pid = pid
        self._held = held
        self._running = running
        self._lose = lose
        self._is_draining = False
        self._row = WorkerRow(
            pid=pid,
            groups=list(groups),
            functions=sorted(functions),
            host=socket.gethostname(),
            system_pid=os.getpid(),
            concurrency=concurrency,
            started_at=clock.now_ms(),
        )
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="durable-heartbeat", daemon=True)

    def start(self) -> None:
        """Write the row, then beat."""
        self._describe()
        self._thread.start()

    def drain(self) -> None:
        """Show from the next beat on that the process takes no more work."""
        self._is_draining = True

    def stop(self) -> None:
        """Stop beating and remove the row."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        pause = conf.heartbeat_ms() / _MS
        while not self._stopping.wait(pause):
            try:
                self._beat()
            except DatabaseError:
                _logger.warning("heartbeat failed", extra={"action": "heartbeat"}, exc_info=True)
                connections[conf.database_alias()].close()
                pause = _PAUSE_AFTER_ERROR
            else:
                pause = conf.heartbeat_ms() / _MS
        self._leave()

    def _beat(self) -> None:
        if lost := self._sender.heartbeat(self._pid, self._held()):
            self._lose(lost)
        self._describe()

    def _describe(self) -> None:
        self._row.seen_at = clock.now_ms()
        self._row.is_draining = self._is_draining
        self._row.running = self._running()
        WorkerRow.objects.using(conf.database_alias()).bulk_create(
            [self._row],
            update_conflicts=True,
            unique_fields=["pid"],
            update_fields=["seen_at", "is_draining", "running"],
        )

    def _leave(self) -> None:
        try:
            WorkerRow.objects.using(conf.database_alias()).filter(pid=self._pid).delete()
        except DatabaseError:
            _logger.warning("cannot remove the worker's row", extra={"action": "leave"})
        finally:
            connections[conf.database_alias()].close()
