"""Reads one execution's head and one step's details."""

from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _

from dashboard.masking import mask_tags, secrets_of
from dashboard.open_parts import awaited_by, reasons
from dashboard.payloads import NOTHING, Failure, Payload, call_of, decode, failure_of
from dashboard.queries import end_of, names_of_starters, rows, status_of
from dashboard.states import Kind, Status, pending_status
from dashboard.waiting import Fleet, Reason, Run
from durable.models import Promise, Task
from durable.protocol import tags
from durable.protocol.states import PromiseState


@dataclass(frozen=True)
class Header:
    """What the top of an execution's page says."""

    id: str
    function: str
    status: Status
    reason: Reason | None
    failure: Failure | None
    failed_step: Promise | None
    created_at: int
    ended_at: int | None
    duration: int
    deadline: int
    started_by: str
    target: str
    schedule: str

    @property
    def is_open(self) -> bool:
        """Whether it still goes on."""
        return self.ended_at is None


@dataclass(frozen=True)
class Detail:
    """What the panel beside the tree says about one step."""

    id: str
    name: str
    kind: Kind
    status: Status
    created_at: int
    started_at: int
    ended_at: int | None
    duration: int
    deadline: int | None = None
    attempts: int = 1
    last_error: str = ""
    host: str = ""
    task: Task | None = None
    awaits: tuple[str, ...] = ()
    arguments: tuple[list[Any], dict[str, Any]] | None = None
    param: Payload = NOTHING
    value: Payload = NOTHING
    failure: Failure | None = None
    tags: tuple[tuple[str, str], ...] = ()
    is_stored: bool = True

    @property
    def is_open(self) -> bool:
        """Whether it still goes on."""
        return self.ended_at is None

    @property
    def args(self) -> Payload:
        """Return the positional arguments of a call."""
        return Payload(is_empty=not self._call[0], is_json=True, value=self._call[0])

    @property
    def kwargs(self) -> Payload:
        """Return the keyword arguments of a call."""
        return Payload(is_empty=not self._call[1], is_json=True, value=self._call[1])

    @property
    def _call(self) -> tuple[list[Any], dict[str, Any]]:
        return self.arguments or ([], {})


def read_header(root: Promise, now: int) -> Header:
    """Return the head of an execution. Seven queries at most."""
    final = status_of(root, now)
    reason = reasons([root], now).get(root.id) if final is None else None
    ended_at = end_of(root, now)
    is_error = final in {Status.FAILED, Status.CANCELLED}
    return Header(
        id=root.id,
        function=root.function or "",
        status=final or (reason.status if reason else Status.WAITING),
        reason=reason,
        failure=_failure(root, final) if is_error else None,
        failed_step=_failed_step(root) if final is Status.FAILED else None,
        created_at=root.created_at,
        ended_at=ended_at,
        duration=(now if ended_at is None else ended_at) - root.created_at,
        deadline=root.timeout_at,
        started_by=names_of_starters([root.started_by]).get(root.started_by or "", ""),
        target=root.tags.get(tags.TARGET, ""),
        schedule=root.tags.get(tags.SCHEDULE, ""),
    )


def _failure(root: Promise, status: Status | None) -> Failure:
    fallback = _("Cancelled") if status is Status.CANCELLED else _("Failed")
    description = getattr(getattr(root, "human_task", None), "description", None)
    return failure_of(decode(root.value_data, secrets_of(description)), fallback)


def _failed_step(root: Promise) -> Promise | None:
    """Return the step that failed last: what made the execution fail, unless it was caught."""
    return (
        rows(Promise)
        .filter(origin=root.id, state=PromiseState.REJECTED.value)
        .exclude(id=root.id)
        .only("id", "function", "settled_at")
        .order_by("-settled_at", "id")
        .first()
    )


def read_detail(step_id: str, root: Promise, now: int, fleet: Fleet) -> Detail | None:
    """Return the details of a step of an execution; None when it has no such step."""
    found = root if step_id == root.id else _read_step(step_id, root)
    if found is not None:
        return _stored(found, now, fleet)
    running = next((run for run in fleet.runs() if run.promise == step_id), None)
    return None if running is None else _running(running, now)


def _read_step(step_id: str, root: Promise) -> Promise | None:
    found = rows(Promise).select_related("task", "human_task")
    return found.filter(id=step_id, origin=root.id).first()


def _stored(row: Promise, now: int, fleet: Fleet) -> Detail:
    task = getattr(row, "task", None)
    kind = _kind(row, task)
    status = status_of(row, now) or pending_status(kind, task, now)
    ended_at = end_of(row, now)
    started_at = row.started_at or row.created_at
    question = getattr(row, "human_task", None)
    title = getattr(question, "title", "")
    secrets = secrets_of(getattr(question, "description", None))
    param, value = decode(row.param_data), decode(row.value_data, secrets)
    is_error = status in {Status.FAILED, Status.CANCELLED}
    return Detail(
        id=row.id,
        name=title or row.function or str(kind.label),
        kind=kind,
        status=status,
        created_at=row.created_at,
        started_at=started_at,
        ended_at=ended_at,
        duration=(now if ended_at is None else ended_at) - started_at,
        deadline=row.timeout_at,
        attempts=row.attempts or 1,
        last_error=row.last_error or "",
        host=fleet.host(task.pid) if task is not None and task.pid else "",
        task=task if ended_at is None else None,
        awaits=tuple(awaited_by([row.id]).get(row.id, ())) if ended_at is None else (),
        arguments=call_of(param),
        param=param,
        value=NOTHING if is_error else value,
        failure=failure_of(value, str(status.label)) if is_error else None,
        tags=tuple(sorted(mask_tags(row.tags).items())),
    )


def _kind(row: Promise, task: Task | None) -> Kind:
    if task is not None:
        return Kind.CALL
    if tags.is_timer(row.tags):
        return Kind.TIMER
    return Kind.LATENT if row.is_external else Kind.STEP


def _running(run: Run, now: int) -> Detail:
    return Detail(
        id=run.promise,
        name=run.function,
        kind=Kind.STEP,
        status=Status.RUNNING,
        created_at=run.since,
        started_at=run.since,
        ended_at=None,
        duration=now - run.since,
        attempts=run.attempt,
        host=run.host,
        is_stored=False,
    )
