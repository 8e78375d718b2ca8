"""How long one workflow takes on an idle system."""

import random
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import durable
from bench.figures import Figure, milliseconds
from bench.load import new_key
from bench.session import Session
from bench.workflows import STEPS, one, ten, ten_plain

_PAUSE = (0.01, 0.06)
CASES = (("one step", one), ("ten steps", ten), ("ten plain steps", ten_plain))


def measure(session: Session) -> Iterator[Figure]:
    """Time workflows whose worker is another process, then with the worker in this one."""
    with session.workers():
        yield from _measure(session, "")
    with session.worker_inside():
        yield from _measure(session, "same process, ")


def _measure(session: Session, where: str) -> Iterator[Figure]:
    for name, function in CASES:
        times = time_alone(session, function, session.sizes.samples)
        for what in ("start call", "first line", "last line", "result"):
            yield milliseconds(f"{where}{name}: {what}", times[what])
        if function is not one:
            pairs = zip(times["last line"], times["first line"], strict=True)
            extra = [(last - first) / STEPS for last, first in pairs]
            yield milliseconds(f"{where}{name}: each step", extra)


def time_alone(
    session: Session, function: Callable[..., Any], samples: int
) -> dict[str, list[float]]:
    """Run workflows one after the other; return seconds from the start call to each instant."""
    found: dict[str, list[float]] = defaultdict(list)
    for _ in range(samples):
        key = new_key("alone")
        called_at = time.monotonic()
        handle = durable.start(key, function)
        found["start call"].append(time.monotonic() - called_at)
        handle.result(timeout=60)
        found["result"].append(time.monotonic() - called_at)
        found["last line"].append(session.marks.wait("done", key) - called_at)
        found["first line"].append(session.marks.at("begin", key) - called_at)
        time.sleep(random.uniform(*_PAUSE))
    return found
