"""One look at what is due, and the firing of it, in bounded batches."""

import logging
import time
from collections.abc import Sequence

from django.db import Error

from durable import conf
from durable.exceptions import DurableError
from durable.machine.internal import InternalStep, LeaseExpiry
from durable.store.base import CommitUnknownError, ConnectionLostError, StoreConflictError
from durable.store.committer import is_transient
from durable.store.database import DatabaseStore
from durable.store.due import find_due

_MS = 1000
_BATCH = 200
_LONGEST_PAUSE = 1.5
_SHORTEST_PAUSE = 0.005
_LOCK_PATIENCE = 0.5

_logger = logging.getLogger(__name__)


class Sweeper:
    """Fires due steps, beside any number of others in any number of processes.

    Each step re-checks that it is due under its locks, and what another transaction holds is left
    for the next look.
    """

    def __init__(self, store: DatabaseStore) -> None:
        """``store`` is the process's own."""
        self._store = store
        self._leases_rest_until = 0.0

    def sweep(self) -> float:
        """Fire what is due; return how long (seconds) until the next look is needed."""
        due = find_due(self._store, limit=_BATCH, groups=False)
        leases = [step for step in due.steps if isinstance(step, LeaseExpiry)]
        others = [step for step in due.steps if not isinstance(step, LeaseExpiry)]
        # leases first: if the others had to wait, nobody could tell that these did too
        fired = self._expire(leases) + (self._fire(others) or 0)
        if fired:
            return 0.0  # firing may have made more due
        if due.steps:  # all held by others
            return _SHORTEST_PAUSE * 10
        if due.next_at is None:
            return _LONGEST_PAUSE
        seconds = (due.next_at - due.now) / _MS
        return min(max(seconds, _SHORTEST_PAUSE), _LONGEST_PAUSE)

    def _fire(self, steps: Sequence[InternalStep], *, patience: float | None = None) -> int | None:
        """Fire steps together, or one by one when one of them fails; None after a long wait."""
        if not steps:
            return 0
        try:
            return self._store.fire(*steps, patience=patience)
        except (ConnectionLostError, CommitUnknownError):
            raise
        except (Error, DurableError) as error:
            is_conflict = isinstance(error, StoreConflictError)
            if is_transient(error) and not is_conflict:  # the database was busy: look again
                return None
            if len(steps) == 1:
                if not is_conflict:
                    extra = {"action": "fire", "step": repr(steps[0])}
                    _logger.exception("cannot fire", extra=extra)
                return 0
        return sum(self._fire([step], patience=patience) or 0 for step in steps)

    def _expire(self, leases: Sequence[InternalStep]) -> int:
        """Expire leases, unless this process was itself kept from writing.

        Whoever had to wait for the database cannot tell a dead worker from one that waited too: the
        workers get the time of a heartbeat first.
        """
        if not leases or time.monotonic() < self._leases_rest_until:
            return 0
        fired = self._fire(leases, patience=_LOCK_PATIENCE)
        if fired is None:
            self._leases_rest_until = time.monotonic() + 2 * conf.heartbeat_ms() / _MS
            return 0
        return fired
