"""Reads executions for the pages: which there are, in what state, and what each waits for.

A row may say pending although its deadline has passed; every status here is projected to ``now``.
"""

import hashlib
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import or_
from typing import Any, NamedTuple, Self

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db.models import (
    Case,
    Count,
    Exists,
    F,
    Func,
    Model,
    OuterRef,
    Q,
    QuerySet,
    TextField,
    Value,
    When,
    Window,
)
from django.db.models.functions import RowNumber, Substr
from django.db.models.lookups import Exact
from django.http import QueryDict

from dashboard.inbox_queries import deciders_of
from dashboard.payloads import PREVIEW_SOURCE, preview
from dashboard.states import BY_SLUG, OPEN, Status, projected, settled_status
from dashboard.waiting import Fleet, Part, Reason, explain
from durable import conf
from durable.models import Callback, Promise, Worker
from durable.protocol import tags
from durable.protocol.states import PromiseState, TaskState

PAGE_SIZE = 50
MAX_WORKERS = 1000
_HIGHEST = chr(0x10FFFF)
_REFUSED = [PromiseState.REJECTED.value, PromiseState.REJECTED_CANCELED.value]
_PAYLOADS = ("param_data", "param_headers", "value_data", "value_headers")


class Tag(Func):
    """A tag of a promise. Tags are text, so that Django's cases for other JSON can be left out."""

    template = "(%(expressions)s ->> '%(tag)s')"
    output_field = TextField()

    def __init__(self, name: str) -> None:
        """``name`` is one of ours, never a visitor's."""
        super().__init__("tags", tag=name)


IS_TIMER = Exact(Tag(tags.TIMER), Value(tags.TRUE))


def rows[M: Model](model: type[M]) -> QuerySet[M]:
    """Return the rows of a model of the engine, in the engine's database."""
    return model._default_manager.using(conf.database_alias())


def key_of(*parts: str) -> str:
    """Return a short name, safe in ids of elements and in query strings."""
    return hashlib.blake2s("\0".join(parts).encode(), digest_size=6).hexdigest()


# --- States ---


def status_of(row: Promise, now: int) -> Status | None:
    """Return the final status of a promise; None while it is pending."""
    seen = projected(row.state, row.timeout_at, now, is_timer=tags.is_timer(row.tags))
    return settled_status(seen)


def end_of(row: Promise, now: int) -> int | None:
    """Return when a promise was settled; None while it is pending."""
    if row.settled_at is not None:
        return row.settled_at
    return row.timeout_at if row.timeout_at <= now else None


def _has_status(status: Status, now: int) -> Q:
    """Match the roots that show this status."""
    pending = Q(state=PromiseState.PENDING.value, timeout_at__gt=now)
    match status:
        case Status.SUCCEEDED:
            return Q(state=PromiseState.RESOLVED.value)
        case Status.FAILED:
            return Q(state=PromiseState.REJECTED.value)
        case Status.CANCELLED:
            return Q(state=PromiseState.REJECTED_CANCELED.value)
        case Status.TIMED_OUT:
            late = Q(state=PromiseState.PENDING.value, timeout_at__lte=now)
            return Q(state=PromiseState.REJECTED_TIMEDOUT.value) | late
        case Status.WAITING:
            others = OPEN[: OPEN.index(Status.WAITING)]
            return reduce(lambda so_far, one: so_far & ~_has_part(one, now), others, pending)
        case _:
            stronger = OPEN[: OPEN.index(status)]
            start = pending & _has_part(status, now)
            return reduce(lambda so_far, one: so_far & ~_has_part(one, now), stronger, start)


def _has_part(status: Status, now: int) -> Q:
    # Not correlated: the open parts of all executions are few beside the settled ones.
    return Q(id__in=_parts(now).filter(category=status.slug).values("origin"))


# --- What is still open in an execution ---


