"""Threads for synchronous functions, with Django's connections kept clean between calls."""

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from django.db import close_old_connections, connections


class FunctionThreads:
    """Runs calls of user code on a bounded number of threads."""

    def __init__(self, size: int) -> None:
        """``size`` is how many calls may run at the same time."""
        self._pool = ThreadPoolExecutor(size, thread_name_prefix="durable-function")

    async def run[T](self, call: Callable[[], T]) -> T:
        """Run ``call`` on a thread, with the caller's context variables."""
        context = contextvars.copy_context()
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, partial(_run_clean, context, call))

    def close(self) -> None:
        """Let the threads end; calls that still run are not waited for."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def _run_clean[T](context: contextvars.Context, call: Callable[[], T]) -> T:
    close_old_connections()
    try:
        return context.run(call)
    finally:
        _close_broken_connections()


def _close_broken_connections() -> None:
    for connection in connections.all(initialized_only=True):
        if connection.in_atomic_block:  # user code left a transaction open: nothing of it may stay
            connection.close()
        else:
            connection.close_if_unusable_or_obsolete()
