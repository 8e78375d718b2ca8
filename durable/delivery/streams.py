"""The event streams that this process holds, and who gets which message (protocol.md 6.5).

Streams belong to an event loop, messages come from the dispatcher's thread; ``Hub`` is between them
and knows neither the database nor ASGI.
"""

import asyncio
import random
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from typing import NamedTuple
from urllib.parse import quote

from durable import clock
from durable.protocol.addresses import PollAddress

SLOW_SECONDS = 10.0
"""A stream whose buffer stays full for so long is closed: its client does not read."""
SETTLING_SECONDS = 0.25
"""A message counts as handed over when its stream is still open so long after it was written."""


def spellings(text: str) -> set[str]:
    """Return how a group or id may be written in an address."""
    return {text, quote(text, safe=""), quote(text)}


class Event(NamedTuple):
    """What is written to a stream; ``message_id`` is its row in the outbox, if it has one."""

    data: bytes
    message_id: int | None = None


class Stream:
    """One open stream; made and read on its event loop, filled from any thread."""

    def __init__(self, group: str, worker: str, *, size: int, on_room: Callable[[], None]) -> None:
        """``size`` bounds what waits; ``on_room`` is called when a full stream has room again."""
        self.id = secrets.token_hex(16)
        self.group = group
        self.worker = worker
        self.addresses = tuple(
            f"poll://uni@{one}/{other}" for one in spellings(group) for other in spellings(worker)
        )
        self.opened_at = clock.now_ms()
        self._size = size
        self._on_room = on_room
        self._loop = asyncio.get_running_loop()
        self._woken = asyncio.Event()
        self._task = asyncio.current_task()
        self._lock = threading.Lock()
        self._waiting: deque[Event] = deque()
        self._written: deque[tuple[float, int]] = deque()
        self._full_since: float | None = None
        self.in_flight: set[int] = set()
        """Outbox rows given to this stream and not deleted; the dispatcher's thread alone."""
        self._is_ending = False

    # -- from any thread -----------------------------------------------------------------------

    @property
    def room(self) -> int:
        """How many more events it takes."""
        return 0 if self._is_ending else self._size - len(self._waiting)

    def put(self, event: Event) -> bool:
        """Add an event; false when there is no room or the stream ends."""
        with self._lock:
            if self.room <= 0:
                return False
            self._waiting.append(event)
            if len(self._waiting) >= self._size and self._full_since is None:
                self._full_since = time.monotonic()
        self._wake()
        return True

    def end(self) -> None:
        """End the stream after what waits; its client comes again."""
        self._is_ending = True
        self._wake()

    def is_slow(self, now: float) -> bool:
        """Whether the buffer has been full for too long."""
        full_since = self._full_since
        return full_since is not None and now - full_since >= SLOW_SECONDS

    def abort(self) -> None:
        """End the stream at once, in the middle of a write."""
        self._is_ending = True
        if self._task is not None:
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._task.cancel)

    def settled(self, before: float) -> list[int]:
        """Return, once, the outbox rows of events written before an instant."""
        found = []
        with self._lock:
            while self._written and self._written[0][0] <= before:
                found.append(self._written.popleft()[1])
        return found

    def _wake(self) -> None:
        with suppress(RuntimeError):  # the loop has ended, and the stream with it
            self._loop.call_soon_threadsafe(self._woken.set)

    # -- on the event loop ---------------------------------------------------------------------

    @property
    def is_ending(self) -> bool:
        """Whether nothing more will come."""
        return self._is_ending

    def take(self) -> list[Event]:
        """Return what waits."""
        with self._lock:
            events = list(self._waiting)
            self._waiting.clear()
            was_full, self._full_since = self._full_since is not None, None
        if was_full:
            self._on_room()
        return events

    def note_written(self, events: Iterable[Event]) -> None:
        """Note that events were handed to the connection."""
        now = time.monotonic()
        with self._lock:
            self._written.extend(
                (now, one.message_id) for one in events if one.message_id is not None
            )

    async def wait(self, seconds: float) -> None:
        """Wait for an event or the end, at most so long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(max(seconds, 0)):
                await self._woken.wait()
        self._woken.clear()


class Closed(NamedTuple):
    """A stream that is gone; ``is_clean`` when all that was written has reached its client."""

    stream: Stream
    is_clean: bool


class Hub:
    """All streams of the process. Of several with one group and id the newest gets the messages."""

    def __init__(self) -> None:
        """Start with none."""
        self._lock = threading.RLock()  # ``stop`` comes from a signal's handler, in any line
        self._streams: dict[str, dict[str, list[Stream]]] = {}
        self._opened: list[Stream] = []
        self._closed: list[Closed] = []
        self._count = 0
        self._is_stopped = False
        self._remote: Mapping[tuple[str, str], int] = {}
        self.on_change: Callable[[], None] = _nothing

    def __len__(self) -> int:
        return self._count

    @property
    def is_stopped(self) -> bool:
        """Whether the process ends, so that no stream begins."""
        return self._is_stopped

    def stop(self, **_kwargs: object) -> None:
        """End all streams, and refuse new ones. A receiver of ``signals.stopping``."""
        self._is_stopped = True
        for stream in self.streams():
            stream.end()

    def resume(self) -> None:
        """Accept streams again: for tests, and servers that restart within the process."""
        self._is_stopped = False

    def add(self, stream: Stream) -> None:
        """Add a stream."""
        with self._lock:
            workers = self._streams.setdefault(stream.group, {})
            workers.setdefault(stream.worker, []).append(stream)
            self._opened.append(stream)
            self._count += 1
        if self._is_stopped:
            stream.end()
        self.on_change()

    def remove(self, stream: Stream, *, is_clean: bool) -> None:
        """Remove a stream."""
        with self._lock:
            workers = self._streams[stream.group]
            workers[stream.worker].remove(stream)
            if not workers[stream.worker]:
                del workers[stream.worker]
            if not workers:
                del self._streams[stream.group]
            self._closed.append(Closed(stream, is_clean))
            self._count -= 1
        self.on_change()

    def changes(self) -> tuple[list[Stream], list[Closed]]:
        """Return, once, the streams opened and closed since the last call."""
        with self._lock:
            opened, self._opened = self._opened, []
            closed, self._closed = self._closed, []
        return opened, closed

    def streams(self) -> list[Stream]:
        """Return all streams."""
        with self._lock:
            return [
                stream
                for workers in self._streams.values()
                for streams in workers.values()
                for stream in streams
            ]

    def groups(self) -> list[str]:
        """Return the groups that have streams here."""
        with self._lock:
            return list(self._streams)

    def know_remote(self, newest: Mapping[tuple[str, str], int]) -> None:
        """Learn which streams other processes hold: group and id, and when they were opened."""
        self._remote = newest

    def is_elsewhere(self, address: PollAddress) -> bool:
        """Whether another process, and not this one, holds the stream an address prefers."""
        return bool(address.id) and (
            (address.group, address.id) in self._remote
            and self.find(address.group, address.id) is None
        )

    def find(self, group: str, worker: str) -> Stream | None:
        """Return the stream of a worker, when the newest of them is here."""
        with self._lock:
            streams = self._streams.get(group, {}).get(worker)
            stream = streams[-1] if streams else None
        if stream is None or self._remote.get((group, worker), 0) > stream.opened_at:
            return None
        return stream

    def choose(self, address: PollAddress, *, avoid: str = "") -> Stream | None:
        """Return the stream that a message goes to: one with room, or for ``uni`` that very one.

        ``avoid`` is the id of a stream that is taken only when there is no other.
        """
        preferred = self.find(address.group, address.id) if address.id else None
        if address.cast == "uni" or (preferred is not None and preferred.room > 0):
            return preferred
        free = [one for one in self._current(address.group) if one.room > 0]
        others = [one for one in free if one.id != avoid]
        return random.choice(others or free) if free else None  # noqa: S311 - no secret

    def room(self, groups: Collection[str]) -> int:
        """How many events the streams of some groups take."""
        return sum(max(one.room, 0) for group in groups for one in self._current(group))

    def _current(self, group: str) -> list[Stream]:
        with self._lock:
            return [streams[-1] for streams in self._streams.get(group, {}).values()]


def _nothing() -> None:
    """Stand in until a dispatcher listens."""


hub = Hub()
"""The streams of this process."""
