"""LISTEN and NOTIFY: one listening connection a process, outside any pool."""

import logging
import threading
from collections.abc import Callable, Iterable

import psycopg
from django.db import connections

from durable.notify.base import (
    CHANNEL,
    EVERYTHING,
    Subscriber,
    Subscribers,
    parse_payload,
    payload_of,
)
from durable.prepared import execute

_LISTEN_SECONDS = 5.0
_STOP_SECONDS = 0.1
_FIRST_PAUSE = 0.2
_LONGEST_PAUSE = 10.0

_logger = logging.getLogger(__name__)


class PostgresNotifier:
    """A payload holds topics, never data; one too long for the server says "everything"."""

    def __init__(self, alias: str) -> None:
        """``alias`` names the database."""
        self._alias = alias
        self._subscribers = Subscribers()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._listening = threading.Event()
        self._pause = _FIRST_PAUSE

    def publish(self, topics: Iterable[str]) -> None:
        """Notify when the current transaction commits; the server drops it on a rollback."""
        connection = connections[self._alias]
        connection.ensure_connection()
        with connection.wrap_database_errors:
            execute(connection, "select pg_notify(%s, %s)", (CHANNEL, payload_of(topics)))

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        """Add a subscriber; returns once this process listens, or after a failed first try."""
        remove = self._subscribers.add(subscriber)
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._listen, name="durable-listener", daemon=True
                )
                self._thread.start()
        self._listening.wait(_LISTEN_SECONDS)
        return remove

    def close(self) -> None:
        """Stop listening."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(_LISTEN_SECONDS + 1)

    def _listen(self) -> None:
        while not self._stopping.is_set():
            try:
                self._listen_once()
            except psycopg.Error:
                _logger.warning(
                    "cannot listen for notifications", extra={"action": "listen"}, exc_info=True
                )
                self._listening.set()
                self._stopping.wait(self._pause)
                self._pause = min(self._pause * 2, _LONGEST_PAUSE)

    def _listen_once(self) -> None:
        params = connections[self._alias].get_connection_params()
        for key in ("cursor_factory", "context", "pool"):
            params.pop(key, None)
        params["autocommit"] = True
        with psycopg.connect(**params) as connection:
            connection.execute(f"listen {CHANNEL}")
            self._pause = _FIRST_PAUSE
            self._subscribers.tell(frozenset({EVERYTHING}))  # what came before was missed
            self._listening.set()
            while not self._stopping.is_set():
                for notification in connection.notifies(timeout=_STOP_SECONDS):
                    self._subscribers.tell(parse_payload(notification.payload))
