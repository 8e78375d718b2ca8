"""What a step changes. The effects of one step are applied together or not at all."""

from msgspec import Struct

from durable.machine.state import Message, Promise, Schedule, Task


class SetPromise(Struct, frozen=True):
    """Create or replace a promise."""

    promise: Promise


class SetTask(Struct, frozen=True):
    """Create or replace a task."""

    task: Task


class SetSchedule(Struct, frozen=True):
    """Create or replace a schedule."""

    schedule: Schedule


class DeleteSchedule(Struct, frozen=True):
    """Delete a schedule."""

    id: str


class SendMessage(Struct, frozen=True):
    """Put a message into the outbox, in place of one with the same key."""

    message: Message


type Effect = SetPromise | SetTask | SetSchedule | DeleteSchedule | SendMessage
