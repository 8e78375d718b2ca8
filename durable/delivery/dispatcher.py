"""The thread that hands messages over: woken by what becomes ready, and looking now and then.

Tasks of groups with streams here are offered straight from their table, messages of the outbox go
to their streams or to the pusher. What nobody here can take is left for other processes.
"""

import logging
import queue
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection
from functools import cache

from django.db import connections

from durable import conf
from durable.delivery.presence import Presence
from durable.delivery.pushing import Pusher, encode
from durable.delivery.streams import SETTLING_SECONDS, Closed, Event, Hub, Stream, hub, spellings
from durable.machine.state import Execute
from durable.notify import EVERYTHING, get_notifier
from durable.notify.base import DUE, OUTBOX, STREAMS, Topics, queue_of
from durable.observability import metrics
from durable.pausing import is_paused
from durable.protocol import messages
from durable.protocol.addresses import PollAddress, parse_poll
from durable.store import get_store, outbox
from durable.store.database import DatabaseStore
from durable.store.outbox import Offer, Queued

BATCH = 200
LOOK_SECONDS = 2.0
LEASE_MS = 30_000
"""A message that a process claimed is tried by others when it was not heard of for so long."""
ELSEWHERE_SECONDS = 1.0
"""How long a task is left to the process whose stream its address prefers."""
_FORGET_SECONDS = 60.0
_REMEMBERED = 10_000
_PAUSE_AFTER_ERROR = 1.0

_logger = logging.getLogger(__name__)


