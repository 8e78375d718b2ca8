"""The background thread of a process: sleeps until the next deadline or a hint."""

import logging
import threading
import time

from django.db import connections

from durable import pausing, signals
from durable.background.sweeper import Sweeper
from durable.notify import EVERYTHING, get_notifier
from durable.notify.base import DUE, Topics
from durable.store.database import DatabaseStore

_PAUSE_AFTER_ERROR = 1.0
_LOOK_WHILE_PAUSED = 0.1
_HOUSEKEEPING_SECONDS = 60.0

_logger = logging.getLogger(__name__)


class BackgroundRunner:
    """Sweeps in a thread until stopped."""

    def __init__(self, store: DatabaseStore) -> None:
        """``store`` is the process's own."""
        self._store = store
        self._sweeper = Sweeper(store)
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="durable-background", daemon=True)
        self._housekeeping_at = time.monotonic()

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread after the sweep under way."""
        self._stopping.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        unsubscribe = get_notifier(self._store.alias).subscribe(self._hear)
        try:
            while True:
                self._wake.clear()  # before the look at what it may have been set for
                if self._stopping.is_set():
                    return
                self._wake.wait(self._sweep())
        finally:
            unsubscribe()
            connections[self._store.alias].close()

    def _hear(self, topics: Topics) -> None:
        if DUE in topics or EVERYTHING in topics:
            self._wake.set()

    def _sweep(self) -> float:
        if pausing.is_paused():
            return _LOOK_WHILE_PAUSED
        try:
            pause = self._sweeper.sweep()
            self._keep_house()
        except Exception:  # the database may be away; it comes back
            _logger.exception("sweep failed", extra={"action": "sweep"})
            connections[self._store.alias].close()
            return _PAUSE_AFTER_ERROR
        return pause

    def _keep_house(self) -> None:
        if time.monotonic() >= self._housekeeping_at:
            self._housekeeping_at = time.monotonic() + _HOUSEKEEPING_SECONDS
            signals.housekeeping.send_robust(type(self), using=self._store.alias)
