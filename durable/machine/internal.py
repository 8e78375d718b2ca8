"""The six internal steps (protocol.md 4.4).

Each re-checks that it is due: early, late and double firings change nothing.
"""

from msgspec import Struct
from msgspec.structs import replace

from durable.machine import cron, promises
from durable.machine.env import Env
from durable.machine.state import Execute, Promise, Schedule, Task, Unblock
from durable.protocol import tags
from durable.protocol.requests import PromiseCreate
from durable.protocol.states import TaskState
from durable.protocol.validation import MAX_INSTANT, expand_template

MAX_OCCURRENCES = 1000
"""Promises that one firing of a schedule creates at most; the next firing goes on."""

NEVER = MAX_INSTANT
"""When a schedule that has ended runs next."""


class PromiseTimeout(Struct, frozen=True):
    """R1: the deadline of an external promise has come."""

    id: str


class ListenerDrain(Struct, frozen=True):
    """R3: a settled promise still has a listener."""

    id: str
    address: str


class CallbackDrain(Struct, frozen=True):
    """R4: a settled promise still has an awaiter."""

    awaited: str
    awaiter: str


class LeaseExpiry(Struct, frozen=True):
    """R5: the holder of a task was silent for too long."""

    id: str


class RetryDispatch(Struct, frozen=True):
    """R6: a pending task is due to be offered to its target, for the first time or again."""

    id: str


class ScheduleFire(Struct, frozen=True):
    """R7: a schedule is due."""

    id: str


type InternalStep = (
    PromiseTimeout | ListenerDrain | CallbackDrain | LeaseExpiry | RetryDispatch | ScheduleFire
)


def time_out_promise(env: Env, step: PromiseTimeout) -> None:
    """R1. Internal promises are projected on read only; no timer is theirs (C1)."""
    promise = env.promise(step.id)
    if promise is None or not promise.is_pending or promise.timeout_at > env.now:
        return
    if promise.is_external(env.config.profile):
        promises.settle_by_deadline(env, promise)


def drain_listener(env: Env, step: ListenerDrain) -> None:
    """R3: the address leaves the promise and an unblock message enters the outbox."""
    promise = env.promise(step.id)
    if promise is None or promise.is_pending or step.address not in promise.listeners:
        return
    listeners = tuple(address for address in promise.listeners if address != step.address)
    env.set_promise(replace(promise, listeners=listeners))
    env.send(Unblock(promise.record(env.now), step.address))


def drain_callback(env: Env, step: CallbackDrain) -> None:
    """R4: the awaiter leaves the promise and its task learns of it."""
    awaited = env.promise(step.awaited)
    if awaited is None or awaited.is_pending or step.awaiter not in awaited.callbacks:
        return
    callbacks = tuple(awaiter for awaiter in awaited.callbacks if awaiter != step.awaiter)
    env.set_promise(replace(awaited, callbacks=callbacks))
    task, promise = env.task(step.awaiter), env.promise(step.awaiter)
    if task is not None and promise is not None:
        _resume(env, task, promise, awaited.id)


def _resume(env: Env, task: Task, promise: Promise, awaited: str) -> None:
    if not promise.is_alive(env.now):
        if promise.is_pending:  # never dispatch the dead (C6): store their end instead
            promises.settle_by_deadline(env, promise)
        return
    if task.state is TaskState.SUSPENDED:
        env.set_task(task.resumed_by(awaited).pending(env.now))
    elif task.state is not TaskState.FULFILLED:
        env.set_task(task.resumed_by(awaited))


def expire_lease(env: Env, step: LeaseExpiry) -> None:
    """R5: the task becomes ready again at the same version; the dead stay for R1 (C5)."""
    task, promise = env.task(step.id), env.promise(step.id)
    if task is None or promise is None or not promise.is_alive(env.now):
        return
    if task.state is TaskState.ACQUIRED and is_due(task.expires_at, env.now):
        env.set_task(task.pending(env.now))


def dispatch_retry(env: Env, step: RetryDispatch) -> None:
    """R6: an execute message at the stored version, never for a promise past its deadline (C5)."""
    task, promise = env.task(step.id), env.promise(step.id)
    if task is None or promise is None or not promise.is_alive(env.now):
        return
    if task.state is TaskState.PENDING and is_due(task.retry_at, env.now):
        env.set_task(replace(task, retry_at=env.now + env.config.retry_timeout))
        env.send(Execute(task.id, task.version, promise.tags[tags.TARGET]))


def fire_schedule(env: Env, step: ScheduleFire) -> None:
    """R7: every missed occurrence fires, in order (protocol.md 4.7)."""
    schedule = env.schedule(step.id)
    if schedule is None:
        return
    instants = due_instants(schedule, env.now)
    if not instants:
        return
    seen: set[str] = set()
    for instant in instants:
        request = _occurrence(env, schedule, instant)
        if request.id in seen or env.promise(request.id) is not None:
            continue
        seen.add(request.id)
        promise = promises.bear(env, request, born_at=instant)
        if promise.is_targeted:
            promises.bear_task(env, promise)
    last = instants[-1]
    env.set_schedule(replace(schedule, last_run_at=last, next_run_at=_next_run_at(schedule, last)))


def due_instants(schedule: Schedule, now: int) -> list[int]:
    """Return the occurrences up to ``now`` that have not fired, oldest first, in epoch ms.

    At most ``MAX_OCCURRENCES``: a schedule that missed more is still due after the step.
    """
    instants: list[int] = []
    instant = schedule.next_run_at
    while instant <= now and instant != NEVER and len(instants) < MAX_OCCURRENCES:
        instants.append(instant)
        instant = _next_run_at(schedule, instant)
    return instants


def _next_run_at(schedule: Schedule, after: int) -> int:
    try:
        return cron.next_occurrence(schedule.cron, after)
    except cron.InvalidCronError:  # its last instant (a year field) has passed
        return NEVER


def occurrence_id(schedule: Schedule, instant: int) -> str:
    """Expand the template of a schedule."""
    return expand_template(schedule.promise_id, schedule.id, str(instant))


def _occurrence(env: Env, schedule: Schedule, instant: int) -> PromiseCreate:
    promise_id = occurrence_id(schedule, instant)
    promise_tags = schedule.promise_tags
    if env.config.profile.schedule_tags_injected:
        promise_tags = {
            **promise_tags,
            tags.SCHEDULE: schedule.id,
            tags.ORIGIN: promise_id,
            tags.BRANCH: promise_id,
            tags.PARENT: promise_id,
        }
    return PromiseCreate(
        id=promise_id,
        timeout_at=min(instant + schedule.promise_timeout, MAX_INSTANT),
        param=schedule.promise_param,
        tags=promise_tags,
    )


def is_due(instant: int | None, now: int) -> bool:
    """Whether an armed timer may fire; the boundary is inclusive."""
    return instant is not None and instant <= now
