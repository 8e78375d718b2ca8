"""Whether what many clients saw at once can have happened one after the other.

A history is a list of calls with the instants at which each began and ended. It is linearizable
when some order of the calls, in which none comes before one that had ended when it began, makes the
machine give the same answers. Drains may happen at any time after the settlement, as in the store.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from msgspec.structs import replace

from durable.machine.internal import CallbackDrain, ListenerDrain
from durable.machine.memory import MemoryStore
from durable.machine.state import Config, ServerState
from durable.protocol.requests import Reply, Request
from tests.machine.checked import copied

NOW = 1_700_000_000_000
"""The machine's time: no deadline comes while a history lasts, so time shows in stamps only."""


class Call(NamedTuple):
    """One request of one client, and what it was told; the instants only have an order."""

    client: int
    began: float
    ended: float
    request: Request
    reply: Reply


def timeless(reply: Reply) -> Reply:
    """A reply without stamps, and without what only the store knows."""
    promise = reply.promise
    if promise is not None:
        settled_at = None if promise.settled_at is None else NOW
        promise = replace(promise, created_at=NOW, settled_at=settled_at)
    action = reply.action
    if action is not None:
        action = replace(action, reply=timeless(action.reply))
    return replace(reply, promise=promise, action=action, preload=(), applied=False)


def find_order(history: list[Call]) -> list[Call] | None:
    """Return an order in which the machine gives all the answers; None when there is none."""
    looking = _Search(history)
    found = looking.run(frozenset(range(len(history))), ServerState(Config()))
    return looking.order if found else None


class _Search:
    """Tries one call after another, and remembers where it has been."""

    def __init__(self, history: list[Call]) -> None:
        self.order: list[Call] = []
        self._history = history
        self._expected = [timeless(call.reply) for call in history]
        self._memory = MemoryStore(Config())
        self._seen: set[Any] = set()

    def run(self, left: frozenset[int], state: ServerState) -> bool:
        """Whether the calls that are left can follow one another from a state."""
        if not left:
            return True
        key = (left, _fingerprint(state))
        if key in self._seen:
            return False
        self._seen.add(key)
        if any(self._can_be_next(n, left, state) for n in self._first(left)):
            return True
        return any(self.run(left, drained) for drained in self._drained(state))

    def _first(self, left: frozenset[int]) -> list[int]:
        """Calls that had begun when the first of those left ended."""
        first_end = min(self._history[n].ended for n in left)
        return sorted(n for n in left if self._history[n].began <= first_end)

    def _can_be_next(self, n: int, left: frozenset[int], state: ServerState) -> bool:
        memory = self._memory
        memory.state = copied(state)
        [reply] = memory.run(self._history[n].request, now=NOW)
        if timeless(reply) != self._expected[n]:
            return False
        self.order.append(self._history[n])
        if self.run(left - {n}, memory.state):
            return True
        self.order.pop()
        return False

    def _drained(self, state: ServerState) -> Iterator[ServerState]:
        memory = self._memory
        memory.state = state
        for step in memory.due(NOW):
            if isinstance(step, CallbackDrain | ListenerDrain):
                memory.state = copied(state)
                memory.fire(step, now=NOW)
                yield memory.state


def _fingerprint(state: ServerState) -> Any:
    return (
        tuple(sorted((key, repr(one)) for key, one in state.promises.items())),
        tuple(sorted((key, repr(one)) for key, one in state.tasks.items())),
    )
