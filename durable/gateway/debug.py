"""The debug surface (protocol.md 1.6): requests at times of their own, ticks, resets, snapshots.

For conformance suites. It has a store of its own, whose clock it sets, and does one thing at a
time, so that each request is answered at exactly the time it names.
"""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
from msgspec import Raw, json

from durable import pausing
from durable.gateway.auth import Refused
from durable.machine import internal
from durable.machine.internal import InternalStep
from durable.machine.memory import MemoryStore
from durable.machine.state import Config, Execute, Message, ServerState
from durable.protocol import messages
from durable.protocol.requests import Reply, Request
from durable.protocol.searches import Search
from durable.protocol.states import PromiseState, TaskState
from durable.protocol.validation import MAX_INSTANT
from durable.store.database import DatabaseStore
from durable.store.reset import delete_everything
from durable.store.search import AnyPage, search
from durable.store.snapshot import read_snapshot

PREFIX = "debug."
DISABLED = "Debug operations are disabled"
TIME_FIELD = "resonate:debug_time"

_BATCH = 200
_RETRY_TYPE = 0
_LEASE_TYPE = 1
_PATIENCE = 100
_DRAINS = internal.ListenerDrain | internal.CallbackDrain


class DebugSurface:
    """Blocks; safe to use from any thread."""

    def __init__(self, alias: str, config: Config, *, clock: Callable[[], int]) -> None:
        """``clock`` (epoch ms) is the real one, for as long as nothing else was said."""
        self._store = DatabaseStore(alias, config, clock=lambda: self._now)
        self._real_clock = clock
        self._now = 0
        self._lock = threading.Lock()
        self.is_started = False

    def close(self) -> None:
        """End the threads of the store, and let the loops go on."""
        self._store.close()
        pausing.resume()

    def run(self, request: Request, *, at: int | None) -> Reply:
        """Answer a request at a time (epoch ms); None: the time that stands."""
        with self._lock:
            self._set(at)
            [reply] = self._store.submit(request, preload=True).result()
            return reply

    def search(self, request: Search, *, prefix: str, at: int | None) -> AnyPage:
        """Answer a search at a time."""
        with self._lock:
            self._set(at)
            return search(self._store, request, prefix=prefix)

    def _set(self, at: int | None) -> None:
        if at is not None:
            self._now = at
        self._store.rewind()

    def answer(self, kind: str, data: Raw, *, at: int | None) -> Any:
        """Carry out ``debug.*`` and return its data; raises ``Refused``."""
        match kind:
            case "debug.start":
                return self._start()
            case "debug.stop":
                return self._stop()
            case "debug.reset":
                return self._reset()
            case "debug.tick":
                return self._tick(_time_of(data, at))
            case "debug.snap":
                return self._snap()
            case _:
                raise Refused(400, f"Unknown operation: {kind[:100]}")

    def _start(self) -> dict[str, Any]:
        with self._lock:
            pausing.pause()
            if not self.is_started:
                self._now = self._real_clock()
            self.is_started = True
        return {}

    def _stop(self) -> dict[str, Any]:
        with self._lock:
            self.is_started = False
            pausing.resume()
        return {}

    def _reset(self) -> dict[str, Any]:
        with self._lock:
            delete_everything(self._store.connection)
            self._set(None)
        return {}

    def _tick(self, at: int) -> list[dict[str, Any]]:
        """Fire everything that is due until nothing is; ends because retries move on."""
        with self._lock:
            self._set(at)
            actions: list[dict[str, Any]] = []
            for _ in range(_PATIENCE):
                memory = self._read()
                due = [step for step in memory.due(at) if _is_effective(memory, step, at)]
                if not due:
                    return actions
                chosen = _first_of_a_kind(due)[:_BATCH]
                self._store.fire(*chosen)
                actions += _told(memory, chosen, at)
            raise Refused(500, "The store is busy: not everything that is due could be done")

    def _read(self) -> MemoryStore:
        memory = MemoryStore(self._store.config)
        memory.state = read_snapshot(self._store.connection, self._store.config)
        return memory

    def _snap(self) -> dict[str, Any]:
        with self._lock:
            return describe(self._read().state)


class _Tick(msgspec.Struct):
    time: int


_tick = json.Decoder(_Tick)


def _time_of(data: Raw, at: int | None) -> int:
    try:
        time = _tick.decode(data).time
    except msgspec.MsgspecError:
        time = -1
    if not 0 <= time <= MAX_INSTANT:
        raise Refused(400, "Missing or invalid 'time' field")
    if at is not None and at != time:
        raise Refused(400, f"{TIME_FIELD} must equal data.time")
    return time


