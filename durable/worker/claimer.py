"""The thread that claims for a worker: for its free slots, as soon as there is work."""

import logging
import threading
from collections.abc import Callable

from django.db import connections

from durable import conf
from durable.client.base import Claim

POLL_SECONDS = 2.0
_PAUSE_AFTER_ERROR = 1.0

_logger = logging.getLogger(__name__)

type Claimed = tuple[list[Claim], int]
"""What to run, and how many more were claimed and handed on to the others of the group."""


class Claimer:
    """Counts the free slots. Its own thread, so that an announcement is one step from the claim."""

    def __init__(
        self,
        slots: int,
        *,
        claim: Callable[[int], Claimed],
        deliver: Callable[[list[Claim]], None],
        rest_seconds: Callable[[], float],
    ) -> None:
        """Prepare; nothing is claimed before ``start``.

        slots: how many claims may be held at the same time.
        claim: claims at most so many; on the thread.
        deliver: takes what is to run; on the thread. Each claim holds a slot.
        rest_seconds: how long to rest at most while nothing is announced.
        """
        self._free = slots
        self._claim = claim
        self._deliver = deliver
        self._rest_seconds = rest_seconds
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="durable-claim", daemon=True)

    def start(self) -> None:
        """Claim from now on."""
        self._thread.start()

    def wake(self) -> None:
        """Look for work now; from any thread."""
        self._wake.set()

    def free(self) -> None:
        """Take back the slot of a claim that ended; from any thread."""
        with self._lock:
            self._free += 1
            was_full = self._free == 1
        if was_full:  # else it has looked since, and nothing was there
            self._wake.set()

    def request_stop(self) -> None:
        """Claim no more; returns at once."""
        self._stopping.set()
        self._wake.set()

    def join(self) -> None:
        """Wait until what it claimed last is delivered."""
        self._thread.join()

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                self._wake.clear()
                if not self._claim_some():
                    self._wake.wait(self._rest_seconds())
        finally:
            connections[conf.database_alias()].close()

    def _claim_some(self) -> bool:
        """Claim for the free slots; return whether there may be more."""
        limit = self._free
        if limit <= 0:
            return False
        try:
            claims, handed_on = self._claim(limit)
        except Exception:  # the database may be away; it comes back
            _logger.exception("cannot claim", extra={"action": "claim"})
            connections[conf.database_alias()].close()
            self._stopping.wait(_PAUSE_AFTER_ERROR)
            return True
        if claims:
            with self._lock:
                self._free -= len(claims)
            self._deliver(claims)
        return len(claims) + handed_on == limit
