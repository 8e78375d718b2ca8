"""Properties of schedules, of the store's keys, and between objects."""

from collections.abc import Iterator, Mapping
from typing import Protocol

from durable.machine.properties.catalogue import of_every_schedule, state_property, subject
from durable.machine.state import Execute, Promise, Schedule, ServerState, Unblock
from durable.protocol import tags
from durable.protocol.addresses import is_listener_address
from durable.protocol.states import TaskState


@of_every_schedule
def well_formed_schedule_promise_tags_not_timer_targeted(schedule: Schedule) -> bool:
    """A schedule does not make timers with a target."""
    return not (tags.is_timer(schedule.promise_tags) and tags.is_targeted(schedule.promise_tags))


@of_every_schedule
def well_formed_schedule_created_at_lte_next_run_at(schedule: Schedule) -> bool:
    """A schedule runs next no earlier than it was created."""
    return schedule.created_at <= schedule.next_run_at


@of_every_schedule
def well_formed_schedule_created_at_lte_last_run_at(schedule: Schedule) -> bool:
    """A schedule ran last no earlier than it was created."""
    return schedule.last_run_at is None or schedule.created_at <= schedule.last_run_at


@of_every_schedule
def well_formed_schedule_last_run_at_lt_next_run_at(schedule: Schedule) -> bool:
    """A schedule runs next after it ran last."""
    return schedule.last_run_at is None or schedule.last_run_at < schedule.next_run_at


@state_property
def well_formed_store_promise_ids_unique(state: ServerState, _now: int) -> Iterator[str]:
    """One promise for each id."""
    return misplaced("promise", state.promises)


@state_property
def well_formed_store_task_ids_unique(state: ServerState, _now: int) -> Iterator[str]:
    """One task for each id."""
    return misplaced("task", state.tasks)


@state_property
def well_formed_store_schedule_ids_unique(state: ServerState, _now: int) -> Iterator[str]:
    """One schedule for each id."""
    return misplaced("schedule", state.schedules)


@state_property
def well_formed_store_outbox_keys_unique(state: ServerState, _now: int) -> Iterator[str]:
    """One message for each outbox key."""
    for key, message in state.outbox.items():
        if message.key != key:
            yield f"message {key!r}"


@state_property
def consistent_task_iff_targeted_promise(state: ServerState, _now: int) -> Iterator[str]:
    """Every task has a targeted promise and every targeted promise a task."""
    for promise in state.promises.values():
        if promise.is_targeted and promise.id not in state.tasks:
            yield subject("promise", promise.id)
    for task in state.tasks.values():
        if not _is_targeted(state.promises.get(task.id)):
            yield subject("task", task.id)


@state_property
def consistent_settled_promise_has_fulfilled_task(state: ServerState, _now: int) -> Iterator[str]:
    """The task of a settled promise is fulfilled."""
    for task in state.tasks.values():
        promise = state.promises.get(task.id)
        settled = promise is not None and not promise.is_pending
        if settled and task.state is not TaskState.FULFILLED:
            yield subject("task", task.id)


@state_property
def consistent_callback_awaiter_is_targeted(state: ServerState, _now: int) -> Iterator[str]:
    """Every awaiter is an existing promise with a target."""
    for promise in state.promises.values():
        for awaiter in promise.callbacks:
            if not _is_targeted(state.promises.get(awaiter)):
                yield f"promise {promise.id!r}, awaiter {awaiter!r}"


@state_property
def consistent_listener_addresses_deliverable(state: ServerState, _now: int) -> Iterator[str]:
    """Every listener has an address that the address rule admits."""
    for promise in state.promises.values():
        for address in promise.listeners:
            if not _is_deliverable(state, address):
                yield f"promise {promise.id!r}, listener {address!r}"


@state_property
def consistent_outbox_execute_names_existing_task(state: ServerState, _now: int) -> Iterator[str]:
    """An execute message names a task."""
    for message in _executes(state):
        if message.task_id not in state.tasks:
            yield _execute_subject(message)


@state_property
def consistent_outbox_never_ahead(state: ServerState, _now: int) -> Iterator[str]:
    """An execute message is not ahead of its task's version."""
    for message in _executes(state):
        task = state.tasks.get(message.task_id)
        if task is not None and message.version > task.version:
            yield _execute_subject(message)


@state_property
def consistent_outbox_execute_address_is_target_tag(state: ServerState, _now: int) -> Iterator[str]:
    """An execute message goes to the target of its promise."""
    for message in _executes(state):
        promise = state.promises.get(message.task_id)
        if promise is not None and message.address != promise.tags.get(tags.TARGET):
            yield _execute_subject(message)


@state_property
def consistent_outbox_unblock_names_settled_promise(state: ServerState, _now: int) -> Iterator[str]:
    """An unblock message carries a settled promise, stored settled."""
    for message in _unblocks(state):
        promise = state.promises.get(message.promise.id)
        if message.promise.is_pending or promise is None or promise.is_pending:
            yield _unblock_subject(message)


@state_property
def consistent_outbox_unblock_address_deliverable(state: ServerState, _now: int) -> Iterator[str]:
    """An unblock message has an address that the address rule admits."""
    for message in _unblocks(state):
        if not _is_deliverable(state, message.address):
            yield _unblock_subject(message)


@state_property
def consistent_settled_task_promise_settled(state: ServerState, _now: int) -> Iterator[str]:
    """The promise of a fulfilled task is stored settled."""
    for task in state.tasks.values():
        promise = state.promises.get(task.id)
        if task.state is TaskState.FULFILLED and promise is not None and promise.is_pending:
            yield subject("task", task.id)


@state_property
def consistent_suspended_task_holds_rung(state: ServerState, now: int) -> Iterator[str]:
    """Some promise lists a suspended, living task as its awaiter."""
    awaiters = {awaiter for promise in state.promises.values() for awaiter in promise.callbacks}
    for task in state.tasks.values():
        if task.state is TaskState.SUSPENDED and task.id not in awaiters:
            promise = state.promises.get(task.id)
            if promise is not None and promise.is_alive(now):
                yield subject("task", task.id)


class _Identified(Protocol):
    @property
    def id(self) -> str: ...


def misplaced(kind: str, objects: Mapping[str, _Identified]) -> Iterator[str]:
    """Yield each object that does not stand under its own id, as one of two with one id must."""
    for key, value in objects.items():
        if value.id != key:
            yield subject(kind, value.id)


def _is_targeted(promise: Promise | None) -> bool:
    return promise is not None and promise.is_targeted


def _is_deliverable(state: ServerState, address: str) -> bool:
    return is_listener_address(address, any_scheme=state.config.profile.any_listener_scheme)


def _executes(state: ServerState) -> Iterator[Execute]:
    return (message for message in state.outbox.values() if isinstance(message, Execute))


def _unblocks(state: ServerState) -> Iterator[Unblock]:
    return (message for message in state.outbox.values() if isinstance(message, Unblock))


def _execute_subject(message: Execute) -> str:
    return f"execute of task {message.task_id!r} at version {message.version}"


def _unblock_subject(message: Unblock) -> str:
    return f"unblock of promise {message.promise.id!r} to {message.address!r}"
