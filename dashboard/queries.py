"""Reads executions for the pages: which there are, in what state, and what each waits for.

A row may say pending although its deadline has passed; every status here is projected to ``now``.
"""

import hashlib
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db.models import (
    Case,
    Count,
    Exists,
    F,
    Func,
    IntegerField,
    Min,
    Model,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    TextField,
    Value,
    When,
    Window,
)
from django.db.models.functions import Coalesce, RowNumber, Substr
from django.db.models.lookups import Exact
from django.http import QueryDict

from dashboard.inbox_queries import deciders_of
from dashboard.models import HumanTask
from dashboard.payloads import PREVIEW_SOURCE, preview
from dashboard.people import name_of, starter_id, starter_of
from dashboard.states import BY_SLUG, OPEN, SETTLED, Status, projected, settled_status
from dashboard.waiting import Fleet, Part, Reason, explain
from durable import conf
from durable.models import Callback, Promise, Task, Worker
from durable.models.fields import IsTargeted
from durable.protocol import tags
from durable.protocol.states import PromiseState, TaskState

PAGE_SIZE = 50
INTERNAL = "signoff."
"""How the functions of these pages' own begin: they watch questions, and send messages."""
MAX_WORKERS = 1000
_HIGHEST = chr(0x10FFFF)
_PREFIX_LIMIT = 5000
_REFUSED = [PromiseState.REJECTED.value, PromiseState.REJECTED_CANCELED.value]
_PLACES = {status: place for place, status in enumerate(OPEN)}
_HOLDS_UP = Q(task__stuck__isnull=False) | Q(task__state=TaskState.HALTED.value)
_AWAITS_WORKER = [TaskState.PENDING.value, TaskState.ACQUIRED.value]
# The tasks that may give a status to their execution, each condition that of an index.
_TASKS = {
    Status.STUCK: [Q(stuck__isnull=False) | Q(state=TaskState.HALTED.value)],
    Status.RUNNING: [Q(state=TaskState.ACQUIRED.value)],
    Status.QUEUED: [Q(state=state) for state in _AWAITS_WORKER],
}
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


# --- What is still open in an execution ---


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


def titles_of(promise_ids: Collection[str]) -> dict[str, str]:
    """Return the titles of questions. One query: joined to many promises, all titles are read."""
    return dict(rows(HumanTask).filter(pk__in=promise_ids).values_list("pk", "title"))


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
    internal: bool = False

    @classmethod
    def parse(cls, query: QueryDict) -> Self:
        """Read a query string; what makes no sense is ignored."""
        chosen = (BY_SLUG.get(slug) for slug in query.getlist("status"))
        return cls(
            tuple(dict.fromkeys(status for status in chosen if status is not None)),
            query.get("function", "").strip(),
            query.get("prefix", "").strip(),
            internal=query.get("internal") == "1",
        )

    def __bool__(self) -> bool:
        return bool(self.statuses or self.function or self.prefix or self.internal)

    @property
    def hides_internal(self) -> bool:
        """Whether executions of these pages' own are left out: unless they are asked for."""
        is_asked_for = self.function.startswith(INTERNAL) or self.prefix.startswith(INTERNAL)
        return not (self.internal or is_asked_for)

    def query(self) -> QueryDict:
        """Return the shortest query string that says the same."""
        query = QueryDict(mutable=True)
        query.setlist("status", [status.slug for status in self.statuses])
        for name, value in (("function", self.function), ("prefix", self.prefix)):
            if value:
                query[name] = value
        if self.internal:
            query["internal"] = "1"
        return query


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
    if newer is not None:
        found = _first(filters, now, newer.newer(), is_newest_last=True)
        has_newer, has_older = len(found) > PAGE_SIZE, True
        found = found[:PAGE_SIZE][::-1]
    else:
        found = _first(filters, now, older.older() if older else Q())
        has_newer, has_older = older is not None, len(found) > PAGE_SIZE
        found = found[:PAGE_SIZE]
    return Page(
        _lines(found, now),
        Cursor.at(found[-1]) if found and has_older else None,
        Cursor.at(found[0]) if found and has_newer else None,
    )


