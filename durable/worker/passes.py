"""A task that this process works on, and what of it runs now."""

import logging
from typing import TYPE_CHECKING, Any

from durable.client.base import Claim
from durable.workflow.config import Running
from durable.workflow.outcome import Ending, Outcome

if TYPE_CHECKING:
    import asyncio

    from durable.workflow.execution import Execution

_logger = logging.getLogger(__name__)


class Pass:
    """One claim from its start to its outcome; read by the heartbeat's thread."""

    def __init__(self, claim: Claim) -> None:
        """``claim`` is held until the pass ends."""
        self.claim = claim
        self.execution: Execution | None = None
        self.task: asyncio.Task[None] | None = None
        self._running: dict[tuple[str, int], Running] = {}

    def note(self, running: Running, is_running: bool) -> None:
        """Note that a function begins or ends an attempt."""
        key = (running.id, running.attempt)
        if is_running:
            self._running[key] = running
        else:
            self._running.pop(key, None)

    def running(self) -> list[dict[str, Any]]:
        """Return what runs now, as the worker's row shows it."""
        return [
            {
                "task": one.task_id,
                "promise": one.id,
                "function": one.function,
                "attempt": one.attempt,
                "since": one.started_at,
            }
            for one in list(self._running.values())
        ]


def log_outcome(task_id: str, outcome: Outcome) -> None:
    """Log how a pass ended: quietly, unless somebody should look."""
    extra = {"action": "pass", "task": task_id, "outcome": outcome.ending.value}
    if outcome.ending is Ending.RELEASED and outcome.stuck:
        _logger.error("task is stuck: %s", outcome.reason, extra=extra)
    else:
        _logger.debug("pass ended", extra=extra)
