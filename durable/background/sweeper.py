"""One look at what is due, and the firing of it, in bounded batches."""

import logging
import time
from collections.abc import Sequence

from django.db import DatabaseError

from durable import conf
from durable.machine.internal import InternalStep, LeaseExpiry
from durable.models import Worker
from durable.store.database import DatabaseStore
from durable.store.due import find_due

_MS = 1000
_BATCH = 200
_LONGEST_PAUSE = 1.0
_SHORTEST_PAUSE = 0.005
_LOCK_PATIENCE = 0.5
_GROUPS_SECONDS = 5.0

_logger = logging.getLogger(__name__)


class Sweeper:
    """Fires due steps.

    Any number may run, in any number of processes: each step re-checks under its locks that it is
    due, and what another transaction holds is left for the next look.
    """

    def __init__(self, store: DatabaseStore) -> None:
        """``store`` is the process's own."""
        self._store = store
        self._leases_rest_until = 0.0
        self._groups: list[str] = []
        self._groups_read_at = -_GROUPS_SECONDS

    def sweep(self) -> float:
        """Fire what is due; return how long (seconds) until the next look is needed."""
        due = find_due(self._store, limit=_BATCH, served=self._served_groups())
        leases = [step for step in due.steps if isinstance(step, LeaseExpiry)]
        others = [step for step in due.steps if not isinstance(step, LeaseExpiry)]
        fired = self._fire(others) + self._expire(leases)
        if fired:
            return 0.0  # firing may have made more due
        if due.steps:  # all held by others, or this host's clock is ahead of the database's
            return _SHORTEST_PAUSE * 10
        if due.next_at is None:
            return _LONGEST_PAUSE
        seconds = (due.next_at - self._store.clock_now()) / _MS
        return min(max(seconds, _SHORTEST_PAUSE), _LONGEST_PAUSE)

    def _fire(self, steps: Sequence[InternalStep]) -> int:
        if not steps:
            return 0
        try:
            return self._store.fire(*steps) or 0
        except DatabaseError:
            if len(steps) == 1:
                _logger.exception("cannot fire", extra={"action": "fire", "step": repr(steps[0])})
                return 0
        return sum(self._fire([step]) for step in steps)

    def _expire(self, leases: Sequence[InternalStep]) -> int:
        """Expire leases, unless this process was itself kept from writing.

        Whoever had to wait for the database cannot tell a dead worker from one that waited too: the
        workers get the time of a heartbeat first.
        """
        if not leases or time.monotonic() < self._leases_rest_until:
            return 0
        fired = self._store.fire(*leases, patience=_LOCK_PATIENCE)
        if fired is None:
            self._leases_rest_until = time.monotonic() + 2 * conf.heartbeat_ms() / _MS
            return 0
        return fired

    def _served_groups(self) -> list[str]:
        """Return the groups whose native workers were seen of late: they need no messages."""
        if time.monotonic() < self._groups_read_at + _GROUPS_SECONDS:
            return self._groups
        self._groups_read_at = time.monotonic()
        since = self._store.clock_now() - conf.lease_ms()
        seen = Worker.objects.using(self._store.alias).filter(seen_at__gte=since)
        groups = seen.values_list("groups", flat=True)
        self._groups = sorted({group for one in groups for group in one})
        return self._groups
