"""The type rules common to all requests (protocol.md 3.0): each a 400 before anything is read."""

from collections.abc import Iterator

from durable.protocol.requests import (
    PromiseCreate,
    PromiseGet,
    PromiseRegisterCallback,
    PromiseRegisterListener,
    PromiseSettle,
    Request,
    ScheduleCreate,
    ScheduleDelete,
    ScheduleGet,
    TaskAcquire,
    TaskContinue,
    TaskCreate,
    TaskFence,
    TaskFulfill,
    TaskGet,
    TaskHalt,
    TaskHeartbeat,
    TaskRelease,
    TaskSuspend,
)

MAX_INSTANT = 2**53 - 1
"""The newest instant (epoch ms) that every SDK reads exactly; the practical "no deadline"."""


def find_error(request: Request) -> str | None:
    """Return the text of the first broken type rule, or None."""
    return next(_errors(request), None)


def _errors(request: Request) -> Iterator[str]:
    match request:
        case PromiseGet() | PromiseSettle():
            yield from _required("Promise ID", request.id)
        case PromiseCreate():
            yield from _required("Promise ID", request.id)
            yield from _instant("TimeoutAt", request.timeout_at)
        case PromiseRegisterCallback():
            yield from _required("Awaited promise ID", request.awaited)
            yield from _required("Awaiter promise ID", request.awaiter)
        case PromiseRegisterListener():
            yield from _required("Promise ID", request.awaited)
            yield from _required("Address", request.address)
        case ScheduleGet() | ScheduleDelete():
            yield from _required("Schedule ID", request.id)
        case ScheduleCreate():
            yield from _required("Schedule ID", request.id)
            yield from _required("Cron", request.cron)
            yield from _required("Promise ID", request.promise_id)
            yield from _instant("PromiseTimeout", request.promise_timeout)
        case _:
            yield from _task_errors(request)


def _task_errors(request: Request) -> Iterator[str]:
    match request:
        case TaskCreate():
            yield from _required("Process ID", request.pid)
            yield from _lease(request.ttl)
            yield from _errors(request.action)
        case TaskAcquire():
            yield from _task(request.id, request.version)
            yield from _required("Process ID", request.pid)
            yield from _lease(request.ttl)
        case TaskHeartbeat():
            yield from _required("Process ID", request.pid)
            for ref in request.tasks:
                yield from _task(ref.id, ref.version)
        case TaskSuspend():
            yield from _task(request.id, request.version)
            for action in request.actions:
                yield from _errors(action)
        case TaskFence() | TaskFulfill():
            yield from _task(request.id, request.version)
            yield from _errors(request.action)
        case TaskRelease():
            yield from _task(request.id, request.version)
        case TaskGet() | TaskHalt() | TaskContinue():
            yield from _required("Task ID", request.id)


def _task(task_id: str, version: int) -> Iterator[str]:
    yield from _required("Task ID", task_id)
    if version < 0:
        yield "Version must be a non-negative integer"


def _lease(ttl: int) -> Iterator[str]:
    if ttl < 1:
        yield "TTL must be a positive integer"
    elif ttl > MAX_INSTANT:
        yield f"TTL must not exceed {MAX_INSTANT}"


def _instant(name: str, value: int) -> Iterator[str]:
    if value < 0:
        yield f"{name} must be a non-negative integer"
    elif value > MAX_INSTANT:
        yield f"{name} must not exceed {MAX_INSTANT}"


def _required(name: str, text: str) -> Iterator[str]:
    if not text:
        yield f"{name} is required"
    elif "\0" in text:
        yield f"{name} must not contain null bytes"
