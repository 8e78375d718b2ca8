"""A task as a native worker gets it."""

from typing import NamedTuple

from durable.protocol.records import PromiseRecord, TaskRecord


class Claim(NamedTuple):
    """A task handed to a worker, with its promise and all that a replay of it asks for.

    ``history`` holds every promise that was created under this task by any of its earlier passes,
    local children as well as remote ones, timers and latent promises, in any state.
    """

    task: TaskRecord
    promise: PromiseRecord
    history: tuple[PromiseRecord, ...]
