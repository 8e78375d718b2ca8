"""The handle of an execution: whether it is done, and what came of it. Any thread may use it."""

import time
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

from asgiref.sync import sync_to_async

from durable.protocol.records import PromiseRecord
from durable.workflow import promises, results
from durable.workflow.connection import ask, ask_async, get_sender
from durable.workflow.errors import ResultTimeoutError

_WAITING_THREADS = 16
_TURN = 2.0


class Handle[T]:
    """An execution, or any other promise, by its id."""

    __slots__ = ("_shape", "id")

    def __init__(self, promise_id: str, shape: Any = Any) -> None:
        """``shape`` is the declared type of the result."""
        self.id = promise_id
        self._shape = shape

    def __repr__(self) -> str:
        return f"<Handle {self.id!r}>"

    def record(self) -> PromiseRecord:
        """Return the promise as it is now."""
        return ask(promises.read(self.id))

    async def arecord(self) -> PromiseRecord:
        """Async twin of ``record``."""
        return await ask_async(promises.read(self.id))

    def done(self) -> bool:
        """Whether there is a result; never waits."""
        return not self.record().is_pending

    async def adone(self) -> bool:
        """Async twin of ``done``."""
        return not (await self.arecord()).is_pending

    def result(self, timeout: float | None = None) -> T:
        """Wait for the result and return it, or raise the error it ended with.

        Raises ``ResultTimeoutError`` after ``timeout`` seconds, and ``WaitInTransactionError`` at
        once inside ``transaction.atomic()``.
        """
        record = get_sender().wait(self.id, timeout)
        if record is None:
            raise ResultTimeoutError(self.id, timeout or 0)
        return self._read(record)

    async def aresult(self, timeout: float | None = None) -> T:  # noqa: ASYNC109 - the twin's interface
        """Async twin of ``result``; it waits on a thread, and many waits share a few threads."""
        wait = sync_to_async(get_sender().wait, thread_sensitive=False, executor=_threads())
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            turn = _TURN if end is None else min(_TURN, max(0, end - time.monotonic()))
            record = await wait(self.id, turn)
            if record is not None:
                return self._read(record)
            if end is not None and time.monotonic() >= end:
                raise ResultTimeoutError(self.id, timeout or 0)

    def _read(self, record: PromiseRecord) -> T:
        value: T = results.read(record, self._shape).get()
        return value


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_WAITING_THREADS, thread_name_prefix="durable-wait")
