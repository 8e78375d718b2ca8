"""What is found, and how much of it is looked for."""

import statistics
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Figure:
    """One quantity with all values found. ``more`` goes into the JSON only."""

    name: str
    unit: str
    values: tuple[float, ...]
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def low(self) -> float:
        return min(self.values)

    @property
    def high(self) -> float:
        return max(self.values)

    def percentile(self, percent: float) -> float:
        ordered = sorted(self.values)
        return ordered[round(percent / 100 * (len(ordered) - 1))]


def milliseconds(name: str, seconds: Iterable[float], **more: Any) -> Figure:
    """Return a figure of durations."""
    return Figure(name, "ms", tuple(value * 1000 for value in seconds), more)


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is done; every field is an option of the command line.

    samples: workflows timed one after the other.
    repetitions: of what takes seconds.
    seconds: how long a throughput measurement is to take.
    concurrency: start calls in flight, and tasks at the same time in a worker.
    fan: parallel steps, and children, of one workflow.
    parked: executions started and left waiting.
    multiplied: rows of waiting executions after multiplying them in SQL.
    pages: executions behind the pages.
    questions: open questions behind the inbox.
    counted: workflows whose statements are counted.
    idle_seconds: length of a look at idle processes.
    recoveries: kills of a worker with default settings; fast settings get three times as many.
    deliveries: tasks whose way to a worker of the gateway is timed.
    streams: idle event streams of the gateway.
    """

    samples: int = 60
    repetitions: int = 3
    seconds: float = 5.0
    concurrency: int = 32
    fan: int = 1000
    parked: int = 10_000
    multiplied: int = 100_000
    pages: int = 100_000
    questions: int = 50_000
    counted: int = 200
    idle_seconds: float = 15.0
    recoveries: int = 1
    deliveries: int = 200
    streams: int = 1000


QUICK = Sizes(
    samples=5,
    repetitions=1,
    seconds=0.5,
    fan=50,
    parked=100,
    multiplied=500,
    pages=400,
    questions=800,
    counted=20,
    idle_seconds=3.0,
    deliveries=10,
    streams=50,
)
