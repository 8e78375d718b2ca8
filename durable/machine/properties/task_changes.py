"""Properties of what one step may do to a task."""

from collections.abc import Iterator

from durable.machine.properties.catalogue import (
    internal_step_property,
    of_every_task_change,
    subject,
    transition_property,
)
from durable.machine.properties.differences import Step
from durable.machine.properties.edges import INTERNAL_TASK_EDGES, TASK_EDGES
from durable.machine.properties.tasks import is_cleared
from durable.machine.state import Execute, Task
from durable.protocol.states import TaskState

_PARKED = frozenset({TaskState.ACQUIRED, TaskState.SUSPENDED, TaskState.FULFILLED})


@transition_property
def monotone_task_set_grows(step: Step) -> Iterator[str]:
    """Tasks are never deleted."""
    return (subject("task", task.id) for task in step.tasks.gone)


@of_every_task_change
def monotone_task_version_increases_only_on_acquisition(old: Task, new: Task) -> bool:
    """An acquisition adds 1 to the version, and nothing else changes it."""
    return new.version == old.version + _is_acquisition(old, new)


@of_every_task_change
def preserved_fulfilled_task(old: Task, new: Task) -> bool:
    """A fulfilled task never changes and holds nothing."""
    return old.state is not TaskState.FULFILLED or new == old.fulfilled()


@transition_property
def consistent_task_state_edge_admissible(step: Step) -> Iterator[str]:
    """A task moves only along the edges of its state machine."""
    return _wrong_edges(step, TASK_EDGES)


@of_every_task_change
def preserved_task_acquisition_only_from_pending(old: Task, new: Task) -> bool:
    """A task is acquired at birth or from pending."""
    return new.state is not TaskState.ACQUIRED or old.state in {
        TaskState.PENDING,
        TaskState.ACQUIRED,
    }


@transition_property
def preserved_task_suspension_only_from_acquired(step: Step) -> Iterator[str]:
    """A task is suspended from acquired."""
    for task in step.tasks.born:
        if task.state is TaskState.SUSPENDED:
            yield subject("task", task.id)
    for old, new in step.tasks.changed:
        allowed = old.state in {TaskState.ACQUIRED, TaskState.SUSPENDED}
        if new.state is TaskState.SUSPENDED and not allowed:
            yield subject("task", new.id)


@of_every_task_change
def preserved_task_halted_only_reenters_via_pending(old: Task, new: Task) -> bool:
    """A halted task goes to pending or fulfilled."""
    return old.state is not TaskState.HALTED or new.state in TASK_EDGES[TaskState.HALTED]


@transition_property
def consistent_task_birth_state(step: Step) -> Iterator[str]:
    """A task is born pending and armed, acquired with a lease, or fulfilled and cleared."""
    for task in step.tasks.born:
        pending = task.state is TaskState.PENDING and task.retry_at is not None
        acquired = task.state is TaskState.ACQUIRED and task.version >= 1 and _is_leased(task)
        fulfilled = task.state is TaskState.FULFILLED and is_cleared(task) and not task.resumes
        if not (pending or acquired or fulfilled):
            yield subject("task", task.id)


@of_every_task_change
def consistent_task_lease_released_atomically(old: Task, new: Task) -> bool:
    """A task that is no longer acquired has lost its lease and kept its version."""
    leaving = old.state is TaskState.ACQUIRED and new.state is not TaskState.ACQUIRED
    return not leaving or (_lease(new) == (None, None, None) and new.version == old.version)


@of_every_task_change
def preserved_task_lease_holder_stable(old: Task, new: Task) -> bool:
    """A task keeps its holder and ttl under one version."""
    held = old.state is new.state is TaskState.ACQUIRED and old.version == new.version
    return not held or (old.pid, old.ttl) == (new.pid, new.ttl)


@of_every_task_change
def consistent_task_lease_fields_move_together(old: Task, new: Task) -> bool:
    """The fields of a lease are set and cleared together; only expiresAt moves alone."""
    if (old.pid, old.ttl) == (new.pid, new.ttl):
        return (old.expires_at is None) == (new.expires_at is None)
    none = (None, None, None)
    return (_lease(old) == none and _is_leased(new)) or (_is_leased(old) and _lease(new) == none)


@of_every_task_change
def monotone_task_resumes_grow_or_clear(old: Task, new: Task) -> bool:
    """The resumes of a task grow, or are emptied."""
    return not new.resumes or set(old.resumes) <= set(new.resumes)


