"""The event stream of the pages: it says what changed, and the pages fetch what they may see.

One hub a process listens for wake-ups and, while somebody watches executions, compares a cheap
version of each once a second, whoever changed it. Streams only wait; none holds a thread.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Collection, Hashable, Iterable, Mapping
from contextlib import suppress
from typing import Any, cast, override

from asgiref.sync import sync_to_async
from channels.exceptions import StopConsumer
from channels.generic.http import AsyncHttpConsumer
from django.contrib.auth.models import AbstractUser
from django.db import DatabaseError, close_old_connections, connections
from django.http import QueryDict

from dashboard.permissions import VIEW_EXECUTIONS
from dashboard.versions import read_versions
from durable.clock import now_ms
from durable.conf import database_alias
from durable.notify import EVERYTHING, LATENT, SETTLED, get_notifier
from durable.notify.base import Topics

INBOX = "inbox"
EXECUTIONS = "executions"
EXECUTION = "execution"

DEBOUNCE_S = 0.25
QUIET_S = 1.0
"""Least time between two events of one name: no page has to follow every commit."""
KEEPALIVE_S = 15.0
ROTATION_S = 240.0
WATCH_S = 1.0
WATCH_SHARE = 20
"""A comparison that takes long is followed by a pause that many times as long."""
MAX_WATCHED = 20
"""Executions that one page may watch."""

logger = logging.getLogger(__name__)


class Subscription:
    """What one stream wants to hear of and has not said yet. ``mark`` is safe from any thread."""

    def __init__(self, names: Iterable[str], executions: Iterable[str] = ()) -> None:
        """``names`` are the events it may hear of."""
        self.names = frozenset(names)
        self.executions = frozenset(executions)
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()
        self._pending: set[str] = set()

    def mark(self, names: Collection[str]) -> None:
        """Note that something changed; nothing at all wakes the stream to look whether to end."""
        with suppress(RuntimeError):  # the loop has ended, and the stream with it
            self._loop.call_soon_threadsafe(self._mark, self.names.intersection(names))

    def _mark(self, names: Collection[str]) -> None:
        self._pending.update(names)
        self._changed.set()

    async def wait(self, seconds: float) -> bool:
        """Wait for a change or for the time to pass; whether there was one."""
        try:
            async with asyncio.timeout(max(seconds, 0)):
                await self._changed.wait()
        except TimeoutError:
            return False
        self._changed.clear()
        return True

    def take(self, names: Collection[str]) -> set[str]:
        """Return what changed of these names, once."""
        taken = self._pending.intersection(names)
        self._pending -= taken
        return taken

    @property
    def pending(self) -> frozenset[str]:
        """What changed and was not taken."""
        return frozenset(self._pending)


class Hub:
    """Tells the streams of this process what changed."""

    def __init__(self) -> None:
        """Begin with none; listening begins with the first."""
        self._lock = threading.Lock()
        self._begins_to_listen = threading.Lock()
        self._subscriptions: set[Subscription] = set()
        self._listens_since: int | None = None
        self._told_at: dict[str, int] = {}
        self._watcher: threading.Thread | None = None
        self._woken = threading.Event()
        self._stopped = threading.Event()

    @property
    def watcher(self) -> threading.Thread | None:
        """The thread that compares executions, while there are any to compare."""
        return self._watcher

    @property
    def is_stopped(self) -> bool:
        """Whether the process is going down, so that streams end and none begins."""
        return self._stopped.is_set()

    def stop(self) -> None:
        """End every stream at once, and refuse new ones. Safe in a signal handler."""
        # The handler may have interrupted whoever holds the locks that this needs.
        threading.Thread(target=self._stop, name="signoff-stop").start()

    def _stop(self) -> None:
        self._stopped.set()
        self._woken.set()
        for subscription in self._everybody():
            subscription.mark(())

    def resume(self) -> None:
        """Accept streams again; for tests and for servers that restart within the process."""
        self._stopped.clear()

    def join(self, subscription: Subscription, since: int) -> None:
        """Add a stream for a page made at ``since``, epoch ms. Blocks while it begins to listen."""
        with self._lock:
            self._subscriptions.add(subscription)
        # Not under the lock of the streams: the listener takes that while it begins.
        with self._begins_to_listen:
            if self._listens_since is None:
                # Never ended: hints to nobody cost nothing, and pages come and go.
                get_notifier(database_alias()).subscribe(self._hear)
                self._listens_since = now_ms()
        with self._lock:
            knows_all = since >= self._listens_since
            missed = [one for one, at in self._told_at.items() if at >= since]
            if subscription.executions and self._watcher is None:
                self._watcher = threading.Thread(
                    target=self._watch, name="signoff-watcher", daemon=True
                )
                self._watcher.start()
        if missed or not knows_all:
            subscription.mark(missed if knows_all else subscription.names)

    def leave(self, subscription: Subscription) -> None:
        """Remove a stream; the watcher ends by itself when nothing is left to watch."""
        with self._lock:
            self._subscriptions.discard(subscription)
        self._woken.set()

    def _everybody(self) -> tuple[Subscription, ...]:
        with self._lock:
            return tuple(self._subscriptions)

    def _hear(self, topics: Topics) -> None:
        names = {EXECUTIONS}
        if topics & {LATENT, EVERYTHING}:
            names.add(INBOX)
        if topics & {LATENT, SETTLED, EVERYTHING}:
            self._woken.set()
        self._tell(names)

    def _tell(self, names: Collection[str]) -> None:
        self._told_at |= dict.fromkeys(names, now_ms())
        for subscription in self._everybody():
            subscription.mark(names)

    # --- The watcher's own thread ---

    def _watch(self) -> None:
        known: dict[str, Hashable] = {}
        try:
            while (watched := self._watched()) is not None:
                began = time.monotonic()
                known = self._compare(watched, known)
                pause = (time.monotonic() - began) * WATCH_SHARE
                self._pause(max(pause, WATCH_S), least=max(pause, DEBOUNCE_S))
        finally:
            connections[database_alias()].close()

    def _watched(self) -> set[str] | None:
        """Return what to compare; None, for good, when there is nothing."""
        with self._lock:
            watched = {one for each in self._subscriptions for one in each.executions}
            if watched and not self.is_stopped:
                return watched
            self._watcher = None
            return None

    def _pause(self, seconds: float, *, least: float) -> None:
        """Pause until a wake-up, but not so short that wake-ups become a load."""
        self._woken.clear()
        if self._woken.wait(seconds):
            self._stopped.wait(least)

    def _compare(self, watched: set[str], known: Mapping[str, Hashable]) -> dict[str, Hashable]:
        try:
            close_old_connections()
            versions = read_versions(watched)
        except DatabaseError:
            logger.warning(
                "executions could not be watched", extra={"action": "watch"}, exc_info=True
            )
            connections[database_alias()].close()
            return dict(known)
        changed = {one for one in watched if one in known and known[one] != versions.get(one)}
        if changed:
            self._told_at[EXECUTION] = now_ms()
            for subscription in self._everybody():
                if subscription.executions & changed:
                    subscription.mark({EXECUTION})
        return {one: versions.get(one) for one in watched}


hub = Hub()


def stop_streams(**_kwargs: object) -> None:
    """End every event stream of this process at once; a receiver of ``signals.stopping``."""
    hub.stop()


class LiveConsumer(AsyncHttpConsumer):
    """``GET /live/?execution=<id>``: events ``inbox``, ``executions`` and ``execution``."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Begin without a stream."""
        super().__init__(*args, **kwargs)
        self._streaming: asyncio.Task[None] | None = None

    @override
    async def http_request(self, message: Any) -> None:
        """Answer in a task of its own: the base class would not hear of a disconnect meanwhile."""
        if not message.get("more_body") and self._streaming is None:
            self._streaming = asyncio.create_task(self.handle(b""))
            self._streaming.add_done_callback(self._log_failure)

    @override
    async def http_disconnect(self, message: Any) -> None:
        """End with the client."""
        if self._streaming is not None:
            self._streaming.cancel()
            with suppress(asyncio.CancelledError):
                await self._streaming
        raise StopConsumer

    @override
    async def handle(self, body: bytes) -> None:
        """Refuse, or stream."""
        user = cast("dict[str, Any]", self.scope)["user"]
        if self.scope["method"] != "GET":
            await self._refuse(405)
        elif hub.is_stopped:
            await self._refuse(503)
        elif not user.is_authenticated or not user.is_active:
            await self._refuse(403)
        else:
            await self._stream(await self._subscribe(user))

    async def _refuse(self, status: int) -> None:
        await self.send_response(status, b"", headers=[(b"content-type", b"text/plain")])

    def _since(self) -> int:
        """Return when the page was made; a page that does not say may have missed anything."""
        text = QueryDict(self.scope["query_string"]).get("since", "")
        return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else 0

    async def _subscribe(self, user: AbstractUser) -> Subscription:
        query = QueryDict(self.scope["query_string"])
        executions = [one for one in query.getlist("execution") if "\0" not in one][:MAX_WATCHED]
        if not await sync_to_async(user.has_perm)(VIEW_EXECUTIONS):
            return Subscription({INBOX})
        return Subscription({INBOX, EXECUTIONS, EXECUTION}, executions)

    async def _stream(self, subscription: Subscription) -> None:
        await self.send_headers(
            headers=[
                (b"content-type", b"text/event-stream"),
                (b"cache-control", b"no-store"),
                (b"x-accel-buffering", b"no"),
            ]
        )
        try:
            await self.send_body(b":\n\n", more_body=True)
            await sync_to_async(hub.join, thread_sensitive=False)(subscription, self._since())
            await self._follow(subscription)
            await self.send_body(b"")
        finally:
            hub.leave(subscription)

    async def _follow(self, subscription: Subscription) -> None:
        """Tell of changes until the process stops, the client leaves or the stream is old."""
        clock = asyncio.get_running_loop().time
        end = clock() + ROTATION_S
        spoke_at = clock()
        said_at = dict.fromkeys(subscription.names, 0.0)
        while clock() < end and not hub.is_stopped:
            due = [said_at[name] + QUIET_S for name in subscription.pending]
            wake_at = min([end, spoke_at + KEEPALIVE_S, *due])
            if await subscription.wait(wake_at - clock()):
                # Commits come in bursts: listen to the end of this one.
                await asyncio.sleep(DEBOUNCE_S)
            if hub.is_stopped:
                return
            now = clock()
            ready = [name for name, at in said_at.items() if now >= at + QUIET_S]
            if names := subscription.take(ready):
                await self._say(*sorted(names))
                said_at |= dict.fromkeys(names, now)
                spoke_at = now
            elif now >= spoke_at + KEEPALIVE_S:
                await self.send_body(b":\n\n", more_body=True)
                spoke_at = now

    async def _say(self, *names: str) -> None:
        events = "".join(f"event: {name}\ndata: {{}}\n\n" for name in names)
        await self.send_body(events.encode(), more_body=True)

    @staticmethod
    def _log_failure(streaming: asyncio.Task[None]) -> None:
        if not streaming.cancelled() and (error := streaming.exception()) is not None:
            logger.error("an event stream failed", exc_info=error, extra={"action": "stream"})