def _category(now: int) -> Case:
    """Say which status a live promise gives to its execution; ``waiting`` only if no other does."""
    return Case(
        When(
            Q(task__stuck__isnull=False) | Q(task__state=TaskState.HALTED.value),
            then=Value(Status.STUCK.slug),
        ),
        When(
            Q(task__state=TaskState.ACQUIRED.value, task__expires_at__gt=now),
            then=Value(Status.RUNNING.slug),
        ),
        When(
            task__state__in=[TaskState.PENDING.value, TaskState.ACQUIRED.value],
            then=Value(Status.QUEUED.slug),
        ),
        When(task__isnull=False, then=Value(Status.WAITING.slug)),
        When(IS_TIMER, then=Value(Status.SLEEPING.slug)),
        default=Value(Status.HUMAN.slug),
        output_field=TextField(),
    )


def _parts(now: int) -> QuerySet[Any]:
    """Live promises; timers and outside answers count only when a task waits for them."""
    is_awaited = Exists(rows(Callback).filter(awaited_id=OuterRef("pk")))
    return (
        # External promises only: the index on deadlines holds exactly these.
        rows(Promise)
        .filter(state=PromiseState.PENDING.value, is_external=True, timeout_at__gt=now)
        .filter(Q(task__isnull=False) | is_awaited)
        .annotate(category=_category(now))
    )


