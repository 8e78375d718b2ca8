"""What processes ask of the database while there is nothing to do."""

import time
from collections.abc import Iterator

from bench.counters import Rate
from bench.figures import Figure
from bench.processes import running
from bench.serving import start_server
from bench.session import Session


def measure(session: Session) -> Iterator[Figure]:
    """Look at an idle worker, then at an idle serve process."""
    with session.counters.counting():
        with session.workers(BENCH_COUNTS=str(session.folder)):
            yield from _rates(session, "worker process")
        server = start_server(session, {"BENCH_COUNTS": str(session.folder)})
        with running(server.process):
            yield from _rates(session, "serve process")


def _rates(session: Session, what: str) -> Iterator[Figure]:
    rates = []
    before = session.counters.read()
    texts = session.counters.texts()
    for _ in range(session.sizes.repetitions):
        time.sleep(session.sizes.idle_seconds)
        after = session.counters.read()
        rates.append(Rate.of(after.since(before)))
        before = after
    often = (session.counters.texts() - texts).most_common(12)
    yield Figure(
        f"idle {what}: commits", "/s", tuple(rate.commits for rate in rates), {"often": often}
    )
    counted = tuple(rate.statements for rate in rates if rate.statements is not None)
    if counted:
        yield Figure(f"idle {what}: statements", "/s", counted)
