"""Makers of executions, through the engine itself: what its workers would send."""

from typing import Any

from durable.client.local import get_sender
from durable.clock import now_ms
from durable.models import Worker
from durable.protocol import tags
from durable.protocol.annotations import Annotation
from durable.protocol.records import Value
from durable.protocol.requests import (
    PromiseCreate,
    PromiseRegisterCallback,
    PromiseSettle,
    Reply,
    Request,
    TaskAcquire,
    TaskFence,
    TaskFulfill,
    TaskRelease,
    TaskSuspend,
)
from durable.protocol.states import PromiseState
from durable.protocol.validation import MAX_INSTANT
from tests.dashboard.people import pack

PID = "worker-1"
LEASE_MS = 600_000


def send(*requests: Request, annotations: dict[str, Annotation] | None = None) -> list[Reply]:
    replies = get_sender().send(*requests, annotations=annotations)
    assert all(reply.status in {200, 300} for reply in replies), replies
    return replies


def start(
    promise_id: str,
    function: str = "fulfil",
    *args: Any,
    group: str = "default",
    by: str | None = None,
    timeout_at: int = MAX_INSTANT,
    **more_tags: str,
) -> str:
    """Start an execution; nobody runs it yet."""
    own = {tags.ORIGIN: promise_id, tags.PARENT: promise_id, tags.BRANCH: promise_id}
    targeted = {tags.TARGET: f"poll://any@{group}", tags.SCOPE: tags.SCOPE_GLOBAL}
    param = Value(data=pack({"func": function, "args": list(args), "kwargs": {}, "version": 1}))
    send(
        PromiseCreate(promise_id, timeout_at, param, own | targeted | more_tags),
        annotations={promise_id: Annotation(started_by=by)} if by else None,
    )
    return promise_id


def acquire(task_id: str, *, version: int = 0, pid: str = PID, ttl: int = LEASE_MS) -> str:
    send(TaskAcquire(task_id, version, pid, ttl))
    return task_id


def running(promise_id: str, function: str = "fulfil", *args: Any, **options: Any) -> str:
    """Start an execution that a worker holds."""
    return acquire(start(promise_id, function, *args, **options))


def step(
    task_id: str,
    promise_id: str,
    function: str = "charge",
    value: Any = None,
    *,
    error: str = "",
    parent: str = "",
    version: int = 1,
    attempts: int = 1,
    started_at: int | None = None,
) -> str:
    """Run a step to its end, as a native worker stores it."""
    below = _below(task_id, parent) | {tags.SCOPE: tags.SCOPE_LOCAL, tags.BRANCH: task_id}
    param = Value(data=pack({"func": function, "version": 1}))
    state = PromiseState.REJECTED if error else PromiseState.RESOLVED
    result = {"__type": "error", "name": "StepError", "message": error} if error else value
    send(
        TaskFence(task_id, version, PromiseCreate(promise_id, MAX_INSTANT, param, below)),
        TaskFence(task_id, version, PromiseSettle(promise_id, state, Value(data=pack(result)))),
        annotations={promise_id: Annotation(started_at=started_at, attempts=attempts)},
    )
    return promise_id


def call(task_id: str, promise_id: str, function: str = "ship", **options: Any) -> str:
    """Call a function that has a task of its own."""
    below = _below(task_id, options.get("parent", "")) | {
        tags.TARGET: f"poll://any@{options.get('group', 'default')}",
        tags.SCOPE: tags.SCOPE_GLOBAL,
        tags.BRANCH: promise_id,
    }
    param = Value(data=pack({"func": function, "args": [], "kwargs": {}, "version": 1}))
    version = options.get("version", 1)
    send(TaskFence(task_id, version, PromiseCreate(promise_id, MAX_INSTANT, param, below)))
    return promise_id


def sleep(task_id: str, promise_id: str, until: int, *, version: int = 1) -> str:
    below = _below(task_id) | {tags.TIMER: tags.TRUE, tags.BRANCH: promise_id}
    send(TaskFence(task_id, version, PromiseCreate(promise_id, until, tags=below)))
    return promise_id


def ask(task_id: str, promise_id: str, title: str = "", *, version: int = 1, **more: Any) -> str:
    below = _below(task_id) | {tags.EXTERNAL: tags.TRUE, tags.BRANCH: promise_id}
    described = {"human_task": {"schema": 1, "title": title, **more}} if title else None
    param = Value(data=pack(described)) if described else Value()
    send(TaskFence(task_id, version, PromiseCreate(promise_id, MAX_INSTANT, param, below)))
    return promise_id


def suspend(task_id: str, *awaited: str, version: int = 1) -> None:
    actions = tuple(PromiseRegisterCallback(one, task_id) for one in awaited)
    send(TaskSuspend(task_id, version, actions))


def release(task_id: str, *, version: int = 1, stuck: str | None = None) -> None:
    annotations = {task_id: Annotation(stuck=stuck)} if stuck else None
    send(TaskRelease(task_id, version), annotations=annotations)


def finish(task_id: str, value: Any = None, *, version: int = 1) -> None:
    settle = PromiseSettle(task_id, PromiseState.RESOLVED, Value(data=pack(value)))
    send(TaskFulfill(task_id, version, settle))


def fail(task_id: str, message: str, *, version: int = 1, **more: Any) -> None:
    error = {"__type": "error", "name": "OrderError", "message": message, **more}
    settle = PromiseSettle(task_id, PromiseState.REJECTED, Value(data=pack(error)))
    send(TaskFulfill(task_id, version, settle))


def pass_time(until: int | None = None) -> None:
    """Let the clock go on, beyond ``until``: what begins at the same moment is ordered by id."""
    until = now_ms() if until is None else until
    while now_ms() <= until:
        pass


def settle(promise_id: str, value: Any = None) -> None:
    send(PromiseSettle(promise_id, PromiseState.RESOLVED, Value(data=pack(value))))


def add_worker(pid: str = PID, *, groups: tuple[str, ...] = ("default",), **fields: Any) -> Worker:
    now = now_ms()
    defaults = {
        "host": "web-1",
        "system_pid": 7,
        "concurrency": 2,
        "started_at": now,
        "seen_at": now,
    }
    return Worker.objects.create(pid=pid, groups=list(groups), **defaults | fields)


def run_of(task_id: str, promise_id: str, function: str, **more: Any) -> dict[str, Any]:
    """What a worker says of a step that it runs."""
    run = {"task": task_id, "promise": promise_id, "function": function, "attempt": 1}
    return run | {"since": now_ms() - 5000} | more


def _below(task_id: str, parent: str = "") -> dict[str, str]:
    return {tags.ORIGIN: task_id.partition(":")[0], tags.PARENT: parent or task_id}
