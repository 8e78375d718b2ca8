"""The list of executions: what it is narrowed to, a page of it, and the places between pages."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Self

from django.db.models import Case, Q, QuerySet, When
from django.db.models.functions import Substr
from django.http import QueryDict

from dashboard.open_parts import reasons, showing
from dashboard.payloads import PREVIEW_SOURCE, preview
from dashboard.queries import end_of, key_of, names_of_starters, rows, status_of
from dashboard.states import BY_SLUG, OPEN, SETTLED, Status
from dashboard.waiting import Reason
from durable.models import Promise
from durable.models.fields import IsTargeted
from durable.protocol.states import PromiseState

PAGE_SIZE = 50
INTERNAL = "signoff."
"""How the functions of these pages' own begin: they watch questions, and send messages."""

_HIGHEST = chr(0x10FFFF)
_PREFIX_LIMIT = 5000
_REFUSED = [PromiseState.REJECTED.value, PromiseState.REJECTED_CANCELED.value]
_PAYLOADS = ("param_data", "param_headers", "value_data", "value_headers")


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
    still_open = [status for status in wanted if status in OPEN]
    if len(still_open) == len(OPEN):
        yield pending.filter(timeout_at__gt=now)
    elif still_open:
        yield showing(still_open, pending, now)
    if Status.TIMED_OUT in wanted:
        late = rows(Promise).filter(
            state=PromiseState.PENDING.value, is_external=True, timeout_at__lte=now
        )
        yield pending.filter(id__in=late.values("id"))
    for state, status in SETTLED.items():
        if status in wanted:
            yield roots.filter(state=state.value)


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