def live_parts(origins: Collection[str], now: int) -> dict[str, dict[Status, Part]]:
    """Return per execution, for every status it has, the first promise with it. One query."""
    if not origins:
        return {}
    kinds = [F("origin"), F("category")]
    # Of several timers the first to end matters, of everything else the oldest.
    first = Case(When(category=Status.SLEEPING.slug, then=F("timeout_at")), default=F("created_at"))
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
            *("id", "origin", "category", "total", "function", "target", "human_task__title"),
            *("created_at", "timeout_at", "task__pid", "task__queue"),
            *("task__not_before", "task__releases", "task__stuck"),
        )
    )
    parts: dict[str, dict[Status, Part]] = {}
    for row in found:
        status = BY_SLUG[row["category"]]
        parts.setdefault(row["origin"], {})[status] = Part(
            id=row["id"],
            status=status,
            total=row["total"],
            function=row["function"] or "",
            title=row["human_task__title"] or "",
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
    names = deciders_of(asked) if asked else {}
    return {
        origin: explain(part, now, fleet, names.get(part.id, ""), awaited.get(origin, ()))
        for origin, part in telling.items()
    }


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


# --- The list ---


@dataclass(frozen=True)
class Filters:
    """What the query string of the list asks for; an empty field asks for everything."""

    statuses: tuple[Status, ...] = ()
    function: str = ""
    prefix: str = ""

    @classmethod
    def parse(cls, query: QueryDict) -> Self:
        """Read a query string; what makes no sense is ignored."""
        chosen = (BY_SLUG.get(slug) for slug in query.getlist("status"))
        return cls(
            tuple(dict.fromkeys(status for status in chosen if status is not None)),
            query.get("function", "").strip(),
            query.get("prefix", "").strip(),
        )

    def __bool__(self) -> bool:
        return bool(self.statuses or self.function or self.prefix)

    def query(self) -> QueryDict:
        """Return the shortest query string that says the same."""
        query = QueryDict(mutable=True)
        query.setlist("status", [status.slug for status in self.statuses])
        for name, value in (("function", self.function), ("prefix", self.prefix)):
            if value:
                query[name] = value
        return query

    def matching(self, now: int) -> Q:
        """Match the executions asked for."""
        found = Q()
        if self.statuses:
            found &= reduce(or_, (_has_status(status, now) for status in self.statuses))
        if self.function:
            found &= Q(function=self.function)
        if self.prefix:
            # A range uses the index on both databases, LIKE does not.
            found &= Q(id__gte=self.prefix, id__lt=self.prefix + _HIGHEST)
        return found


class Cursor(NamedTuple):
    """A place in the list: between two rows, so that new rows do not move it."""

    created_at: int
    id: str

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Read what ``str`` wrote; None for anything else."""
        match = re.fullmatch(r"(\d{1,18})~(.+)", text, re.DOTALL | re.ASCII)
        return cls(int(match[1]), match[2]) if match else None

    @classmethod
    def at(cls, row: Promise) -> Self:
        """Return the place of a row."""
        return cls(row.created_at, row.id)

    def __str__(self) -> str:
        return f"{self.created_at}~{self.id}"

    def older(self) -> Q:
        """Match what comes after this place: the list begins with the newest."""
        # The first condition is implied by the second and lets the index be used.
        return Q(created_at__lte=self.created_at) & (
            Q(created_at__lt=self.created_at) | Q(id__gt=self.id)
        )

    def newer(self) -> Q:
        """Match what comes before this place."""
        return Q(created_at__gte=self.created_at) & (
            Q(created_at__gt=self.created_at) | Q(id__lt=self.id)
        )


@dataclass(frozen=True)
class Execution:
    """A line of the list."""

    id: str
    function: str
    status: Status
    reason: Reason | None
    error: str
    created_at: int
    ended_at: int | None
    duration: int
    started_by: str

    @property
    def key(self) -> str:
        """Return what names this line in the page."""
        return key_of(self.id)


@dataclass(frozen=True)
class Page:
    """A page of the list, and where the neighbouring pages begin; None where there is none."""

    executions: list[Execution] = field(default_factory=list)
    older: Cursor | None = None
    newer: Cursor | None = None


def list_executions(
    filters: Filters, now: int, *, older: Cursor | None = None, newer: Cursor | None = None
) -> Page:
    """Return one page of executions: targeted roots, newest first."""
    roots = (
        rows(Promise)
        .filter(filters.matching(now), is_root=True, task__isnull=False)
        .annotate(
            beginning=Case(When(state__in=_REFUSED, then=Substr("value_data", 1, PREVIEW_SOURCE)))
        )
        .defer(*_PAYLOADS)
        .order_by("-created_at", "id")
    )
    if newer is not None:
        found = list(roots.filter(newer.newer()).order_by("created_at", "-id")[: PAGE_SIZE + 1])
        has_newer, has_older = len(found) > PAGE_SIZE, True
        found = found[:PAGE_SIZE][::-1]
    else:
        found = list((roots.filter(older.older()) if older else roots)[: PAGE_SIZE + 1])
        has_newer, has_older = older is not None, len(found) > PAGE_SIZE
        found = found[:PAGE_SIZE]
    return Page(
        _lines(found, now),
        Cursor.at(found[-1]) if found and has_older else None,
        Cursor.at(found[0]) if found and has_newer else None,
    )


def _lines(roots: Sequence[Promise], now: int) -> list[Execution]:
    why = reasons(roots, now)
    starters = names_of_starters(root.started_by for root in roots)
    lines = []
    for root in roots:
        reason = why.get(root.id)
        final = status_of(root, now)
        ended_at = end_of(root, now)
        lines.append(
            Execution(
                id=root.id,
                function=root.function or "",
                # Nothing open in a pending execution: it is between two commits of ours.
                status=final or (reason.status if reason else Status.WAITING),
                reason=reason,
                error=preview(getattr(root, "beginning", None), is_error=True),
                created_at=root.created_at,
                ended_at=ended_at,
                duration=(now if ended_at is None else ended_at) - root.created_at,
                started_by=starters.get(root.started_by or "", ""),
            )
        )
    return lines


def names_of_starters(starters: Iterable[str | None]) -> dict[str, str]:
    """Return names for ``user:<id>``, ``token:<name>`` and ``worker:<pid>``. One query at most."""
    known = {starter for starter in starters if starter}
    user_ids = {starter.removeprefix("user:") for starter in known if starter.startswith("user:")}
    users = {}
    if ids := [number for number in map(_primary_key, user_ids) if number is not None]:
        found = get_user_model()._default_manager.filter(pk__in=ids)
        users = {f"user:{user.pk}": user.get_username() for user in found}
    return {starter: users.get(starter) or starter.replace(":", " ", 1) for starter in known}


def _primary_key(text: str) -> Any:
    try:
        return get_user_model()._meta.pk.to_python(text)
    except (ValidationError, ValueError):
        return None


def find_root(promise_id: str) -> tuple[Promise, Promise] | None:
    """Return the promise with this id and the root of its call tree, which may be itself."""
    found = {
        row.id: row
        for row in rows(Promise)
        .select_related("task")
        .filter(Q(id=promise_id) | Q(id__in=rows(Promise).filter(id=promise_id).values("origin")))
    }
    if promise_id not in found:
        return None
    row = found[promise_id]
    return row, found.get(row.origin, row)
