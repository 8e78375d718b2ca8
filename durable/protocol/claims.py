"""A task as a native worker gets it."""

from collections.abc import Collection
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


class Wanted(NamedTuple):
    """Which tasks to claim: calls of functions of these names, or else of all but these.

    What calls no function is always wanted. With ``overdue_ms`` only tasks that could have been
    taken for so long are.
    """

    names: Collection[str] = ()
    is_listed: bool = False
    overdue_ms: int = 0


ANY = Wanted()
