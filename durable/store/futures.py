"""How replies reach who waits for them: a thread by its future, an event loop by one call a batch.

``asyncio.wrap_future`` would wake the loop once a program, through several callbacks each.
"""

import asyncio
from collections.abc import Iterable
from concurrent.futures import Future
from contextlib import suppress

from durable.protocol.requests import Reply

type Replies = list[Reply]


class LoopFuture:
    """Completes a future of the running event loop from another thread."""

    __slots__ = ("_is_done", "awaitable", "loop")

    def __init__(self) -> None:
        """Make the future; on the event loop."""
        self.loop = asyncio.get_running_loop()
        self.awaitable: asyncio.Future[Replies] = self.loop.create_future()
        self._is_done = False

    def done(self) -> bool:
        """Whether a result or an exception was set."""
        return self._is_done

    def set_running_or_notify_cancel(self) -> bool:
        """Begin; who stops waiting does not stop the program."""
        return True

    def set_result(self, replies: Replies) -> None:
        """Complete it."""
        complete([(self, replies)])

    def set_exception(self, error: BaseException) -> None:
        """Fail it."""
        self._is_done = True
        _call(self.loop, [(self, error)])

    def note_done(self) -> None:
        """Note that the result is on its way."""
        self._is_done = True

    def take(self, outcome: Replies | BaseException) -> None:
        """Set the result, unless nobody waits any more; on the event loop."""
        if self.awaitable.done():
            return
        if isinstance(outcome, BaseException):
            self.awaitable.set_exception(outcome)
        else:
            self.awaitable.set_result(outcome)


type ReplyFuture = Future[Replies] | LoopFuture


def complete(answered: Iterable[tuple[ReplyFuture, Replies]]) -> None:
    """Set the results of a batch; safe from any thread."""
    loops: dict[asyncio.AbstractEventLoop, list[tuple[LoopFuture, Replies]]] = {}
    for future, replies in answered:
        if isinstance(future, LoopFuture):
            future.note_done()
            loops.setdefault(future.loop, []).append((future, replies))
        else:
            future.set_result(replies)
    for loop, pairs in loops.items():
        _call(loop, pairs)


def _call(
    loop: asyncio.AbstractEventLoop,
    outcomes: Iterable[tuple[LoopFuture, Replies | BaseException]],
) -> None:
    with suppress(RuntimeError):  # the loop is closed: nobody waits
        loop.call_soon_threadsafe(_take_all, outcomes)


def _take_all(outcomes: Iterable[tuple[LoopFuture, Replies | BaseException]]) -> None:
    for future, outcome in outcomes:
        future.take(outcome)
