"""Counts the statements of a process on SQLite, where no server does, into a file for the driver.

``BENCH_COUNTS`` names the folder. Each statement is one; one of ``executemany`` is one a row.
"""

import mmap
import os
import struct
import threading
from pathlib import Path
from typing import Any, NamedTuple

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

_NUMBERS = struct.Struct("<QQ")
_WRITES = ("INSERT", "UPDATE", "DELETE")


class Traced(NamedTuple):
    """What processes have done so far."""

    statements: int
    commits: int


class _Trace:
    """The counts of this process, in memory that the driver reads."""

    def __init__(self, path: Path) -> None:
        path.write_bytes(bytes(_NUMBERS.size))
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), _NUMBERS.size)
        self._lock = threading.Lock()
        self._statements = self._commits = 0

    def add(self, *, is_commit: bool) -> None:
        with self._lock:
            self._statements += 1
            self._commits += is_commit
            _NUMBERS.pack_into(self._memory, 0, self._statements, self._commits)

    def watch(self, connection: BaseDatabaseWrapper, **_kwargs: Any) -> None:
        """Count what one connection does, and keep its log whole so that its growth can be read."""
        if connection.vendor != "sqlite":
            return
        raw = connection.connection
        raw.execute("pragma wal_autocheckpoint = 0")

        def count(statement: str) -> None:
            word = statement[:6].upper()
            is_alone = word in _WRITES and not raw.in_transaction
            self.add(is_commit=is_alone or word == "COMMIT")

        raw.set_trace_callback(count)


def start() -> None:
    """Count from now on what this process does."""
    trace = _Trace(Path(os.environ["BENCH_COUNTS"]) / f"counts-{os.getpid()}")
    connection_created.connect(trace.watch, weak=False, dispatch_uid="bench-tracing")


def read(folder: Path) -> Traced:
    """Return the sum over all processes that have counted into a folder."""
    counted = [_NUMBERS.unpack(path.read_bytes()) for path in folder.glob("counts-*")]
    return Traced(sum(one[0] for one in counted), sum(one[1] for one in counted))
