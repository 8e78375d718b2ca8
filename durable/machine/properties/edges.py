"""The edges that promises and tasks may take (protocol.md 4.2 and 4.3). None is "not there yet"."""

from durable.machine.state import Promise, deadline_verdict
from durable.protocol.states import SETTLEABLE, PromiseState, TaskState

TASK_EDGES: dict[TaskState | None, frozenset[TaskState]] = {
    None: frozenset({TaskState.PENDING, TaskState.ACQUIRED, TaskState.FULFILLED}),
    TaskState.PENDING: frozenset(
        {TaskState.PENDING, TaskState.ACQUIRED, TaskState.HALTED, TaskState.FULFILLED}
    ),
    TaskState.ACQUIRED: frozenset(TaskState),
    TaskState.SUSPENDED: frozenset(
        {TaskState.SUSPENDED, TaskState.PENDING, TaskState.HALTED, TaskState.FULFILLED}
    ),
    TaskState.HALTED: frozenset({TaskState.HALTED, TaskState.PENDING, TaskState.FULFILLED}),
    TaskState.FULFILLED: frozenset({TaskState.FULFILLED}),
}

INTERNAL_TASK_EDGES: dict[TaskState | None, frozenset[TaskState]] = {
    None: frozenset({TaskState.PENDING, TaskState.FULFILLED}),
    TaskState.PENDING: frozenset({TaskState.PENDING, TaskState.FULFILLED}),
    TaskState.ACQUIRED: frozenset({TaskState.PENDING, TaskState.ACQUIRED, TaskState.FULFILLED}),
    TaskState.SUSPENDED: frozenset({TaskState.PENDING, TaskState.SUSPENDED, TaskState.FULFILLED}),
    TaskState.HALTED: frozenset({TaskState.HALTED, TaskState.FULFILLED}),
    TaskState.FULFILLED: frozenset({TaskState.FULFILLED}),
}


def is_promise_edge(old: PromiseState | None, promise: Promise) -> bool:
    """Whether any step may bring a promise from ``old`` to where it is."""
    if old is PromiseState.PENDING and promise.state in SETTLEABLE:
        return True
    return is_internal_promise_edge(old, promise)


def is_internal_promise_edge(old: PromiseState | None, promise: Promise) -> bool:
    """Whether a step of the server's own may: only the deadline settles there."""
    if old is None or old is PromiseState.PENDING:
        return promise.state in {PromiseState.PENDING, deadline_verdict(promise.tags)}
    return promise.state is old
