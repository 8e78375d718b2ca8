"""Properties of every task in every state, and the gap that the door closes."""

from collections.abc import Iterator

from durable.machine.properties.catalogue import known_gap, of_every_task, subject
from durable.machine.state import ServerState, Task
from durable.protocol.states import TaskState


@of_every_task
def well_formed_task_acquired_iff_has_pid(task: Task) -> bool:
    """A task has a pid if and only if it is acquired."""
    return (task.state is TaskState.ACQUIRED) == (task.pid is not None)


@of_every_task
def well_formed_task_acquired_iff_has_ttl(task: Task) -> bool:
    """A task has a ttl if and only if it is acquired."""
    return (task.state is TaskState.ACQUIRED) == (task.ttl is not None)


@of_every_task
def well_formed_task_acquired_iff_has_expires_at(task: Task) -> bool:
    """A task has an expiresAt if and only if it is acquired."""
    return (task.state is TaskState.ACQUIRED) == (task.expires_at is not None)


@of_every_task
def well_formed_task_pending_iff_has_retry_at(task: Task) -> bool:
    """A task has a retryAt if and only if it is pending."""
    return (task.state is TaskState.PENDING) == (task.retry_at is not None)


@of_every_task
def well_formed_task_fulfilled_is_cleared(task: Task) -> bool:
    """A fulfilled task has no pid, ttl, expiresAt, retryAt or resumes."""
    return task.state is not TaskState.FULFILLED or (is_cleared(task) and not task.resumes)


@of_every_task
def well_formed_task_suspended_is_cleared(task: Task) -> bool:
    """A suspended task has no pid, ttl, expiresAt or retryAt."""
    return task.state is not TaskState.SUSPENDED or is_cleared(task)


@of_every_task
def well_formed_task_halted_is_cleared(task: Task) -> bool:
    """A halted task has no pid, ttl, expiresAt or retryAt."""
    return task.state is not TaskState.HALTED or is_cleared(task)


@of_every_task
def well_formed_task_suspended_has_no_resumes(task: Task) -> bool:
    """A suspended task has no resumes."""
    return task.state is not TaskState.SUSPENDED or not task.resumes


@of_every_task
def well_formed_task_resumes_unique(task: Task) -> bool:
    """An awaited promise resumes a task once."""
    return len(set(task.resumes)) == len(task.resumes)


@of_every_task
def well_formed_task_acquired_version_positive(task: Task) -> bool:
    """An acquired task has a version of at least 1."""
    return task.state is not TaskState.ACQUIRED or task.version >= 1


@known_gap
def well_formed_task_ttl_positive(state: ServerState, _now: int) -> Iterator[str]:
    """A lease lasts at least 1 ms."""
    for task in state.tasks.values():
        if task.ttl is not None and task.ttl < 1:
            yield subject("task", task.id)


def is_cleared(task: Task) -> bool:
    """Whether neither a lease nor a retry is armed."""
    return (
        task.pid is None and task.ttl is None and task.expires_at is None and task.retry_at is None
    )
