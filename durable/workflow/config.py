"""What a worker gives to each pass beside the work itself."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import NamedTuple

from durable import clock


class Running(NamedTuple):
    """A function that runs now. ``started_at`` is when this attempt began, in epoch ms."""

    task_id: str
    id: str
    function: str
    attempt: int
    started_at: int


type OnRunning = Callable[[Running, bool], None]
"""Called on the event loop when a function begins (true) and ends (false) an attempt."""


@dataclass(frozen=True, slots=True)
class Config:
    """Knobs of a pass.

    clock: epoch ms.
    sleep: pauses for seconds; None is that of asyncio.
    patience: the longest pause before a retry, in seconds, that is spent holding the lease.
    grace: how long, in seconds, functions may take to unwind when a pass is over.
    """

    clock: Callable[[], int] = clock.now_ms
    sleep: Callable[[float], Awaitable[None]] | None = None
    patience: float = 30.0
    grace: float = 5.0


def ignore_replay(seconds: float) -> None:
    """Tell nobody."""


def ignore_running(running: Running, is_running: bool) -> None:
    """Show nobody."""
