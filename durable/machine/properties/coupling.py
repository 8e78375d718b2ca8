"""Properties of one step between promises, tasks, the outbox and schedules."""

from collections.abc import Iterator

from msgspec.structs import replace

from durable.machine.properties.catalogue import subject, transition_property
from durable.machine.properties.differences import Step
from durable.machine.state import Execute, Promise, Task, Unblock, UnblockKey
from durable.protocol import tags
from durable.protocol.states import TaskState


@transition_property
def consistent_settlement_fulfils_task(step: Step) -> Iterator[str]:
    """A promise that settles fulfils its task in the same step."""
    for promise in _settled(step):
        task = step.after.tasks.get(promise.id)
        if task is not None and task.state is not TaskState.FULFILLED:
            yield subject("promise", promise.id)


@transition_property
def consistent_task_fulfilment_needs_settlement(step: Step) -> Iterator[str]:
    """A task is fulfilled only by the step that settles its promise."""
    settled = {promise.id for promise in _settled(step)}
    entering = [*step.tasks.born, *(b for a, b in step.tasks.changed if a.state != b.state)]
    for task in entering:
        if task.state is TaskState.FULFILLED and task.id not in settled:
            yield subject("task", task.id)


@transition_property
def consistent_obligation_discharge_requires_settled(step: Step) -> Iterator[str]:
    """Only a promise that was settled loses callbacks and listeners."""
    for old, new in step.promises.changed:
        removed = {*old.callbacks} - {*new.callbacks} or {*old.listeners} - {*new.listeners}
        if removed and old.is_pending:
            yield subject("promise", new.id)


@transition_property
def consistent_callback_consumption_resumes_awaiter(step: Step) -> Iterator[str]:
    """A callback that goes leaves its awaiter fulfilled, or resumed by the promise."""
    for old, new in step.promises.changed:
        for awaiter in {*old.callbacks} - {*new.callbacks}:
            task = step.after.tasks.get(awaiter)
            if task is None or not (task.state is TaskState.FULFILLED or new.id in task.resumes):
                yield f"promise {new.id!r}, awaiter {awaiter!r}"


@transition_property
def consistent_listener_consumption_enqueues_unblock(step: Step) -> Iterator[str]:
    """A listener that goes leaves one unblock message for its promise and address."""
    for old, new in step.promises.changed:
        for address in {*old.listeners} - {*new.listeners}:
            if UnblockKey(new.id, address) not in step.after.outbox:
                yield f"promise {new.id!r}, listener {address!r}"


@transition_property
def consistent_wake_follows_callback_consumption(step: Step) -> Iterator[str]:
    """A task wakes only by a callback that went, and says so in its resumes."""
    for old, new in step.tasks.changed:
        woken = old.state is TaskState.SUSPENDED and new.state is TaskState.PENDING
        if woken and not any(_is_consumed(step, awaited, new.id) for awaited in new.resumes):
            yield subject("task", new.id)


@transition_property
def consistent_suspension_registers_callback(step: Step) -> Iterator[str]:
    """A task that becomes suspended is an awaiter of a promise that is alive."""
    # Not "adds one": a task that woke by one of two awaited promises may suspend on the other
    # again, whose callback still stands.
    for old, new in step.tasks.changed:
        parked = new.state is TaskState.SUSPENDED and old.state is not TaskState.SUSPENDED
        if parked and not any(
            new.id in promise.callbacks and promise.is_alive(step.now)
            for promise in step.after.promises.values()
        ):
            yield subject("task", new.id)


@transition_property
def consistent_task_birth_couples_promise_birth(step: Step) -> Iterator[str]:
    """A targeted promise and its task are born in the same step, in matching states."""
    promises = {promise.id: promise for promise in step.promises.born if promise.is_targeted}
    tasks = {task.id: task for task in step.tasks.born}
    for orphan in promises.keys() ^ tasks.keys():
        yield f"promise or task {orphan!r}"
    for both in promises.keys() & tasks.keys():
        if not _is_matching_birth(promises[both], tasks[both]):
            yield f"promise and task {both!r}"


@transition_property
def monotone_outbox_keys_never_disappear(step: Step) -> Iterator[str]:
    """A key stays in the outbox (delivery is not the machine's)."""
    return (f"message {message.key!r}" for message in step.messages.gone)


@transition_property
def consistent_new_execute_matches_task_and_target(step: Step) -> Iterator[str]:
    """A new execute message has the version and the target of its task."""
    for message in step.messages.written:
        if isinstance(message, Execute):
            task = step.after.tasks.get(message.task_id)
            promise = step.after.promises.get(message.task_id)
            if (
                task is None
                or promise is None
                or (message.version, message.address)
                != (task.version, promise.tags.get(tags.TARGET))
            ):
                yield f"execute of task {message.task_id!r}"


@transition_property
def consistent_new_unblock_carries_stored_record(step: Step) -> Iterator[str]:
    """A new unblock message carries the promise as it is stored, settled."""
    for message in _new_unblocks(step):
        promise = step.after.promises.get(message.promise.id)
        if promise is None or promise.is_pending or promise.record(step.now) != message.promise:
            yield f"unblock of promise {message.promise.id!r} to {message.address!r}"


@transition_property
def consistent_new_unblock_discharges_its_listener(step: Step) -> Iterator[str]:
    """A new unblock message stands for a listener that went."""
    for message in _new_unblocks(step):
        old = step.before.promises.get(message.promise.id)
        new = step.after.promises.get(message.promise.id)
        listened = old is not None and message.address in old.listeners
        if not listened or (new is not None and message.address in new.listeners):
            yield f"unblock of promise {message.promise.id!r} to {message.address!r}"


@transition_property
def preserved_schedule_birth_fields_immutable(step: Step) -> Iterator[str]:
    """Nothing of a schedule changes but lastRunAt and nextRunAt."""
    for old, new in step.schedules.changed:
        moved = replace(old, last_run_at=new.last_run_at, next_run_at=new.next_run_at)
        if moved != new:
            yield subject("schedule", new.id)


def _settled(step: Step) -> Iterator[Promise]:
    """Yield the promises that the step settled, those born settled included."""
    yield from (promise for promise in step.promises.born if not promise.is_pending)
    for old, new in step.promises.changed:
        if old.is_pending and not new.is_pending:
            yield new


def _is_consumed(step: Step, awaited: str, awaiter: str) -> bool:
    old, new = step.before.promises.get(awaited), step.after.promises.get(awaited)
    return (
        old is not None
        and new is not None
        and awaiter in old.callbacks
        and awaiter not in new.callbacks
    )


def _is_matching_birth(promise: Promise, task: Task) -> bool:
    if promise.is_pending:
        return task.state in {TaskState.PENDING, TaskState.ACQUIRED}
    return task.state is TaskState.FULFILLED


def _new_unblocks(step: Step) -> Iterator[Unblock]:
    return (message for message in step.messages.written if isinstance(message, Unblock))
