"""Promises that a worker may want to know already (protocol.md 3.19), and a claim's history."""

from collections.abc import Iterable, Mapping

from django.db.backends.base.base import BaseDatabaseWrapper
from msgspec.structs import replace

from durable.protocol import tags
from durable.protocol.records import PromiseRecord
from durable.protocol.requests import (
    ALREADY_SETTLED,
    OK,
    Reply,
    Request,
    TaskAcquire,
    TaskCreate,
    TaskFence,
    TaskSuspend,
)
from durable.protocol.states import TaskState
from durable.store import rows, statements
from durable.store.base import Program
from durable.store.dialects import encode_list, get_dialect
from durable.store.overlay import Overlay


def fetch_history(
    connection: BaseDatabaseWrapper, origins: Mapping[str, str], *, now: int
) -> dict[str, list[PromiseRecord]]:
    """Return, for each task id, all promises that its replay asks for, ordered by id.

    ``origins`` maps task ids to the origin of their lineage.
    """
    if not origins:
        return {}
    dialect = get_dialect(connection)
    wanted = encode_list((origin, task_id) for task_id, origin in origins.items())
    found = history_of(dialect.fetch(connection, statements.LOAD_HISTORY, (wanted,)), now=now)
    return {task_id: found.get(task_id, []) for task_id in origins}


def history_of(found: Iterable[rows.Row], *, now: int) -> dict[str, list[PromiseRecord]]:
    """Sort the rows of ``LOAD_HISTORY`` by task."""
    history: dict[str, list[PromiseRecord]] = {}
    for row in found:
        history.setdefault(row[0], []).append(rows.to_promise(row[1:]).record(now))
    return history


def fill_preload(
    connection: BaseDatabaseWrapper,
    overlay: Overlay,
    program: Program,
    replies: list[Reply],
    *,
    now: int,
) -> list[Reply]:
    """Add to each reply that carries one the local children of its task; after the flush."""
    wanted = {
        task_id: overlay.lineages[task_id].origin
        for task_id in _tasks(zip(program.requests, replies, strict=True))
        if _branch_of(overlay, task_id) is not None
    }
    history = fetch_history(connection, wanted, now=now)
    return [
        replace(reply, preload=tuple(_local(overlay, task_id, history[task_id])))
        if (task_id := _task_of(request, reply)) in wanted
        else reply
        for request, reply in zip(program.requests, replies, strict=True)
    ]


def _tasks(answered: Iterable[tuple[Request, Reply]]) -> list[str]:
    return [task_id for request, reply in answered if (task_id := _task_of(request, reply))]


def _task_of(request: Request, reply: Reply) -> str:
    """Return the task whose children the reply shows; empty when it shows none."""
    match request:
        case TaskCreate() if (
            reply.status == OK and reply.task and reply.task.state is TaskState.ACQUIRED
        ):
            return request.action.id
        case TaskAcquire() | TaskFence() if reply.status == OK:
            return request.id
        case TaskSuspend() if reply.status == ALREADY_SETTLED:
            return request.id
        case _:
            return ""


def _branch_of(overlay: Overlay, task_id: str) -> str | None:
    promise = overlay.promise(task_id)
    return None if promise is None else promise.tags.get(tags.BRANCH)


def _local(overlay: Overlay, task_id: str, history: list[PromiseRecord]) -> list[PromiseRecord]:
    branch = _branch_of(overlay, task_id)
    return [one for one in history if one.tags.get(tags.BRANCH) == branch and one.id != task_id]
