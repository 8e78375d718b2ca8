"""Tasks for functions that this process does not know: left to the others of their group.

A worker claims what it can run. Others of the group, also those behind event streams, take the
rest. Only what nobody in the group seems to know is claimed, one at a time, to be shown as stuck.
"""

import time
from collections.abc import Collection
from typing import NamedTuple

from durable import clock, conf
from durable.delivery.presence import GONE_MS
from durable.models import Stream, Task, Worker
from durable.protocol.claims import Wanted
from durable.protocol.states import TaskState
from durable.workflow.registry import Registry

PATIENCE_MS = 3_000
"""How long a task may wait for somebody who knows its function."""
_LOOK_SECONDS = 3.0


def names_of(registry: Registry) -> frozenset[str]:
    """Return the names of the functions that are registered."""
    return frozenset(function.name for function in registry)


def find_streamed(groups: Collection[str]) -> set[str]:
    """Return the groups that have event streams, in any process."""
    alive = Stream.objects.using(conf.database_alias()).filter(
        gateway__seen_at__gte=clock.now_ms() - GONE_MS
    )
    return set(alive.filter(queue__in=groups).values_list("queue", flat=True))


def is_work_left(groups: Collection[str]) -> bool:
    """Whether a task of the groups has been left lying for longer than ``PATIENCE_MS``."""
    left = Task.objects.using(conf.database_alias()).filter(
        state=TaskState.PENDING,
        queue__in=groups,
        not_before__lte=clock.now_ms() - PATIENCE_MS,
    )
    return left.exists()


class Found(NamedTuple):
    """Groups where nobody else may know, and what to claim there."""

    groups: list[str]
    wanted: Wanted


class Strays:
    """Looks now and then."""

    def __init__(self) -> None:
        """Look first after a while: others may just be starting, too."""
        self._looks_at = time.monotonic() + _LOOK_SECONDS

    def look(self, groups: Collection[str], names: Collection[str]) -> Found | None:
        """Return where a worker of these groups, knowing these names, can claim strays."""
        if time.monotonic() < self._looks_at:
            return None
        self._looks_at = time.monotonic() + _LOOK_SECONDS
        if not is_work_left(groups):
            return None
        streamed = find_streamed(groups)
        alone = [group for group in groups if group not in streamed]
        if not alone:
            return None
        alias, now = conf.database_alias(), clock.now_ms()
        others = Worker.objects.using(alias).filter(seen_at__gte=now - conf.lease_ms())
        known = set(names)
        for served, functions in others.values_list("groups", "functions"):
            if not set(alone).isdisjoint(served):
                known.update(functions)
        return Found(alone, Wanted(known, is_listed=False, overdue_ms=PATIENCE_MS))
