"""From a request or an internal step to its rule. ``step`` is the whole machine."""

from collections.abc import Callable
from typing import Any, assert_never

from durable.machine import internal, promises, schedules, tasks
from durable.machine.env import Env
from durable.machine.replies import invalid
from durable.protocol import requests
from durable.protocol.requests import Reply, Request
from durable.protocol.validation import find_error


def step(env: Env, request: Request) -> Reply:
    """Answer one request; what it changes is in ``env.effects`` (protocol.md 3)."""
    error = find_error(request)
    return invalid(error) if error else answer(env, request)


def answer(env: Env, request: Request) -> Reply:
    """Answer a request in which ``find_error`` finds none."""
    match request:
        case requests.PromiseGet():
            return promises.get(env, request)
        case requests.PromiseCreate():
            return promises.create(env, request)
        case requests.PromiseSettle():
            return promises.settle(env, request)
        case requests.PromiseRegisterCallback():
            return promises.register_callback(env, request)
        case requests.PromiseRegisterListener():
            return promises.register_listener(env, request)
        case requests.ScheduleGet():
            return schedules.get(env, request)
        case requests.ScheduleCreate():
            return schedules.create(env, request)
        case requests.ScheduleDelete():
            return schedules.delete(env, request)
        case _:
            return _TASK_STEPS[type(request)](env, request)


_TASK_STEPS: dict[type[Request], Callable[[Env, Any], Reply]] = {
    requests.TaskGet: tasks.get,
    requests.TaskCreate: tasks.create,
    requests.TaskAcquire: tasks.acquire,
    requests.TaskFence: tasks.fence,
    requests.TaskHeartbeat: tasks.heartbeat,
    requests.TaskSuspend: tasks.suspend,
    requests.TaskFulfill: tasks.fulfill,
    requests.TaskRelease: tasks.release,
    requests.TaskHalt: tasks.halt,
    requests.TaskContinue: tasks.resume,
}


def fire(env: Env, due: internal.InternalStep) -> None:
    """Fire one internal step; what it changes is in ``env.effects`` (protocol.md 4.4)."""
    match due:
        case internal.PromiseTimeout():
            internal.time_out_promise(env, due)
        case internal.ListenerDrain():
            internal.drain_listener(env, due)
        case internal.CallbackDrain():
            internal.drain_callback(env, due)
        case internal.LeaseExpiry():
            internal.expire_lease(env, due)
        case internal.RetryDispatch():
            internal.dispatch_retry(env, due)
        case internal.ScheduleFire():
            internal.fire_schedule(env, due)
        case _:
            assert_never(due)