def _first(filters: Filters, now: int, place: Q, *, is_newest_last: bool = False) -> list[Promise]:
    """Return the first executions from a place on, one more than a page has.

    A query for each way to match: each goes along an index that has its executions in order, which
    the database does not do for all in one.
    """
    roots = (
        # As the indexes of executions have it: roots that have a task.
        rows(Promise)
        .filter(place, IsTargeted("tags"), is_root=True)
        .annotate(
            beginning=Case(When(state__in=_REFUSED, then=Substr("value_data", 1, PREVIEW_SOURCE)))
        )
        .defer(*_PAYLOADS)
        .order_by(*(("created_at", "-id") if is_newest_last else ("-created_at", "id")))
    )
    if filters.hides_internal:
        roots = roots.exclude(function__startswith=INTERNAL)
    chosen = _beginning_with(filters.prefix, roots) if filters.prefix else roots
    # What ends between two queries is found in two ways, and the later one counts.
    ways = (way[: PAGE_SIZE + 1] for way in _ways(filters, now, chosen))
    found = list({row.id: row for way in ways for row in way}.values())
    # By the second key and then, in an order that keeps equals as they are, by the first.
    found.sort(key=lambda row: row.id, reverse=is_newest_last)
    found.sort(key=lambda row: row.created_at, reverse=not is_newest_last)
    return found[: PAGE_SIZE + 1]


def _beginning_with(prefix: str, roots: QuerySet[Promise]) -> QuerySet[Promise]:
    """Leave the executions whose ids begin in some way: few are looked up.

    Of many we go along the list until the page is full: far, when all of them are old.
    """
    # A range uses the index on both databases, LIKE does not.
    found = rows(Promise).filter(id__gte=prefix, id__lt=prefix + _HIGHEST).order_by("id")
    few = list(found.values_list("id", "is_root")[: _PREFIX_LIMIT + 1])
    if len(few) <= _PREFIX_LIMIT:
        return roots.filter(id__in=[promise_id for promise_id, is_root in few if is_root])
    # Not a range, for which SQLite would leave the order and sort them all.
    return roots.alias(start=Substr("id", 1, len(prefix))).filter(start=prefix)


def _ways(filters: Filters, now: int, roots: QuerySet[Promise]) -> Iterator[QuerySet[Promise]]:
    """Yield the ways to be what the filters ask for, in the order in which executions pass them."""
    if not filters.statuses and not filters.function:
        yield roots
        return
    if filters.function:
        roots = roots.filter(function=filters.function)
    wanted = filters.statuses or tuple(Status)
    pending = roots.filter(state=PromiseState.PENDING.value)
    places = [_PLACES[status] for status in wanted if status in _PLACES]
    if len(places) == len(OPEN):
        yield pending.filter(timeout_at__gt=now)
    elif places:
        yield _showing(places, pending, now)
    if Status.TIMED_OUT in wanted:
        late = rows(Promise).filter(
            state=PromiseState.PENDING.value, is_external=True, timeout_at__lte=now
        )
        yield pending.filter(id__in=late.values("id"))
    for state, status in SETTLED.items():
        if status in wanted:
            yield roots.filter(state=state.value)


def _showing(places: Collection[int], pending: QuerySet[Promise], now: int) -> QuerySet[Promise]:
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
    found = pending.filter(timeout_at__gt=now).alias(shown=shown).filter(shown__in=places)
    tasks = [_TASKS[OPEN[place]] for place in places if OPEN[place] in _TASKS]
    if len(tasks) < len(places):
        return found
    # What makes these is rare beside what is parked: begin there.
    first, *others = (
        rows(Task).filter(one).values("promise__origin") for some in tasks for one in some
    )
    return found.filter(id__in=first.union(*others) if others else first)


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
    user_ids = {key for starter in known if (key := starter_id(starter)) is not None}
    users = {}
    if ids := [number for number in map(_primary_key, user_ids) if number is not None]:
        found = get_user_model()._default_manager.filter(pk__in=ids)
        users = {starter_of(user): name_of(user) for user in found}
    return {starter: users.get(starter) or starter.replace(":", " ", 1) for starter in known}


def _primary_key(text: str) -> Any:
    try:
        return get_user_model()._meta.pk.to_python(text)
    except (ValidationError, ValueError):
        return None


def find_root(promise_id: str) -> tuple[Promise, Promise] | None:
    """Return the promise with this id and the root of its call tree, which may be itself."""
    # One after the other: either condition has its index, together they have none.
    found = rows(Promise).select_related("task")
    row = found.filter(id=promise_id).first()
    if row is None:
        return None
    root = row if row.origin == row.id else found.filter(id=row.origin).first()
    return row, root or row