@of_every_task_change
def consistent_task_resumes_cleared_only_on_dispatch_or_park(old: Task, new: Task) -> bool:
    """The resumes of a task are emptied only where it is acquired, suspended or fulfilled."""
    return not old.resumes or bool(new.resumes) or new.state in _PARKED


@transition_property
def preserved_no_dead_dispatch(step: Step) -> Iterator[str]:
    """A task does not become pending when its promise is past its deadline."""
    entering = [*step.tasks.born, *(b for a, b in step.tasks.changed if a.state != b.state)]
    for task in entering:
        if task.state is TaskState.PENDING and not _is_alive(step, task.id):
            yield subject("task", task.id)


@transition_property
def preserved_execute_only_for_live_task(step: Step) -> Iterator[str]:
    """A new execute message names a promise that is alive."""
    for message in step.messages.written:
        if isinstance(message, Execute) and not _is_alive(step, message.task_id):
            yield f"execute of task {message.task_id!r}"


@transition_property
def consistent_task_acquisition_is_atomic(step: Step) -> Iterator[str]:
    """An acquisition sets the whole lease, and clears retryAt and resumes."""
    for old, new in step.tasks.changed:
        if _is_acquisition(old, new):
            leased = new.pid is not None and new.ttl is not None
            if (
                not leased
                or new.expires_at != step.now + (new.ttl or 0)
                or new.retry_at is not None
                or new.resumes
            ):
                yield subject("task", new.id)


@transition_property
def consistent_task_lease_deadline_is_now_plus_ttl(step: Step) -> Iterator[str]:
    """A lease ends at now + ttl, or when it ended before."""
    changed = [*((None, b) for b in step.tasks.born), *step.tasks.changed]
    for old, new in changed:
        if new.expires_at is None or (old is not None and old.expires_at == new.expires_at):
            continue
        if new.ttl is None or new.expires_at != step.now + new.ttl:
            yield subject("task", new.id)


@transition_property
def consistent_task_pending_entry_arms_retry(step: Step) -> Iterator[str]:
    """A task that becomes pending again is due now."""
    for old, new in step.tasks.changed:
        entered = new.state is TaskState.PENDING and old.state is not TaskState.PENDING
        if entered and new.retry_at != step.now:
            yield subject("task", new.id)


@transition_property
def consistent_task_retry_rearm_only_when_due(step: Step) -> Iterator[str]:
    """A pending task is armed again only when it was due."""
    for old, new in _rearmed(step):
        if old.retry_at is None or old.retry_at > step.now:
            yield subject("task", new.id)


@transition_property
def monotone_task_retry_rearm_advances(step: Step) -> Iterator[str]:
    """A pending task is armed again for later than now."""
    for _, new in _rearmed(step):
        if new.retry_at is None or new.retry_at <= step.now:
            yield subject("task", new.id)


@transition_property
def consistent_task_wake_records_resume(step: Step) -> Iterator[str]:
    """A task that wakes says by what, is due now and keeps its version."""
    for old, new in step.tasks.changed:
        woken = old.state is TaskState.SUSPENDED and new.state is TaskState.PENDING
        said = bool(new.resumes) and new.retry_at == step.now and new.version == old.version
        if woken and not said:
            yield subject("task", new.id)


@internal_step_property
def consistent_task_state_edge_internal_admissible(step: Step) -> Iterator[str]:
    """On its own the server neither acquires, suspends, halts nor continues a task."""
    return _wrong_edges(step, INTERNAL_TASK_EDGES)


def _wrong_edges(step: Step, edges: dict[TaskState | None, frozenset[TaskState]]) -> Iterator[str]:
    for task in step.tasks.born:
        if task.state not in edges[None]:
            yield f"task {task.id!r}, born {task.state}"
    for old, new in step.tasks.changed:
        if new.state not in edges[old.state]:
            yield f"task {new.id!r}, {old.state} to {new.state}"


def _is_acquisition(old: Task, new: Task) -> bool:
    return old.state is TaskState.PENDING and new.state is TaskState.ACQUIRED


def _rearmed(step: Step) -> Iterator[tuple[Task, Task]]:
    for old, new in step.tasks.changed:
        if old.state is new.state is TaskState.PENDING and old.retry_at != new.retry_at:
            yield old, new


def _lease(task: Task) -> tuple[str | None, int | None, int | None]:
    return task.pid, task.ttl, task.expires_at


def _is_leased(task: Task) -> bool:
    return None not in _lease(task)


def _is_alive(step: Step, promise_id: str) -> bool:
    promise = step.after.promises.get(promise_id)
    return promise is not None and promise.is_alive(step.now)
