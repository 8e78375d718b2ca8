"""Calls of versions that this process does not know: handed on to the others of their group.

Claims go by names, since the tables know no versions. A call of another version is given back at
once, without a mark, and whenever it can be had again its name is left to the others for a moment.
Only what nobody took so, in a group without event streams, runs into its error, to show as stuck.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from durable import clock, conf
from durable.models import Task
from durable.protocol import tags
from durable.protocol.addresses import group_of
from durable.protocol.claims import Claim
from durable.protocol.states import TaskState
from durable.worker.strays import PATIENCE_MS, find_streamed, names_of
from durable.workflow.codec import decode_invocation
from durable.workflow.errors import DecodingError
from durable.workflow.registry import Registry

HAND_OVER_MS = 500
"""How long the others come first when a task that was handed on can be had again."""
_REMEMBERED = 1000
_MS = 1000


class HandedOn(NamedTuple):
    """A task that was given back: its function, its version then, and the first time."""

    name: str
    version: int
    since: float


class ForeignVersions:
    """What a worker handed on; for its claiming thread, but for ``is_holding``."""

    def __init__(
        self, registry: Registry, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """``registry`` has the versions that are known."""
        self._registry = registry
        self._monotonic = monotonic
        self._handed_on: OrderedDict[str, HandedOn] = OrderedDict()
        self._streamed: set[str] = set()
        self.is_holding = False
        """Whether some names were left to the others at the last look."""

    def names_to_claim(self, groups: Sequence[str]) -> frozenset[str]:
        """Return the names to claim now: all that are known but those left to the others."""
        names = names_of(self._registry)
        held: set[str] = set()
        if self._handed_on:
            self._streamed = find_streamed(groups)
            held = self._names_held()
        self.is_holding = bool(held)
        return names - held

    def _names_held(self) -> set[str]:
        """Return the functions of tasks that have just become free; forget those taken since."""
        now = clock.now_ms()
        waiting = Task.objects.using(conf.database_alias()).filter(
            promise_id__in=self._handed_on, state=TaskState.PENDING
        )
        found = {
            task_id: (version, not_before)
            for task_id, version, not_before in waiting.values_list(
                "promise_id", "version", "not_before"
            )
        }
        held = set()
        for task_id, handed_on in list(self._handed_on.items()):
            version, not_before = found.get(task_id, (0, 0))
            if version != handed_on.version:
                del self._handed_on[task_id]
            elif now - HAND_OVER_MS < not_before <= now:
                held.add(handed_on.name)
        return held

    def split(self, claims: Iterable[Claim]) -> tuple[list[Claim], list[Claim]]:
        """Return what to run, and what to give back."""
        mine: list[Claim] = []
        others: list[Claim] = []
        for claim in claims:
            (others if self._is_handed_on(claim) else mine).append(claim)
        return mine, others

    def _is_handed_on(self, claim: Claim) -> bool:
        name = self._find_foreign(claim)
        if name is None:
            return False
        task, now = claim.task, self._monotonic()
        before = self._handed_on.get(task.id)
        is_same = before is not None and before.version == task.version - 1
        since = before.since if before is not None and is_same else now
        self._handed_on[task.id] = HandedOn(name, task.version, since)
        self._handed_on.move_to_end(task.id)
        while len(self._handed_on) > _REMEMBERED:
            self._handed_on.popitem(last=False)
        is_awaited = group_of(claim.promise.tags[tags.TARGET]) in self._streamed
        return is_awaited or now - since < PATIENCE_MS / _MS

    def _find_foreign(self, claim: Claim) -> str | None:
        """Return the name of the function called, when it is known in other versions only."""
        try:
            call = decode_invocation(claim.promise.param, "a param")
        except DecodingError:
            return None
        if self._registry.find(call.name, call.version) is not None:
            return None
        return call.name if self._registry.find(call.name) is not None else None
