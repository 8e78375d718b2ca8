"""What one pass knows of each promise, and who waits for it: how a pass sees that it is stuck."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from durable.protocol.records import PromiseRecord
from durable.workflow.calls import Call, Kind
from durable.workflow.errors import Suspended


class Slot:
    """A promise in this pass; ``record`` is None until it is there."""

    __slots__ = ("call", "id", "is_begun", "is_joined", "record", "waits")

    def __init__(self, promise_id: str, call: Call, record: PromiseRecord | None) -> None:
        """``record`` is what the history holds of it."""
        self.id = promise_id
        self.call = call
        self.record = record
        self.is_begun = False
        self.is_joined = False
        self.waits: list[Wait] = []

    @property
    def is_settled(self) -> bool:
        """Whether its value or error is known."""
        return self.record is not None and not self.record.is_pending

    @property
    def is_external(self) -> bool:
        """Whether it is settled by something other than this pass."""
        return self.call.kind is not Kind.STEP


class Wait:
    """One function that waits for one or several promises, until all are settled."""

    __slots__ = ("future", "is_over", "missing", "slots")

    def __init__(self, slots: Sequence[Slot]) -> None:
        """``slots`` are not settled yet."""
        self.slots = slots
        self.missing = len(slots)
        self.future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.is_over = False


class Floor:
    """Counts the functions that can still move. When none can, the pass has done all it can."""

    def __init__(self, on_still: Callable[[], None]) -> None:
        """``on_still`` is called whenever the last one stops."""
        self._on_still = on_still
        self._moving = 0
        self._waits: dict[Wait, None] = {}
        self._pauses: set[asyncio.Future[Any]] = set()
        self.is_closed = False

    @property
    def is_still(self) -> bool:
        """Whether every function waits."""
        return self._moving == 0

    def enter(self) -> None:
        """One more function moves."""
        self._moving += 1

    def leave(self) -> None:
        """One function less moves."""
        self._moving -= 1
        if self.is_still:
            self._on_still()

    async def wait(self, slots: Sequence[Slot]) -> None:
        """Wait until all are settled. Raises ``Suspended`` when the pass ends before."""
        missing = [slot for slot in dict.fromkeys(slots) if not slot.is_settled]
        if not missing:
            return
        self.check()
        wait = Wait(missing)
        for slot in missing:
            slot.waits.append(wait)
        self._waits[wait] = None
        self.leave()
        try:
            await wait.future
        finally:
            self._resume(wait)

    def _resume(self, wait: Wait) -> None:
        if not wait.is_over:
            wait.is_over = True
            del self._waits[wait]
            self.enter()

    def settle(self, slot: Slot, record: PromiseRecord) -> None:
        """Note what a promise is now, and let go who waited for it."""
        slot.record = record
        if record.is_pending:
            return
        waits, slot.waits = slot.waits, []
        for wait in waits:
            wait.missing -= 1
            if wait.missing == 0 and not wait.is_over:
                self._resume(wait)
                if not wait.future.done():
                    wait.future.set_result(None)

    def parked(self) -> dict[str, Slot]:
        """Return all promises that only the outside can settle and that somebody waits for."""
        return {
            slot.id: slot
            for wait in self._waits
            for slot in wait.slots
            if slot.is_external and not slot.is_settled
        }

    def awaited(self) -> list[str]:
        """Return the promises that must wake the task.

        Of several that one function waits for together, the last pending one is enough: the
        function cannot go on without it, and what else is missing is looked at then.
        """
        last: dict[str, None] = {}
        for wait in self._waits:
            pending = [slot for slot in wait.slots if slot.is_external and not slot.is_settled]
            if pending:
                last[pending[-1].id] = None
        return list(last)

    async def pause[T](self, awaitable: Awaitable[T]) -> T:
        """Await something of this process that the end of the pass cuts short."""
        future: asyncio.Future[T] = asyncio.ensure_future(awaitable)
        if self.is_closed:
            future.cancel()
        self._pauses.add(future)
        try:
            return await future
        except asyncio.CancelledError:
            self.check()
            raise
        finally:
            self._pauses.discard(future)

    def check(self) -> None:
        """Raise ``Suspended`` when the pass is over."""
        if self.is_closed:
            raise Suspended

    def close(self) -> None:
        """End the pass: whoever waits is unwound."""
        self.is_closed = True
        for wait in list(self._waits):
            self._resume(wait)
            if not wait.future.done():
                wait.future.set_exception(Suspended())
        for pause in self._pauses:
            pause.cancel()