def read_time(given: object) -> int | None:
    """Return the time that a request names in its head; raises ``Refused``."""
    if given is None:
        return None
    if isinstance(given, bool) or not isinstance(given, int) or not 0 <= given <= MAX_INSTANT:
        raise Refused(400, f"{TIME_FIELD} must be an integer between 0 and {MAX_INSTANT}")
    return given


def _is_effective(memory: MemoryStore, step: InternalStep, now: int) -> bool:
    """Whether a step is really due: the state says so only in part."""
    if not isinstance(step, internal.LeaseExpiry | internal.RetryDispatch):
        return True
    promise = memory.promise(step.id)
    return promise is not None and promise.is_alive(now)


def _first_of_a_kind(due: list[InternalStep]) -> list[InternalStep]:
    """Return the steps to fire next: in the order of protocol.md 1.6, each kind to its end."""
    for kinds in (
        internal.PromiseTimeout,
        _DRAINS,
        internal.LeaseExpiry,
        internal.ScheduleFire,
    ):
        found: list[InternalStep] = [step for step in due if isinstance(step, kinds)]
        if found:
            return found
    return due


def _told(memory: MemoryStore, steps: list[InternalStep], now: int) -> Iterator[dict[str, Any]]:
    """Yield what steps did, and the drains that the store fires with them."""
    for step in steps:
        yield from _fire(memory, step, now)
    while drains := [step for step in memory.due(now) if isinstance(step, _DRAINS)]:
        for step in drains:
            yield from _fire(memory, step, now)


def _fire(memory: MemoryStore, step: InternalStep, now: int) -> Iterator[dict[str, Any]]:
    """Yield what a step did, as the protocol tells of it."""
    touched = step.awaiter if isinstance(step, internal.CallbackDrain) else None
    if isinstance(step, internal.PromiseTimeout):
        touched = step.id
    before = None if touched is None else memory.promise(touched)
    memory.fire(step, now=now)
    match step:
        case internal.LeaseExpiry() | internal.RetryDispatch():
            task = memory.state.tasks[step.id]
            is_lease = isinstance(step, internal.LeaseExpiry)
            kind = "task.release" if is_lease else "task.retry"
            yield {"kind": kind, "data": {"id": task.id, "version": task.version}}
        case _ if touched is not None:
            after = memory.promise(touched)
            if before is not None and after is not None and before.state is not after.state:
                yield {"kind": "promise.settle", "data": {"id": touched, "state": after.state}}


def describe(state: ServerState) -> dict[str, Any]:
    """Return a state as ``debug.snap`` shows it: as stored, every list in order."""
    promises = [state.promises[key] for key in sorted(state.promises)]
    tasks = [state.tasks[key] for key in sorted(state.tasks)]
    profile = state.config.profile
    # at time 0 nothing is projected: this is what is stored
    return {
        "promises": [promise.record(0) for promise in promises],
        "promiseTimeouts": [
            {"id": promise.id, "timeout": promise.timeout_at}
            for promise in promises
            if promise.state is PromiseState.PENDING and promise.is_external(profile)
        ],
        "callbacks": [
            {"awaiter": awaiter, "awaited": promise.id}
            for awaiter, promise in sorted(
                ((awaiter, promise) for promise in promises for awaiter in promise.callbacks),
                key=lambda pair: (pair[0], pair[1].id),
            )
        ],
        "listeners": [
            {"id": promise.id, "address": address}
            for promise in promises
            for address in sorted(promise.listeners)
        ],
        "tasks": [task.record(None, 0) for task in tasks],
        "taskTimeouts": [
            {"id": task.id, "type": kind, "timeout": timeout}
            for task in tasks
            for kind, timeout, held in (
                (_RETRY_TYPE, task.retry_at, TaskState.PENDING),
                (_LEASE_TYPE, task.expires_at, TaskState.ACQUIRED),
            )
            if task.state is held
        ],
        "messages": [
            {"address": message.address, "message": _wire(message)}
            for _, message in sorted(
                state.outbox.items(), key=lambda item: (item[0][0], len(item[0]), item[1].address)
            )
        ],
    }


def _wire(message: Message) -> dict[str, Any]:
    if isinstance(message, Execute):
        return messages.execute(message.task_id, message.version)
    return messages.unblock(message.promise)
