"""Threads that a test starts: each ends its connections, and none outlives the test."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future

from django.db import connections, transaction

TIMEOUT = 10.0
"""Longer than anything here takes; a wait that reaches it is a failure."""

_LOOK_AGAIN = 0.002
_NEVER = threading.Event()


class RollBackError(Exception):
    """Makes a held transaction roll back."""


class Held[T]:
    """A transaction that another thread keeps open after it has done something in it."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self._rolls_back = False
        self._ending = threading.Event()
        self.began: Future[T] = Future()
        self.ended: Future[None] = Future()

    @property
    def result(self) -> T:
        """What was done in the transaction."""
        return self.began.result(TIMEOUT)

    def commit(self) -> None:
        self._end()

    def roll_back(self) -> None:
        self._rolls_back = True
        self._end()

    def let_go(self) -> None:
        """End the transaction without waiting for it."""
        self._ending.set()

    def _end(self) -> None:
        self._ending.set()
        self.ended.result(TIMEOUT)

    def run(self) -> None:
        try:
            with transaction.atomic():
                self.began.set_result(self._work())
                self._ending.wait(TIMEOUT * 2)
                if self._rolls_back:
                    raise RollBackError
        except RollBackError:
            self.ended.set_result(None)
        except BaseException as error:
            (self.ended if self.began.done() else self.began).set_exception(error)
            raise
        else:
            self.ended.set_result(None)


class Threads:
    """Starts threads for one test."""

    def __init__(self) -> None:
        self._threads: list[threading.Thread] = []
        self._held: list[Held[object]] = []

    def call[T](self, work: Callable[[], T]) -> Future[T]:
        """Call something in a thread of its own."""
        future: Future[T] = Future()

        def run() -> None:
            try:
                future.set_result(work())
            except BaseException as error:  # told to the test
                future.set_exception(error)

        self._start(run)
        return future

    def hold[T](self, work: Callable[[], T]) -> Held[T]:
        """Do something inside ``atomic()`` in a thread, and keep the transaction open."""
        held = Held(work)
        self._held.append(held)
        self._start(held.run)
        held.began.result(TIMEOUT)
        return held

    def close(self) -> None:
        """End what is still open; nothing may hang."""
        for held in self._held:
            held.let_go()
        for thread in self._threads:
            thread.join(TIMEOUT)
            assert not thread.is_alive()

    def _start(self, work: Callable[[], None]) -> None:
        def run() -> None:
            try:
                work()
            except RollBackError:
                pass
            finally:
                connections.close_all()

        thread = threading.Thread(target=run, daemon=True)
        self._threads.append(thread)
        thread.start()


def eventually(is_so: Callable[[], object], what: str = "it") -> None:
    """Wait until a condition on the database holds, where no event tells of it."""
    end = time.monotonic() + TIMEOUT
    while not is_so():
        assert time.monotonic() < end, f"{what} did not come true"
        _NEVER.wait(_LOOK_AGAIN)
