"""Which ids a request or an internal step may touch, known before anything is read."""

from collections.abc import Iterator
from typing import NamedTuple

from durable.machine.internal import CallbackDrain, InternalStep, ScheduleFire
from durable.protocol import requests
from durable.protocol.requests import Request


class Footprint(NamedTuple):
    """Ids of promises (and of the tasks of the same id) and of schedules."""

    promises: tuple[str, ...] = ()
    schedules: tuple[str, ...] = ()


def footprint_of(request: Request | InternalStep) -> Footprint:
    """Return all ids that the step reads or writes.

    Two things cannot be known here and are the store's second look: the awaiters of a promise that
    settles, and the promises that a due schedule creates.
    """
    match request:
        case (
            requests.ScheduleGet()
            | requests.ScheduleCreate()
            | requests.ScheduleDelete()
            | ScheduleFire()
        ):
            return Footprint(schedules=(request.id,))
        case CallbackDrain():
            return Footprint((request.awaited, request.awaiter))
        case _:
            return Footprint(tuple(_promises(request)))


def _promises(request: Request | InternalStep) -> Iterator[str]:
    match request:
        case requests.PromiseRegisterCallback():
            yield from (request.awaited, request.awaiter)
        case requests.PromiseRegisterListener():
            yield request.awaited
        case requests.TaskCreate():
            yield request.action.id
        case requests.TaskFence():
            yield from (request.id, request.action.id)
        case requests.TaskHeartbeat():
            yield from (ref.id for ref in request.tasks)
        case requests.TaskSuspend():
            yield request.id
            yield from (action.awaited for action in request.actions)
        case _:
            yield request.id  # type: ignore[union-attr]
