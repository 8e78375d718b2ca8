"""Workers and loops on a clock that a test moves: nothing is waited for but their own work."""

from collections.abc import Callable

from durable import conf
from durable.background.runner import BackgroundRunner
from durable.models import Task
from durable.protocol.addresses import group_of
from durable.store import registry
from durable.store.database import DatabaseStore
from durable.worker import Worker
from tests.processes import wait_until

START = 4_000_000_000_000
"""Later than any real time: what the database's own clock says is never later."""

HOUR = 3_600_000
PATIENCE = 20


class Days:
    """The time of this process and of its store, and what works in it; stands in for ``time``."""

    def __init__(self, now: int = START) -> None:
        self.now = now
        self._workers: list[Worker] = []
        self._runner: BackgroundRunner | None = None
        registry._stores[conf.database_alias()] = DatabaseStore(
            conf.database_alias(), conf.machine_config(), clock=lambda: self.now
        )

    def time_ns(self) -> int:
        return self.now * 1_000_000

    def pass_hours(self, hours: float) -> None:
        """Let time pass once the workers rest: it would take the leases of those that do not."""
        until(lambda: not self._is_busy(), "rest")
        self.now += round(hours * HOUR)

    def _is_busy(self) -> bool:
        groups = {group for worker in self._workers for group in worker.groups}
        targets = Task.objects.filter(state__in=["pending", "acquired"]).values_list(
            "promise__tags__resonate:target", flat=True
        )
        return any(group_of(target) in groups for target in targets)

    def work(self, *groups: str) -> Worker:
        """Start a worker, and with the first the loop that fires timers."""
        if self._runner is None:
            self._runner = BackgroundRunner(registry.get_store())
            self._runner.start()
        self._workers.append(Worker(groups or ["default"], concurrency=4))
        self._workers[-1].start()
        return self._workers[-1]

    def rest(self) -> None:
        """Stop the workers; timers still fire."""
        for worker in self._workers:
            worker.stop()
        self._workers.clear()

    def end(self) -> None:
        self.rest()
        if self._runner is not None:
            self._runner.stop()


def until(condition: Callable[[], object], what: str) -> None:
    wait_until(lambda: bool(condition()), seconds=PATIENCE, what=what)
