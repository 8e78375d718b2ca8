"""The thread that hands messages to deliverers: one event loop, a bounded number at a time."""

import asyncio
import logging
import threading
from collections.abc import Callable

from durable import conf
from durable.delivery import http_push  # noqa: F401 - registers its schemes
from durable.delivery.registry import Deliverer, DeliveryError, find_factories, scheme_of
from durable.machine.state import Execute
from durable.protocol import messages
from durable.store.outbox import Queued

AT_ONCE = 64
_FIRST_PAUSE_MS = 1000
_LONGEST_PAUSE_MS = 60_000
_UNKNOWN_PAUSE_MS = 300_000
_STOP_SECONDS = 2.0

_logger = logging.getLogger(__name__)


class Pusher:
    """Delivers what it is given; tells how each went, on its own thread."""

    def __init__(
        self, *, on_success: Callable[[Queued], None], on_failure: Callable[[Queued, int], None]
    ) -> None:
        """``on_failure`` gets the time in ms until the next try."""
        self._on_success = on_success
        self._on_failure = on_failure
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._deliverers: dict[str, Deliverer] = {}
        self._under_way: set[int] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def room(self) -> int:
        """How many more it takes."""
        return AT_ONCE - len(self._under_way)

    def submit(self, queued: Queued) -> None:
        """Deliver a message, unless that is under way."""
        if queued.id in self._under_way:
            return
        self._under_way.add(queued.id)
        self._running_loop().call_soon_threadsafe(self._begin, queued)

    def stop(self) -> None:
        """Give up what is under way: it is tried again by somebody."""
        if self._loop is not None and self._thread is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(_STOP_SECONDS)
            self._loop = self._thread = None
            self._under_way.clear()

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(
                target=self._run, args=(self._loop,), name="durable-push", daemon=True
            )
            self._thread.start()
        return self._loop

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        try:
            loop.run_forever()
        finally:
            loop.run_until_complete(self._close())
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()

    async def _close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for deliverer in set(self._deliverers.values()):
            await deliverer.close()
        self._deliverers.clear()

    def _begin(self, queued: Queued) -> None:
        task = asyncio.create_task(self._deliver(queued))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _deliver(self, queued: Queued) -> None:
        address = queued.message.address
        try:
            deliverer = self._find(scheme_of(address))
            if deliverer is None:
                self._fail(queued, _UNKNOWN_PAUSE_MS)
                return
            await deliverer.deliver(address, encode(queued))
        except DeliveryError as error:
            _logger.warning("%s", error, extra={"action": "push", "attempt": queued.attempts})
            self._fail(queued, pause_ms(queued.attempts))
        except Exception:  # a deliverer of somebody else's
            _logger.exception("a deliverer failed", extra={"action": "push"})
            self._fail(queued, pause_ms(queued.attempts))
        else:
            self._under_way.discard(queued.id)
            self._on_success(queued)

    def _fail(self, queued: Queued, pause: int) -> None:
        self._under_way.discard(queued.id)
        self._on_failure(queued, pause)

    def _find(self, scheme: str) -> Deliverer | None:
        if scheme not in self._deliverers:
            factory = find_factories().get(scheme)
            if factory is None:
                _logger.warning(
                    "nothing delivers to %r addresses", scheme, extra={"action": "push"}
                )
                return None
            self._deliverers[scheme] = factory()
        return self._deliverers[scheme]


def encode(queued: Queued) -> bytes:
    """Return the message as it travels."""
    match queued.message:
        case Execute(task_id, version):
            return messages.encode(messages.execute(task_id, version, conf.server_url()))
        case unblock:
            return messages.encode(messages.unblock(unblock.promise))


def pause_ms(attempts: int) -> int:
    """Return how long a message rests after so many tries: 1 s doubling to a minute."""
    return min(_FIRST_PAUSE_MS << min(attempts - 1, 10), _LONGEST_PAUSE_MS)
