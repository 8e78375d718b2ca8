"""Whether a history of overlapping calls could have happened one call at a time.

A search over orders that respect who returned before whom, with drains of the machine in between;
histories must be short.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

from msgspec import json

from durable.machine.memory import MemoryStore
from durable.machine.state import ServerState
from durable.protocol.claims import Claim
from durable.protocol.requests import Reply, Request, TaskAcquire
from tests.store.support import drain_memory, drains, unordered


@dataclass(eq=False)
class Call:
    """One call as its thread saw it; the numbers order all calls and returns of a history."""

    name: str
    called: int
    returned: int
    replay: Callable[[MemoryStore], bool]
    """Does the same to the oracle, and says whether the oracle answers the same."""

    def __repr__(self) -> str:
        return f"[{self.called:3}..{self.returned:3}] {self.name}"


class Recorder:
    """Collects the calls of all threads."""

    def __init__(self, now: int) -> None:
        self.calls: list[Call] = []
        self._now = now
        self._count = 0
        self._lock = threading.Lock()

    def run(self, send: Callable[..., list[Reply]], program: Sequence[Request]) -> None:
        """Record a program."""
        called = self._tick()
        replies = send(*program)
        self._add(
            f"{list(program)} -> {replies}",
            called,
            lambda memory: memory.run(*program, now=self._now) == replies,
        )

    def claim(self, take: Callable[[], list[Claim]], pid: str, ttl: int) -> None:
        """Record a claim: as many acquisitions as it brought."""
        called = self._tick()
        taken = take()
        self._add(f"claim by {pid} -> {taken}", called, lambda m: self._acquire(m, taken, pid, ttl))

    def _acquire(self, memory: MemoryStore, taken: list[Claim], pid: str, ttl: int) -> bool:
        for one in taken:
            request = TaskAcquire(one.task.id, one.task.version - 1, pid, ttl)
            [reply] = memory.run(request, now=self._now)
            if (reply.task, reply.promise) != (one.task, one.promise):
                return False
        return True

    def _tick(self) -> int:
        with self._lock:
            self._count += 1
            return self._count

    def _add(self, name: str, called: int, replay: Callable[[MemoryStore], bool]) -> None:
        returned = self._tick()
        with self._lock:
            self.calls.append(Call(name, called, returned, replay))


def is_linearizable(
    before: ServerState, calls: Sequence[Call], after: ServerState, now: int
) -> bool:
    """Search for an order of the calls that leads from one state to the other."""
    final = _key(after)
    seen: set[tuple[frozenset[int], bytes]] = set()
    stack = [(frozenset(range(len(calls))), before)]
    while stack:
        left, state = stack.pop()
        key = (left, _key(state))
        if key in seen:
            continue
        seen.add(key)
        if not left and _key(_drained(state, now)) == final:
            return True
        stack += [(left, other) for other in _after_drains(state, now)]
        stack += _after_calls(left, state, calls)
    return False


def _after_calls(
    left: frozenset[int], state: ServerState, calls: Sequence[Call]
) -> Iterator[tuple[frozenset[int], ServerState]]:
    first_return = min((calls[one].returned for one in left), default=0)
    for one in left:
        if calls[one].called < first_return:
            memory = _memory(state)
            if calls[one].replay(memory):
                yield left - {one}, memory.state


def _after_drains(state: ServerState, now: int) -> Iterator[ServerState]:
    for step in drains(_memory(state).due(now)):
        memory = _memory(state)
        memory.fire(step, now=now)
        yield memory.state


def _drained(state: ServerState, now: int) -> ServerState:
    memory = _memory(state)
    drain_memory(memory, now)
    return memory.state


def _memory(state: ServerState) -> MemoryStore:
    memory = MemoryStore(state.config)
    memory.state = ServerState(
        state.config,
        copy(state.promises),
        copy(state.tasks),
        copy(state.schedules),
        copy(state.outbox),
    )
    return memory


def _key(state: ServerState) -> bytes:
    one = unordered(state)
    kinds: list[dict[Any, Any]] = [one.promises, one.tasks, one.schedules, one.outbox]
    return json.encode([sorted((str(k), v) for k, v in kind.items()) for kind in kinds])