class Dispatcher:
    """Start and stop from any thread; one per process."""

    def __init__(self, store: DatabaseStore, streams: Hub) -> None:
        """``streams`` are those that this process holds."""
        self._store = store
        self._hub = streams
        self._presence = Presence(store.alias)
        self._done: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._pusher = Pusher(
            on_success=lambda one: self._later(lambda: self._succeed(one)),
            on_failure=lambda one, pause: self._later(lambda: self._fail(one, pause)),
        )
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._opened: list[Stream] = []
        self._closed: list[Closed] = []
        """What came and went, kept until a pass has dealt with it to its end."""
        self._given: OrderedDict[str, str] = OrderedDict()
        self._left_since: dict[str, float] = {}
        self._looks_at = 0.0
        self._reads_others_at = 0.0
        self._forgets_at = 0.0

    # -- from any thread -----------------------------------------------------------------------

    def start(self) -> None:
        """Start, unless it runs."""
        with self._lock:
            if self._thread is None:
                self._stopping.clear()
                self._thread = threading.Thread(
                    target=self._run, name="durable-dispatcher", daemon=True
                )
                self._thread.start()

    def stop(self) -> None:
        """End after what is under way; messages that were not handed over stay."""
        with self._lock:
            thread, self._thread = self._thread, None
        if thread is not None:
            self._stopping.set()
            self._wake.set()
            thread.join()
        self._pusher.stop()

    def _hear(self, topics: Topics) -> None:
        if topics & {STREAMS, EVERYTHING}:
            self._reads_others_at = 0.0
        if topics & {OUTBOX, EVERYTHING}:
            self._looks_at = 0.0
        elif not topics & {DUE, STREAMS}:
            groups = self._hub.groups()
            if not any(queue_of(topic) in groups for topic in topics):
                return
        self._wake.set()

    def _hear_streams(self) -> None:
        """Look again: a stream came, went, or has room again."""
        self._looks_at = 0.0
        self._wake.set()

    def _later(self, call: Callable[[], None]) -> None:
        self._done.put(call)
        self._wake.set()

    # -- the dispatcher's thread ---------------------------------------------------------------

    def _run(self) -> None:
        unsubscribe = get_notifier(self._store.alias).subscribe(self._hear)
        self._hub.on_change = self._hear_streams
        try:
            while not self._stopping.is_set():
                self._wake.clear()
                self._wake.wait(self._pass_safely())
        finally:
            unsubscribe()
            self._leave()

    def _leave(self) -> None:
        try:
            opened, closed = self._hub.changes()
            self._settle(self._opened + opened, self._closed + closed)
            self._presence.leave()
        except Exception:
            _logger.warning("could not sign off", extra={"action": "leave"}, exc_info=True)
        finally:
            connections[self._store.alias].close()

    def _pass_safely(self) -> float:
        try:
            return self.run_once()
        except Exception:  # the database may be away; it comes back
            _logger.exception("dispatch failed", extra={"action": "dispatch"})
            connections[self._store.alias].close()
            self._looks_at = 0.0
            return _PAUSE_AFTER_ERROR

    def run_once(self) -> float:
        """Hand over what can be; return how long (seconds) until the next look is needed."""
        if self._presence.beat():
            self._presence.restore(self._hub.streams())
            self._reads_others_at = 0.0
        opened, closed = self._hub.changes()
        self._opened += opened
        self._closed += closed
        more = False
        if not is_paused():
            if self._opened:
                self._welcome(self._opened)
            more = self._offer()
            if self._opened or time.monotonic() >= self._looks_at:
                self._looks_at = time.monotonic() + LOOK_SECONDS
                more = self._deliver() or more
        self._settle(self._opened, self._closed)
        self._opened, self._closed = [], []
        self._finish_pushes()
        self._keep_house()
        if more:
            return 0.0
        return self._pause()

    def _pause(self) -> float:
        groups = self._hub.groups()
        if is_paused() or not groups:
            return LOOK_SECONDS
        soon = outbox.seconds_to_next_offer(self._store, groups)
        least = (
            SETTLING_SECONDS if any(one.in_flight for one in self._hub.streams()) else LOOK_SECONDS
        )
        return least if soon is None else max(min(soon, least), 0.001)

    # -- tasks ---------------------------------------------------------------------------------

    def _welcome(self, opened: Collection[Stream]) -> None:
        """Offer to workers that have just come what was offered and not taken."""
        groups = {stream.group for stream in opened}
        limit = min(self._hub.room(groups), BATCH)
        for offer in outbox.find_offered(self._store, groups, limit=limit) if limit else ():
            if not self._is_held(offer):
                stream = self._hub.choose(_address(offer.target, offer.group))
                if stream is not None:
                    self._give(offer, stream)

    def _is_held(self, offer: Offer) -> bool:
        """Whether somebody who is still here was asked to take the task a moment ago."""
        given = self._given.get(offer.task_id)
        address = _address(offer.target, offer.group)
        return self._hub.is_elsewhere(address) or any(
            one.id == given for one in self._hub.streams()
        )

    def _offer(self) -> bool:
        """Offer what is due to streams with room; return whether there may be more."""
        groups = self._hub.groups()
        limit = min(self._hub.room(groups), BATCH) if groups else 0
        if limit == 0:
            return False
        offers = outbox.find_offers(self._store, groups, limit=limit)
        mine = {one.task_id: one for one in offers if not self._is_left(one)}
        taken = outbox.take_offers(self._store, mine.values())
        for task_id in taken:
            offer = mine[task_id]
            address = _address(offer.target, offer.group)
            stream = self._hub.choose(address, avoid=self._given.get(task_id, ""))
            if stream is not None:
                self._give(offer, stream)
        return len(offers) == limit and bool(taken)

    def _is_left(self, offer: Offer) -> bool:
        """Whether to leave a task to the process that its address prefers, for a while."""
        if not self._hub.is_elsewhere(_address(offer.target, offer.group)):
            self._left_since.pop(offer.task_id, None)
            return False
        since = self._left_since.setdefault(offer.task_id, time.monotonic())
        if time.monotonic() - since < ELSEWHERE_SECONDS:
            return True
        del self._left_since[offer.task_id]
        return False

    def _give(self, offer: Offer, stream: Stream) -> None:
        message = messages.execute(offer.task_id, offer.version, conf.server_url())
        metrics.count_message(messages.EXECUTE)
        if not stream.put(Event(messages.sse_event(messages.encode(message)))):
            metrics.count_delivery("dropped")
            return
        metrics.count_delivery("success")
        self._given[offer.task_id] = stream.id
        self._given.move_to_end(offer.task_id)
        while len(self._given) > _REMEMBERED:
            self._given.popitem(last=False)

    # -- the outbox ----------------------------------------------------------------------------

    def _deliver(self) -> bool:
        """Hand over messages of the outbox; return whether there may be more."""
        groups = self._hub.groups()
        more = False
        if groups and outbox.has_poll_messages(self._store):  # before a look for each stream
            more = self._deliver_to_streams()
            written = {form for group in groups for form in spellings(group)}
            for queued in outbox.claim_for_groups(
                self._store, written, limit=BATCH, lease_ms=LEASE_MS
            ):
                self._deliver_to_group(queued)
        room = min(self._pusher.room, BATCH)
        pushes = outbox.claim_pushes(self._store, limit=room, lease_ms=LEASE_MS) if room > 0 else []
        for queued in pushes:
            metrics.count_message(_kind(queued))
            self._pusher.submit(queued)
        return more or (bool(pushes) and len(pushes) == room)

    def _deliver_to_streams(self) -> bool:
        addresses: dict[str, Stream] = {}
        in_flight: set[int] = set()
        for stream in self._hub.streams():
            in_flight |= stream.in_flight
            if self._hub.find(stream.group, stream.worker) is stream:
                addresses.update(dict.fromkeys(stream.addresses, stream))
        found = outbox.find_for_streams(self._store, addresses, limit=BATCH + len(in_flight))
        fresh = [one for one in found if one.id not in in_flight]
        given = [self._put(one, addresses[one.message.address]) for one in fresh]
        return len(found) == BATCH + len(in_flight) and any(given)

    def _deliver_to_group(self, queued: Queued) -> None:
        address = parse_poll(queued.message.address)
        stream = self._hub.choose(address) if address is not None else None
        if stream is None or not self._put(queued, stream):
            outbox.postpone(self._store, queued.id, 0 if stream else LEASE_MS)

    def _put(self, queued: Queued, stream: Stream) -> bool:
        event = Event(messages.sse_event(encode(queued)), queued.id)
        if not stream.put(event):
            return False
        stream.in_flight.add(queued.id)
        metrics.count_message(_kind(queued))
        return True

    def _settle(self, opened: Collection[Stream], closed: Collection[Closed]) -> None:
        """Delete what was handed over: its stream is still open, or has ended cleanly."""
        before = time.monotonic() - SETTLING_SECONDS
        if opened:
            self._presence.record(opened, [])
        done: list[tuple[int, str]] = []
        for stream in self._hub.streams():
            done += self._settled(stream, before)
        for stream, is_clean in closed:
            if is_clean:
                done += self._settled(stream, time.monotonic())
            if stream.in_flight:
                self._looks_at = 0.0  # it comes again, perhaps to another stream
                self._wake.set()
        outbox.finish_held(self._store, done)
        for _ in done:
            metrics.count_delivery("success")
        if closed:
            self._presence.record([], [one.stream for one in closed])

    def _settled(self, stream: Stream, before: float) -> list[tuple[int, str]]:
        ids = stream.settled(before)
        stream.in_flight.difference_update(ids)
        return [(one, stream.id) for one in ids]

    def _finish_pushes(self) -> None:
        while True:
            try:
                self._done.get_nowait()()
            except queue.Empty:
                return

    def _succeed(self, queued: Queued) -> None:
        metrics.count_delivery("success")
        outbox.finish(self._store, [queued])

    def _fail(self, queued: Queued, pause_ms: int) -> None:
        metrics.count_delivery("error")
        outbox.postpone(self._store, queued.id, pause_ms)

    # -- now and then --------------------------------------------------------------------------

    def _keep_house(self) -> None:
        now = time.monotonic()
        for stream in self._hub.streams():
            if stream.is_slow(now):
                _logger.warning("a worker does not read", extra={"action": "slow"})
                metrics.count_delivery("dropped")
                stream.abort()
        if len(self._hub) and now >= self._reads_others_at:
            self._reads_others_at = now + LOOK_SECONDS
            self._hub.know_remote(self._presence.read_others())
        if now >= self._forgets_at:
            self._forgets_at = now + _FORGET_SECONDS
            while outbox.forget(self._store, keep_ms=conf.unblock_keep_ms(), limit=BATCH) == BATCH:
                pass
            self._left_since.clear()


def _kind(queued: Queued) -> str:
    return messages.EXECUTE if isinstance(queued.message, Execute) else messages.UNBLOCK


def _address(target: str, group: str) -> PollAddress:
    """Return the address that a target means; a bare name is a group."""
    return parse_poll(target) or PollAddress("any", group, "")


def get_dispatcher() -> Dispatcher:
    """Return the dispatcher of this process's store and streams."""
    return _get_dispatcher(get_store())


@cache
def _get_dispatcher(store: DatabaseStore) -> Dispatcher:
    return Dispatcher(store, hub)
