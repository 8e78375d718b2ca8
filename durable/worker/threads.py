"""Threads for synchronous functions, with Django's connections kept clean between calls."""

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

from django.db import close_old_connections, connections

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper


class FunctionThreads:
    """Runs calls of user code on a bounded number of threads."""

    def __init__(self, size: int) -> None:
        """``size`` is how many calls may run at the same time."""
        self._pool = ThreadPoolExecutor(size, thread_name_prefix="durable-function")
        self._opened: set[BaseDatabaseWrapper] = set()

    async def run[T](self, call: Callable[[], T]) -> T:
        """Run ``call`` on a thread, with the caller's context variables."""
        context = contextvars.copy_context()
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, partial(self._run_clean, context, call))

    def close(self) -> None:
        """Let the threads end; calls that still run are not waited for."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        for connection in self._opened:  # a pool's thread ends without a last call
            connection.inc_thread_sharing()
            connection.close()

    def _run_clean[T](self, context: contextvars.Context, call: Callable[[], T]) -> T:
        close_old_connections()
        try:
            return context.run(call)
        finally:
            self._tidy_connections()

    def _tidy_connections(self) -> None:
        for connection in connections.all(initialized_only=True):
            self._opened.add(connection)
            if connection.in_atomic_block:  # left open by user code: nothing of it may stay
                connection.close()
            else:
                connection.close_if_unusable_or_obsolete()
