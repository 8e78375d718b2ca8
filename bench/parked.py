"""What executions cost that only wait: memory, bytes of each table, everybody else's latency."""

import time
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from bench.counters import TableSize
from bench.figures import Figure, milliseconds
from bench.latency import time_alone
from bench.load import start_many
from bench.multiply import multiply
from bench.processes import Process
from bench.session import Session
from bench.signals import time_signals
from bench.workflows import one, signal

_LONGEST = 600
_SETTLING_SECONDS = 3.0
_IDLE_SECONDS = 5.0
PROTOCOL = ("durable_promise", "durable_task", "durable_callback", "durable_listener")


class _Before(NamedTuple):
    memory: int
    tables: Mapping[str, TableSize]


def measure(session: Session) -> Iterator[Figure]:
    """Park executions, look at their cost, multiply them, look again."""
    sizes = session.sizes
    with session.workers() as [worker]:
        yield from _latencies(session, "nothing parked")
        before = _Before(worker.memory(), session.counters.tables())
        yield Figure("parking", "/s", (_park(session, sizes.parked),))
        time.sleep(_SETTLING_SECONDS)
        grown = (worker.memory() - before.memory) / 1e6
        yield Figure(f"worker memory grown by {sizes.parked:,} parked", "MB", (grown,))
        yield from _bytes(session, before, sizes.parked)
        yield _idle(worker, f"{sizes.parked:,} parked")
        yield from _latencies(session, f"{sizes.parked:,} parked")

        multiply("parked-", sizes.multiplied // sizes.parked)
        yield from _bytes(session, before, sizes.multiplied)
        yield _idle(worker, f"{sizes.multiplied:,} parked")
        yield from _latencies(session, f"{sizes.multiplied:,} parked")


def _park(session: Session, number: int) -> float:
    session.marks.clear()
    produced = start_many(signal, number, prefix="parked", concurrency=session.sizes.concurrency)
    ended_at = session.marks.wait_all("waiting", number, timeout=_LONGEST)
    return number / (ended_at - produced.began_at)


def _latencies(session: Session, when: str) -> Iterator[Figure]:
    samples = max(session.sizes.samples // 2, 1)
    times = time_alone(session, one, samples)
    _, lines = time_signals(session, samples)
    yield milliseconds(f"one step, start to last line, {when}", times["last line"])
    yield milliseconds(f"settle to next line, {when}", lines)


def _idle(worker: Process, when: str) -> Figure:
    before = worker.cpu_seconds()
    time.sleep(_IDLE_SECONDS)
    used = (worker.cpu_seconds() - before) / _IDLE_SECONDS * 100
    return Figure(f"processor time of the idle worker, {when}", "%", (used,))


def _bytes(session: Session, before: _Before, number: int) -> Iterator[Figure]:
    grown = {
        name: TableSize(
            size.rows - before.tables[name].rows, size.indexes - before.tables[name].indexes
        )
        for name, size in session.counters.tables().items()
    }
    engine = [size for name, size in grown.items() if name.startswith("durable_")]
    protocol = [size for name, size in grown.items() if name in PROTOCOL]
    when = f"bytes each of {number:,} parked"
    yield _each(f"{when}: protocol rows", (size.rows for size in protocol), number)
    yield _each(
        f"{when}: engine with history and indexes",
        (size.rows + size.indexes for size in engine),
        number,
    )
    for name, size in grown.items():
        if size.rows + size.indexes > number:  # less than a byte each is none of theirs
            yield _each(f"{when}: {name} rows", [size.rows], number)
            yield _each(f"{when}: {name} indexes", [size.indexes], number)


def _each(name: str, grown: Iterable[int], number: int) -> Figure:
    return Figure(name, "B", (sum(grown) / number,))
