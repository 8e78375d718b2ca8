"""What one step sees: one clock reading, the state before it, and the effects it collects."""

from typing import Protocol

from durable.machine.effects import (
    DeleteSchedule,
    Effect,
    SendMessage,
    SetPromise,
    SetSchedule,
    SetTask,
)
from durable.machine.state import Config, Message, Promise, Schedule, Task


class Reader(Protocol):
    """The state before a step, by primary key."""

    def promise(self, promise_id: str) -> Promise | None: ...

    def task(self, task_id: str) -> Task | None: ...

    def schedule(self, schedule_id: str) -> Schedule | None: ...


class Env:
    """Environment of one step. Reads never see the step's own writes (protocol.md 3.0)."""

    __slots__ = ("config", "effects", "now", "promise", "schedule", "task")

    def __init__(self, reader: Reader, *, now: int, config: Config) -> None:
        """``now`` is the step's single clock reading, in epoch milliseconds."""
        self.now = now
        self.config = config
        self.promise = reader.promise
        self.task = reader.task
        self.schedule = reader.schedule
        self.effects: list[Effect] = []

    def set_promise(self, promise: Promise) -> Promise:
        """Write a promise and return it."""
        self.effects.append(SetPromise(promise))
        return promise

    def set_task(self, task: Task) -> Task:
        """Write a task and return it."""
        self.effects.append(SetTask(task))
        return task

    def set_schedule(self, schedule: Schedule) -> Schedule:
        """Write a schedule and return it."""
        self.effects.append(SetSchedule(schedule))
        return schedule

    def delete_schedule(self, schedule_id: str) -> None:
        """Delete a schedule."""
        self.effects.append(DeleteSchedule(schedule_id))

    def send(self, message: Message) -> None:
        """Put a message into the outbox."""
        self.effects.append(SendMessage(message))
