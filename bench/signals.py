"""From settling a latent promise in this process to the workflow's next line in a worker."""

import random
import time
from collections.abc import Iterator

import durable
from bench.figures import Figure, milliseconds
from bench.load import new_key
from bench.session import Session
from bench.workflows import question_of, signal

_PARKING_SECONDS = 1.0
_PAUSE = (0.02, 0.1)


def measure(session: Session) -> Iterator[Figure]:
    """Settle from another process, then from the worker's own."""
    with session.workers():
        yield from _measure(session, "")
    with session.worker_inside():
        yield from _measure(session, "same process, ")


def _measure(session: Session, where: str) -> Iterator[Figure]:
    calls, lines = time_signals(session, max(session.sizes.samples // 2, 1))
    yield milliseconds(f"{where}settle call", calls)
    yield milliseconds(f"{where}settle to next line", lines)


def time_signals(session: Session, samples: int) -> tuple[list[float], list[float]]:
    """Settle promises one by one; return how long the calls took, and how long until the lines."""
    keys = [new_key("signal") for _ in range(samples)]
    for key in keys:
        durable.start(key, signal)
    for key in keys:
        session.marks.wait("waiting", key)
    time.sleep(_PARKING_SECONDS)
    calls, lines = [], []
    for key in keys:
        called_at = time.monotonic()
        durable.promises.resolve(question_of(key), {"ok": True})
        calls.append(time.monotonic() - called_at)
        lines.append(session.marks.wait("resumed", key) - called_at)
        time.sleep(random.uniform(*_PAUSE))
    return calls, lines
