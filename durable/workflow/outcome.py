"""How a pass over a task ended, for the worker; and how it ends from within."""

from dataclasses import dataclass
from enum import StrEnum


class Ending(StrEnum):
    """What became of the task.

    FULFILLED: its promise is settled.
    SUSPENDED: it waits for promises, and costs a row.
    LOST: somebody else holds it, or settled its promise; nothing is to be done.
    RELEASED: given back; ``Outcome.reason`` says why.
    """

    FULFILLED = "fulfilled"
    SUSPENDED = "suspended"
    LOST = "lost"
    RELEASED = "released"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a pass ended. A stuck task goes on only when something outside it changes."""

    ending: Ending
    reason: str = ""
    stuck: bool = False


FULFILLED = Outcome(Ending.FULFILLED)
SUSPENDED = Outcome(Ending.SUSPENDED)
LOST = Outcome(Ending.LOST)


def stuck(reason: str) -> Outcome:
    """Return the outcome of a task that cannot go on as things are."""
    return Outcome(Ending.RELEASED, reason, stuck=True)


def released(reason: str) -> Outcome:
    """Return the outcome of a task that another worker can go on with at once."""
    return Outcome(Ending.RELEASED, reason)


class Halt(Exception):  # noqa: N818 - it ends a pass and never reaches a function
    """Raised inside the engine, where a pass cannot go on."""

    def __init__(self, outcome: Outcome) -> None:
        """``outcome`` is how the pass ends."""
        super().__init__(outcome.reason)
        self.outcome = outcome
