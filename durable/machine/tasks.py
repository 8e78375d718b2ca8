"""Steps of task.* (protocol.md 3.7 to 3.16). The version is the fence; a pid is no identity."""

from msgspec.structs import replace

from durable.machine import promises
from durable.machine.env import Env
from durable.machine.replies import TASK_NOT_FOUND, TIMER_WITH_TARGET, conflict, invalid, unsuitable
from durable.machine.state import Promise, Task
from durable.protocol import tags
from durable.protocol.requests import (
    ALREADY_SETTLED,
    NOT_FOUND,
    OK,
    InnerReply,
    PromiseCreate,
    Reply,
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
from durable.protocol.states import SETTLEABLE, TaskState


def get(env: Env, request: TaskGet) -> Reply:
    """task.get (3.7)."""
    task, promise = env.task(request.id), env.promise(request.id)
    if task is None or promise is None:
        return TASK_NOT_FOUND
    return Reply(OK, task=task.record(promise, env.now))


def create(env: Env, request: TaskCreate) -> Reply:
    """task.create (3.8): create promise and task and acquire it, or acquire a pending one."""
    action = request.action
    if tags.TARGET not in action.tags:
        return invalid("Action must have a resonate:target tag")
    if tags.is_timer(action.tags):
        return TIMER_WITH_TARGET
    if tags.DELAY in action.tags:
        return invalid("Action must not have a resonate:delay tag")
    if error := promises.find_tag_error(action.tags, action.timeout_at):
        return invalid(error)
    promise = env.promise(action.id)
    if promise is None:
        return _create_acquired(env, request)
    if not promise.is_targeted:
        return unsuitable("The promise does not have a resonate:target tag")
    task = env.task(action.id)
    if task is None:
        return conflict("The promise has no task")
    viewed = task.viewed(promise, env.now)
    if viewed.state is TaskState.FULFILLED:
        return _reply(env, task, promise)
    if viewed.state is not TaskState.PENDING:
        return conflict("Already exists")
    return _reply(env, _acquire(env, task, pid=request.pid, ttl=request.ttl), promise)


def _create_acquired(env: Env, request: TaskCreate) -> Reply:
    promise = promises.bear(env, request.action, born_at=env.now)
    if not promise.is_pending:
        return _reply(env, promises.bear_task(env, promise), promise)
    unborn = Task(promise.id, TaskState.PENDING, version=0)
    return _reply(env, _acquire(env, unborn, pid=request.pid, ttl=request.ttl), promise)


def acquire(env: Env, request: TaskAcquire) -> Reply:
    """task.acquire (3.9): exclusive, not idempotent."""
    task, promise = env.task(request.id), env.promise(request.id)
    if task is None:
        return TASK_NOT_FOUND
    if promise is None:
        return conflict("The task has no promise")
    if task.viewed(promise, env.now).state is not TaskState.PENDING:
        return conflict("Task is not pending")
    if task.version != request.version:
        return conflict("Version mismatch")
    return _reply(env, _acquire(env, task, pid=request.pid, ttl=request.ttl), promise)


def _acquire(env: Env, task: Task, *, pid: str, ttl: int) -> Task:
    return env.set_task(task.acquired(pid=pid, ttl=ttl, now=env.now))


def _reply(env: Env, task: Task, promise: Promise) -> Reply:
    return Reply(OK, task=task.record(promise, env.now), promise=promise.record(env.now))


def fence(env: Env, request: TaskFence) -> Reply:
    """task.fence (3.10): guard and inner request are one step."""
    if request.action.id == request.id:
        return invalid("Action ID must not equal the task ID")
    if refusal := _find_refusal(
        env, request.id, request.version, "Task is not acquired or version mismatch"
    ):
        return refusal
    inner = (
        promises.create(env, request.action)
        if isinstance(request.action, PromiseCreate)
        else promises.settle(env, request.action)
    )
    return Reply(OK, action=InnerReply(request.action.kind, inner), applied=inner.applied)


def _find_refusal(env: Env, task_id: str, version: int, text: str) -> Reply | None:
    """Return why the caller does not hold the task at this version; None when it does."""
    task, promise = env.task(task_id), env.promise(task_id)
    if task is None:
        return TASK_NOT_FOUND
    if (
        promise is None
        or not promise.is_alive(env.now)
        or task.state is not TaskState.ACQUIRED
        or task.version != version
    ):
        return conflict(text)
    return None


def heartbeat(env: Env, request: TaskHeartbeat) -> Reply:
    """task.heartbeat (3.11): extends what the caller holds, skips the rest, never fails."""
    for ref in dict.fromkeys(request.tasks):
        task, promise = env.task(ref.id), env.promise(ref.id)
        if (
            task is not None
            and promise is not None
            and promise.is_alive(env.now)
            and task.state is TaskState.ACQUIRED
            and (task.version, task.pid) == (ref.version, request.pid)
            and task.ttl is not None
        ):
            env.set_task(replace(task, expires_at=env.now + task.ttl))
    return Reply(OK)


def suspend(env: Env, request: TaskSuspend) -> Reply:
    """task.suspend (3.12): 422 wins over 300, and 300 leaves the task with its holder."""
    if error := _find_suspend_error(request):
        return invalid(error)
    if refusal := _find_refusal(
        env, request.id, request.version, "Task version mismatch or invalid state"
    ):
        return refusal
    awaited = [env.promise(action.awaited) for action in request.actions]
    found = [
        promise
        for promise in awaited
        if promise is not None and promise.is_external(env.config.profile)
    ]
    if len(found) < len(awaited):
        return unsuitable("Awaited promise not found")
    task = env.task(request.id)
    assert task is not None  # noqa: S101 - _find_refusal has seen it
    if not all(promise.is_alive(env.now) for promise in found):
        env.set_task(replace(task, resumes=()))
        return Reply(ALREADY_SETTLED)
    for promise in found:
        promises.add_callback(env, promise, request.id)
    env.set_task(task.suspended())
    return Reply(OK)


def _find_suspend_error(request: TaskSuspend) -> str | None:
    ids = [action.awaited for action in request.actions]
    if not ids:
        return "Actions array cannot be empty"
    if any(action.awaiter != request.id for action in request.actions):
        return "All action awaiter IDs must match the task ID"
    if request.id in ids:
        return "Action awaited promise must not equal the task ID"
    if len(set(ids)) < len(ids):
        return "Awaited promise IDs must be unique"
    return None


def fulfill(env: Env, request: TaskFulfill) -> Reply:
    """task.fulfill (3.13)."""
    action = request.action
    if action.state not in SETTLEABLE:
        return invalid(f"A promise cannot be settled to {action.state.value}")
    if action.id != request.id:
        return invalid("Action ID must match the task ID")
    if refusal := _find_refusal(
        env, request.id, request.version, "Task version mismatch or invalid state"
    ):
        return refusal
    return promises.settle(env, action)


def release(env: Env, request: TaskRelease) -> Reply:
    """task.release (3.14)."""
    if refusal := _find_refusal(
        env, request.id, request.version, "Task version mismatch or invalid state"
    ):
        return refusal
    task = env.task(request.id)
    assert task is not None  # noqa: S101 - _find_refusal has seen it
    env.set_task(task.pending(env.now))
    return Reply(OK)


def halt(env: Env, request: TaskHalt) -> Reply:
    """task.halt (3.15)."""
    task, promise = env.task(request.id), env.promise(request.id)
    if task is None or promise is None:
        return TASK_NOT_FOUND
    state = task.viewed(promise, env.now).state
    if state is TaskState.FULFILLED:
        return conflict("Task is fulfilled")
    if state is not TaskState.HALTED:
        env.set_task(task.halted())
    return Reply(OK)


def resume(env: Env, request: TaskContinue) -> Reply:
    """task.continue (3.16): the one way out of halted, always to pending."""
    task, promise = env.task(request.id), env.promise(request.id)
    if task is None:
        return TASK_NOT_FOUND
    if task.viewed(promise, env.now).state is not TaskState.HALTED:
        return conflict("Task is not halted")
    if promise is None:
        return Reply(NOT_FOUND, "Promise not found")
    env.set_task(task.pending(env.now))
    return Reply(OK)
