"""What is still open in executions: it gives them their status, and says why they do not move."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from django.db.models import (
    Case,
    Count,
    Exists,
    F,
    IntegerField,
    Min,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    When,
    Window,
)
from django.db.models.functions import Coalesce, RowNumber

from dashboard.inbox_queries import deciders_of
from dashboard.queries import IS_TIMER, Tag, rows, status_of, titles_of
from dashboard.states import OPEN, Status
from dashboard.waiting import Fleet, Part, Reason, explain
from durable import conf
from durable.models import Callback, Promise, Task, Worker
from durable.protocol import tags
from durable.protocol.states import PromiseState, TaskState

MAX_WORKERS = 1000

_PLACES = {status: place for place, status in enumerate(OPEN)}
_HOLDS_UP = Q(task__stuck__isnull=False) | Q(task__state=TaskState.HALTED.value)
_AWAITS_WORKER = [TaskState.PENDING.value, TaskState.ACQUIRED.value]
# The tasks that may give a status to their execution, each condition that of an index.
_TASKS = {
    Status.STUCK: [Q(stuck__isnull=False) | Q(state=TaskState.HALTED.value)],
    Status.RUNNING: [Q(state=TaskState.ACQUIRED.value)],
    Status.QUEUED: [Q(state=state) for state in _AWAITS_WORKER],
}


def _place(now: int) -> Case:
    """Say which status a live promise gives to its execution, by its place in ``OPEN``."""
    return Case(
        When(_HOLDS_UP, then=_PLACES[Status.STUCK]),
        When(
            Q(task__state=TaskState.ACQUIRED.value, task__expires_at__gt=now),
            then=_PLACES[Status.RUNNING],
        ),
        When(task__state__in=_AWAITS_WORKER, then=_PLACES[Status.QUEUED]),
        When(task__isnull=False, then=_PLACES[Status.WAITING]),
        When(IS_TIMER, then=_PLACES[Status.SLEEPING]),
        default=_PLACES[Status.HUMAN],
        output_field=IntegerField(),
    )


def _parts(now: int) -> QuerySet[Any]:
    """Live promises; timers and outside answers count only when a task waits for them."""
    is_awaited = Exists(rows(Callback).filter(awaited_id=OuterRef("pk")))
    return (
        # External promises only: the index of what is open holds exactly these.
        rows(Promise)
        .filter(state=PromiseState.PENDING.value, is_external=True, timeout_at__gt=now)
        .filter(Q(task__isnull=False) | is_awaited)
        .annotate(kind=_place(now))
    )


def live_parts(origins: Collection[str], now: int) -> dict[str, dict[Status, Part]]:
    """Return per execution, for every status it has, the first promise with it. One query."""
    if not origins:
        return {}
    kinds = [F("origin"), F("kind")]
    # Of several timers the first to end matters, of everything else the oldest.
    sleeping = _PLACES[Status.SLEEPING]
    first = Case(When(kind=sleeping, then=F("timeout_at")), default=F("created_at"))
    found = (
        _parts(now)
        .filter(origin__in=origins)
        .annotate(
            place=Window(RowNumber(), partition_by=kinds, order_by=[first.asc(), F("id").asc()]),
            total=Window(Count("id"), partition_by=kinds),
            target=Tag(tags.TARGET),
        )
        .filter(place=1)
        .values(
            *("id", "origin", "kind", "total", "function", "target"),
            *("created_at", "timeout_at", "task__pid", "task__queue"),
            *("task__not_before", "task__releases", "task__stuck"),
        )
    )
    parts: dict[str, dict[Status, Part]] = {}
    for row in found:
        status = OPEN[row["kind"]]
        parts.setdefault(row["origin"], {})[status] = Part(
            id=row["id"],
            status=status,
            total=row["total"],
            function=row["function"] or "",
            created_at=row["created_at"],
            timeout_at=row["timeout_at"],
            target=row["target"] or "",
            queue=row["task__queue"],
            pid=row["task__pid"] or "",
            not_before=row["task__not_before"] or 0,
            releases=row["task__releases"] or 0,
            stuck=row["task__stuck"] or "",
        )
    return parts


def reasons(roots: Iterable[Promise], now: int) -> dict[str, Reason]:
    """Return for every open execution its status and why it does not move.

    A fixed number of queries, however many executions and however large: their open parts, whom the
    waiting ones wait for, the workers, and who may answer.
    """
    parts = live_parts([root.id for root in roots if status_of(root, now) is None], now)
    telling = {origin: most_telling(found) for origin, found in parts.items()}
    awaited = awaited_by(_those(telling, Status.WAITING))
    needs_fleet = _those(telling, Status.RUNNING, Status.QUEUED)
    fleet = read_fleet(now) if needs_fleet else Fleet()
    asked = [telling[origin].id for origin in _those(telling, Status.HUMAN)]
    names, titles = (deciders_of(asked), titles_of(asked)) if asked else ({}, {})
    return {
        origin: explain(
            part._replace(title=titles.get(part.id, "")),
            now,
            fleet,
            names.get(part.id, ""),
            awaited.get(origin, ()),
        )
        for origin, part in telling.items()
    }


def showing(
    statuses: Collection[Status], pending: QuerySet[Promise], now: int
) -> QuerySet[Promise]:
    """Leave the executions that show one of some open statuses, which the first of theirs is."""
    # Asked for one execution after the other, until there are enough for a page.
    strongest = (
        _parts(now)
        .filter(origin=OuterRef("id"))
        .order_by()
        .values("origin")
        .annotate(place=Min("kind"))
        .values("place")
    )
    # Nothing open in a pending execution: it is between two commits of ours.
    shown = Coalesce(Subquery(strongest), _PLACES[Status.WAITING], output_field=IntegerField())
    places = [_PLACES[one] for one in statuses]
    found = pending.filter(timeout_at__gt=now).alias(shown=shown).filter(shown__in=places)
    tasks = [_TASKS[one] for one in statuses if one in _TASKS]
    if len(tasks) < len(statuses):
        return found
    # What makes these is rare beside what is parked: begin there.
    first, *others = (
        rows(Task).filter(one).values("promise__origin") for some in tasks for one in some
    )
    return found.filter(id__in=first.union(*others) if others else first)


def most_telling(parts: Mapping[Status, Part]) -> Part:
    """Return the part whose status the execution shows."""
    return next(parts[status] for status in OPEN if status in parts)


def _those(telling: Mapping[str, Part], *statuses: Status) -> list[str]:
    return [origin for origin, part in telling.items() if part.status in statuses]


def awaited_by(task_ids: Collection[str], limit: int = 200) -> dict[str, list[str]]:
    """Return the ids that tasks wait for, by task. One query."""
    if not task_ids:
        return {}
    awaited: dict[str, list[str]] = {}
    pairs = rows(Callback).filter(awaiter_id__in=task_ids).order_by("awaiter_id", "awaited_id")
    for awaiter, one in pairs.values_list("awaiter_id", "awaited_id")[:limit]:
        awaited.setdefault(awaiter, []).append(one)
    return awaited


def read_fleet(now: int) -> Fleet:
    """Read the workers that were seen last. One query."""
    return Fleet(rows(Worker).order_by("-seen_at")[:MAX_WORKERS], now=now, patience=conf.lease_ms())
