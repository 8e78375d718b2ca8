"""Threads for what blocks beside the store: searches, look-ups of tokens, the debug surface."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from django.db import close_old_connections, connections

_THREADS = 4


class Executor:
    """A few threads with connections of their own, started when they are first needed."""

    def __init__(self) -> None:
        """Start none."""
        self._pool: ThreadPoolExecutor | None = None

    async def run[**P, T](self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call something in one of the threads."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="durable-gateway")
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, lambda: _call(work, *args, **kwargs))

    def close(self) -> None:
        """End the threads and their connections."""
        if self._pool is None:
            return
        pool, self._pool = self._pool, None
        together = threading.Barrier(_THREADS)  # so that each thread gets one
        for _ in range(_THREADS):
            pool.submit(_disconnect, together)
        pool.shutdown()


def _disconnect(together: threading.Barrier) -> None:
    connections.close_all()
    together.wait()


def _call[**P, T](work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    close_old_connections()
    try:
        return work(*args, **kwargs)
    finally:
        close_old_connections()


executor = Executor()
"""The process's own."""
