"""Requests with everything filled in that a test does not care about, and states to send them to.

Time starts at 0 and tests ask at NOW, when a deadline of NOW has come (the boundary is inclusive).
"""

from collections.abc import Iterable
from typing import NamedTuple

from durable.protocol import tags
from durable.protocol.records import EMPTY, Value
from durable.protocol.requests import (
    PromiseCreate,
    PromiseRegisterCallback,
    PromiseRegisterListener,
    PromiseSettle,
    Request,
    ScheduleCreate,
    TaskAcquire,
    TaskCreate,
    TaskFence,
    TaskFulfill,
    TaskHalt,
    TaskHeartbeat,
    TaskRef,
    TaskRelease,
    TaskSuspend,
)
from durable.protocol.states import PromiseState, TaskState
from tests.machine.checked import CheckedStore

NOW = 1000
FAR = 100_000
TTL = 60_000
GROUP = "poll://any@g"
ADDRESS = "poll://uni@g/p"

INTERNAL: dict[str, str] = {}
TARGETED = {tags.TARGET: GROUP}
EXTERNAL = {tags.EXTERNAL: "true"}
TIMER = {tags.TIMER: "true"}
GLOBAL = {tags.SCOPE: "global"}

VALUE = Value(headers={"k": "v"}, data="eyJ4IjoxfQ==")


def create(
    promise_id: str = "a",
    promise_tags: dict[str, str] = INTERNAL,
    timeout_at: int = FAR,
    param: Value = EMPTY,
) -> PromiseCreate:
    return PromiseCreate(promise_id, timeout_at, param, promise_tags)


def settle(
    promise_id: str = "a",
    state: PromiseState = PromiseState.RESOLVED,
    value: Value = EMPTY,
) -> PromiseSettle:
    return PromiseSettle(promise_id, state, value)


def listen(promise_id: str = "a", address: str = ADDRESS) -> PromiseRegisterListener:
    return PromiseRegisterListener(promise_id, address)


def start(
    task_id: str = "a",
    timeout_at: int = FAR,
    pid: str = "p",
    ttl: int = TTL,
    promise_tags: dict[str, str] = TARGETED,
) -> TaskCreate:
    return TaskCreate(pid, ttl, create(task_id, promise_tags, timeout_at))


def acquire(task_id: str = "a", version: int = 0, pid: str = "p", ttl: int = TTL) -> TaskAcquire:
    return TaskAcquire(task_id, version, pid, ttl)


def fence(action: PromiseCreate | PromiseSettle, task_id: str = "a", version: int = 1) -> TaskFence:
    return TaskFence(task_id, version, action)


def heartbeat(*held: tuple[str, int], pid: str = "p") -> TaskHeartbeat:
    return TaskHeartbeat(pid, tuple(TaskRef(*one) for one in held))


def suspend(task_id: str = "a", *awaited: str, version: int = 1) -> TaskSuspend:
    actions = tuple(PromiseRegisterCallback(one, task_id) for one in awaited)
    return TaskSuspend(task_id, version, actions)


def fulfill(
    task_id: str = "a",
    version: int = 1,
    state: PromiseState = PromiseState.RESOLVED,
    value: Value = EMPTY,
) -> TaskFulfill:
    return TaskFulfill(task_id, version, settle(task_id, state, value))


def release(task_id: str = "a", version: int = 1) -> TaskRelease:
    return TaskRelease(task_id, version)


def schedule(
    schedule_id: str = "s",
    cron: str = "*/5 * * * *",
    *,
    promise_id: str = "{{.id}}-{{.timestamp}}",
    promise_timeout: int = 3_600_000,
    promise_tags: dict[str, str] = INTERNAL,
    promise_param: Value = EMPTY,
) -> ScheduleCreate:
    return ScheduleCreate(
        schedule_id, cron, promise_id, promise_timeout, promise_param, promise_tags
    )


class At(NamedTuple):
    """A request that is sent at a time of its own."""

    time: int
    request: Request


type Given = Iterable[Request | At]


def give(store: CheckedStore, given: Given) -> None:
    """Bring a store to a state: requests at 0, unless they say when; each must succeed."""
    for one in given:
        time, request = one if isinstance(one, At) else (0, one)
        reply = store.ask(request, time)
        assert 200 <= reply.status <= 300, (request, reply)


TASK_GIVEN: dict[TaskState | None, Given] = {
    None: (),
    TaskState.PENDING: (create("a", TARGETED),),
    TaskState.ACQUIRED: (start("a"),),
    TaskState.SUSPENDED: (create("b", EXTERNAL), start("a"), suspend("a", "b")),
    TaskState.HALTED: (create("a", TARGETED), TaskHalt("a")),
    TaskState.FULFILLED: (start("a"), fulfill("a")),
}
"""How task ``a`` gets into each state, by requests at 0."""


DYING_TASK_GIVEN: dict[TaskState, Given] = {
    TaskState.PENDING: (create("a", TARGETED, NOW),),
    TaskState.ACQUIRED: (start("a", NOW),),
    TaskState.SUSPENDED: (create("b", EXTERNAL), start("a", NOW), suspend("a", "b")),
    TaskState.HALTED: (create("a", TARGETED, NOW), TaskHalt("a")),
}
"""The same with a deadline that has come, unseen, at NOW."""
