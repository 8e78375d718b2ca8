"""How many workflows and steps a second, with the worker in this process, and with one and two."""

from collections.abc import Iterator

from bench.figures import Figure
from bench.load import measure_rate
from bench.session import Session
from bench.workflows import STEPS, one, ten, ten_plain

_PROBE = 64
_MOST = 10_000
CASES = (("one-step workflows", one, 1), ("steps", ten, STEPS), ("plain steps", ten_plain, STEPS))


def measure(session: Session) -> Iterator[Figure]:
    """Load the system at full concurrency."""
    with session.worker_inside():
        yield from _measure(session, "worker in the starting process")
    for number, name in ((1, "1 worker process"), (2, "2 worker processes")):
        with session.workers(number):
            yield from _measure(session, name)


def _measure(session: Session, where: str) -> Iterator[Figure]:
    sizes = session.sizes
    for name, function, steps in CASES:
        probe = measure_rate(session.marks, function, _PROBE, concurrency=sizes.concurrency)
        number = int(min(_MOST, max(_PROBE, probe.workflows * sizes.seconds)))
        rates = [
            measure_rate(session.marks, function, number, concurrency=sizes.concurrency)
            for _ in range(sizes.repetitions)
        ]
        found = tuple(rate.workflows * steps for rate in rates)
        starts = [rate.starts for rate in rates]
        yield Figure(f"{where}: {name}", "/s", found, {"workflows": number, "starts": starts})
