"""In-process events, and ``PRAGMA data_version`` for the commits of other processes."""

import logging
import threading
from collections.abc import Callable, Iterable

from django.db import DatabaseError, connections, transaction

from durable.notify.base import EVERYTHING, Subscriber, Subscribers

_POLL_SECONDS = 0.01

_logger = logging.getLogger(__name__)


class SQLiteNotifier:
    """Within the process a commit tells its topics; another's commit tells "everything"."""

    def __init__(self, alias: str) -> None:
        """``alias`` names the database."""
        self._alias = alias
        self._subscribers = Subscribers()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()

    def publish(self, topics: Iterable[str]) -> None:
        """Tell this process's subscribers when the current transaction commits."""
        told = frozenset(topics)
        transaction.on_commit(lambda: self._subscribers.tell(told), using=self._alias)

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        """Add a subscriber; the first starts the watch."""
        remove = self._subscribers.add(subscriber)
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._watch, name="durable-watcher", daemon=True
                )
                self._thread.start()
        return remove

    def close(self) -> None:
        """Stop watching."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()

    def _watch(self) -> None:
        connection = connections[self._alias]
        seen = None
        try:
            while not self._stopping.wait(_POLL_SECONDS):
                try:
                    version = self._read_version()
                except DatabaseError:
                    _logger.warning(
                        "cannot watch the database", extra={"action": "watch"}, exc_info=True
                    )
                    connection.close()
                    version = None
                if version != seen:  # at first too: what came before was missed
                    self._subscribers.tell(frozenset({EVERYTHING}))
                seen = version
        finally:
            connection.close()

    def _read_version(self) -> int:
        connection = connections[self._alias]
        connection.ensure_connection()
        [version] = connection.connection.execute("pragma data_version").fetchone()
        return int(version)
