"""How long a workflow stands still when its worker is killed with -9 and another one is there."""

import random
import time
from collections.abc import Iterator, Mapping

import durable
from bench.figures import Figure
from bench.load import new_key
from bench.processes import FAST, Process
from bench.session import Session
from bench.workflows import interrupted

_LONGEST = 120
_LONGEST_BEAT = 3.0


def measure(session: Session) -> Iterator[Figure]:
    """Kill with the fast settings, then with the default ones."""
    number = session.sizes.recoveries
    yield _measure(session, f"fast settings ({_said(FAST)})", 3 * number, FAST)
    yield _measure(session, "default settings", number, {})


def _measure(session: Session, name: str, number: int, extra: Mapping[str, str]) -> Figure:
    found = tuple(_recover(session, extra) for _ in range(number))
    return Figure(f"kill -9 to last line, {name}", "s", found)


def _recover(session: Session, extra: Mapping[str, str]) -> float:
    with session.workers(2, **extra) as workers:
        key = new_key("interrupted")
        durable.start(key, interrupted)
        session.marks.wait("instep", key)
        time.sleep(random.uniform(0.5, _LONGEST_BEAT))  # anywhere between two heartbeats
        _holder(workers, session.marks.pid("instep", key)).kill()
        killed_at = time.monotonic()
        return session.marks.wait("done", key, timeout=_LONGEST) - killed_at


def _holder(workers: list[Process], pid: int) -> Process:
    return next(worker for worker in workers if worker.pid == pid)


def _said(settings: Mapping[str, str]) -> str:
    lease, beat = settings["DURABLE_LEASE_MS"], settings["DURABLE_HEARTBEAT_MS"]
    return f"lease {lease} ms, heartbeat {beat} ms"
