"""What one step made of a state: objects born, changed and gone, found once for all properties."""

from collections.abc import Mapping
from typing import NamedTuple

from durable.machine.state import Message, Promise, Schedule, ServerState, Task


class Difference[T](NamedTuple):
    """Objects of one kind that a step wrote; ``changed`` pairs the old with the new."""

    born: tuple[T, ...]
    changed: tuple[tuple[T, T], ...]
    gone: tuple[T, ...]

    @property
    def written(self) -> tuple[T, ...]:
        """What was born or changed, as it is after the step."""
        return (*self.born, *(new for _, new in self.changed))


class Step:
    """A single step: the states around it, its clock, and what differs between the two.

    A store that mutates its state in place must hand over a copy of the four dicts as ``before``.
    """

    __slots__ = ("after", "before", "messages", "now", "promises", "schedules", "tasks")

    def __init__(self, before: ServerState, after: ServerState, now: int) -> None:
        """``now`` is the clock reading of the step, in epoch milliseconds."""
        self.before = before
        self.after = after
        self.now = now
        self.promises: Difference[Promise] = difference_of(before.promises, after.promises)
        self.tasks: Difference[Task] = difference_of(before.tasks, after.tasks)
        self.schedules: Difference[Schedule] = difference_of(before.schedules, after.schedules)
        self.messages: Difference[Message] = difference_of(before.outbox, after.outbox)


def difference_of[K, T](before: Mapping[K, T], after: Mapping[K, T]) -> Difference[T]:
    """Compare by identity first: values are frozen, and most are the same object as before."""
    born: list[T] = []
    changed: list[tuple[T, T]] = []
    for key, new in after.items():
        old = before.get(key)
        if old is None:
            born.append(new)
        elif old is not new and old != new:
            changed.append((old, new))
    gone = [old for key, old in before.items() if key not in after]
    return Difference(tuple(born), tuple(changed), tuple(gone))
