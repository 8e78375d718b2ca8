"""One scenario on one fresh database: its processes, its marks, and the driver's own side."""

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.counters import Counters, PostgresCounters, SQLiteCounters
from bench.databases import POSTGRESQL
from bench.figures import Figure, Sizes
from bench.marks import Marks
from bench.processes import Process, running

WARM_UPS = 5


@dataclass(frozen=True, slots=True)
class Session:
    """What a scenario works with. The process is set up for Django on the session's database."""

    vendor: str
    sizes: Sizes
    folder: Path
    marks: Marks
    counters: Counters

    @contextlib.contextmanager
    def workers(self, number: int = 1, **extra: str) -> Iterator[list[Process]]:
        """Run worker processes, warm, on an empty queue; ``extra`` goes into their environment."""
        workers = [self.start_worker(f"worker{place}", **extra) for place in range(number)]
        with running(*workers):
            for worker in workers:
                worker.wait_for("serves")
            self.warm_up()
            yield workers

    def start_worker(self, name: str, **extra: str) -> Process:
        """Start a worker process."""
        concurrency = str(self.sizes.concurrency)
        log = self.folder / f"{name}.log"
        return Process(log, "worker", "--concurrency", concurrency, extra=extra)

    @contextlib.contextmanager
    def worker_inside(self) -> Iterator[None]:
        """Run a worker and the background loops in this process, as ``serve --worker`` does."""
        from durable.background.runner import BackgroundRunner  # noqa: PLC0415 - needs Django
        from durable.store import get_store  # noqa: PLC0415
        from durable.worker import Worker  # noqa: PLC0415

        runner = BackgroundRunner(get_store())
        worker = Worker(["default"], concurrency=self.sizes.concurrency)
        runner.start()
        worker.start()
        try:
            self.warm_up()
            yield
        finally:
            worker.stop()
            runner.stop()

    def warm_up(self) -> None:
        """Run some workflows, so that statements are prepared and code is loaded."""
        import durable  # noqa: PLC0415 - needs Django
        from bench.workflows import ten  # noqa: PLC0415

        for place in range(WARM_UPS):
            key = f"warm-{os.urandom(4).hex()}-{place}"
            durable.start(key, ten).result(timeout=60)
        self.marks.clear()


type Scenario = Callable[[Session], Iterator[Figure]]


def open_session(sizes: Sizes, folder: Path) -> Session:
    """Set Django up on the database of the environment."""
    import django  # noqa: PLC0415 - the environment is ready now
    from django.db import connection  # noqa: PLC0415

    marks = Marks(folder)
    django.setup()
    url = os.environ["DATABASE_URL"]
    counters: Counters
    if connection.vendor == POSTGRESQL:
        log = os.environ.get("BENCH_SERVER_LOG")
        counters = PostgresCounters(url, Path(log) if log else None)
    else:
        counters = SQLiteCounters(url, folder)
    return Session(connection.vendor, sizes, folder, marks, counters)
