"""Steps of promise.* (protocol.md 3.2 to 3.6)."""

from msgspec.structs import replace

from durable.machine.env import Env
from durable.machine.replies import PROMISE_NOT_FOUND, TIMER_WITH_TARGET, invalid, unsuitable
from durable.machine.state import Promise, Task, deadline_verdict
from durable.protocol import tags
from durable.protocol.addresses import is_listener_address
from durable.protocol.records import EMPTY, Value
from durable.protocol.requests import (
    OK,
    PromiseCreate,
    PromiseGet,
    PromiseRegisterCallback,
    PromiseRegisterListener,
    PromiseSettle,
    Reply,
)
from durable.protocol.states import SETTLEABLE, PromiseState, TaskState


def get(env: Env, request: PromiseGet) -> Reply:
    """promise.get (3.2)."""
    promise = env.promise(request.id)
    if promise is None:
        return PROMISE_NOT_FOUND
    return Reply(OK, promise=promise.record(env.now))


def create(env: Env, request: PromiseCreate) -> Reply:
    """promise.create (3.3): the first write of an id wins, whatever a later one says."""
    promise_tags = request.tags
    if tags.is_timer(promise_tags) and tags.TARGET in promise_tags:
        if not env.config.profile.timer_target_dropped:
            return TIMER_WITH_TARGET
        promise_tags = {k: v for k, v in promise_tags.items() if k != tags.TARGET}
    if error := find_tag_error(promise_tags, request.timeout_at):
        return invalid(error)
    promise = env.promise(request.id)
    if promise is None:
        delay = tags.parse_delay(promise_tags) or 0
        promise = bear(env, replace(request, tags=promise_tags), born_at=env.now)
        if promise.is_targeted:
            bear_task(env, promise, not_before=delay)
    return Reply(OK, promise=promise.record(env.now))


def find_tag_error(promise_tags: tags.Tags, timeout_at: int) -> str | None:
    """Return what is wrong with the tags of a new promise (3.3 rows 2 and 3), or None."""
    if promise_tags.get(tags.TARGET) == "":
        return "resonate:target must not be empty"
    try:
        delay = tags.parse_delay(promise_tags)
    except ValueError:
        return "resonate:delay must be a non-negative integer"
    if delay is None:
        return None
    if delay >= timeout_at:
        return "resonate:delay must be less than timeoutAt"
    if tags.TARGET not in promise_tags:
        return "resonate:delay requires a resonate:target tag"
    return None


def bear(env: Env, request: PromiseCreate, *, born_at: int) -> Promise:
    """Write a new promise: pending, or born settled when its deadline has passed (rows 6, 7)."""
    dead = request.timeout_at <= env.now
    return env.set_promise(
        Promise(
            id=request.id,
            state=deadline_verdict(request.tags) if dead else PromiseState.PENDING,
            param=request.param,
            value=EMPTY,
            tags=request.tags,
            timeout_at=request.timeout_at,
            created_at=request.timeout_at if dead else born_at,
            settled_at=request.timeout_at if dead else None,
        )
    )


def bear_task(env: Env, promise: Promise, *, not_before: int = 0) -> Task:
    """Write the task of a new targeted promise, at version 0."""
    if not promise.is_pending:
        return env.set_task(Task(promise.id, TaskState.FULFILLED, version=0))
    return env.set_task(
        Task(promise.id, TaskState.PENDING, version=0, retry_at=max(not_before, env.now))
    )


def settle(env: Env, request: PromiseSettle) -> Reply:
    """promise.settle (3.4): the first settlement wins; a late one reads what was first."""
    if request.state not in SETTLEABLE:
        return invalid(f"A promise cannot be settled to {request.state.value}")
    promise = env.promise(request.id)
    if promise is None:
        return PROMISE_NOT_FOUND
    if not promise.is_alive(env.now):
        return Reply(OK, promise=promise.record(env.now))
    promise = settle_promise(env, promise, request.state, request.value, at=env.now)
    return Reply(OK, promise=promise.record(env.now), applied=True)


def settle_promise(
    env: Env, promise: Promise, state: PromiseState, value: Value, *, at: int
) -> Promise:
    """Settle a promise and end its task; callbacks and listeners stay, to be drained (4.4)."""
    task = env.task(promise.id)
    if task is not None and task.state is not TaskState.FULFILLED:
        env.set_task(task.fulfilled())
    return env.set_promise(replace(promise, state=state, value=value, settled_at=at))


def settle_by_deadline(env: Env, promise: Promise) -> Promise:
    """Store what the deadline decided: settled at exactly ``timeout_at``, value untouched."""
    return settle_promise(
        env, promise, deadline_verdict(promise.tags), promise.value, at=promise.timeout_at
    )


def register_callback(env: Env, request: PromiseRegisterCallback) -> Reply:
    """promise.register_callback (3.5): never resumes by itself, whatever the awaited's state."""
    if request.awaited == request.awaiter:
        return invalid("Awaited and awaiter must be different promises")
    awaited = env.promise(request.awaited)
    if awaited is None:
        return Reply(PROMISE_NOT_FOUND.status, "Awaited promise not found")
    awaiter = env.promise(request.awaiter)
    if awaiter is None:
        return unsuitable("Awaiter promise not found")
    if not awaiter.is_targeted:
        return unsuitable("Awaiter promise has no resonate:target tag")
    if not awaited.is_external(env.config.profile):
        return unsuitable("Awaited promise is internal: nothing outside its task settles it")
    if awaited.is_alive(env.now) and awaiter.is_alive(env.now):
        awaited = add_callback(env, awaited, request.awaiter)
    return Reply(OK, promise=awaited.record(env.now))


def add_callback(env: Env, awaited: Promise, awaiter: str) -> Promise:
    """Add one awaiter; a second registration is none."""
    if awaiter in awaited.callbacks:
        return awaited
    return env.set_promise(replace(awaited, callbacks=(*awaited.callbacks, awaiter)))


def register_listener(env: Env, request: PromiseRegisterListener) -> Reply:
    """promise.register_listener (3.6)."""
    profile = env.config.profile
    if not is_listener_address(request.address, any_scheme=profile.any_listener_scheme):
        return invalid("Invalid listener address")
    awaited = env.promise(request.awaited)
    if awaited is None:
        return PROMISE_NOT_FOUND
    if not awaited.is_external(profile):
        return unsuitable("Awaited promise is internal: nothing outside its task settles it")
    if awaited.is_alive(env.now) and request.address not in awaited.listeners:
        awaited = env.set_promise(replace(awaited, listeners=(*awaited.listeners, request.address)))
    return Reply(OK, promise=awaited.record(env.now))
