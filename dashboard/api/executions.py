"""Executions for operators: the list, one with its tree and history, its cancellation."""

import datetime as dt
from typing import Annotated, Any

from django.utils.translation import gettext as _
from msgspec import Meta, Struct

from dashboard import cancellation
from dashboard.api.lookups import place_of
from dashboard.api.operations import Call, operation
from dashboard.api.problems import ProblemError, not_found, refuse
from dashboard.api.values import instant, moment
from dashboard.auditing import MAX_REASON
from dashboard.details import read_detail, read_header
from dashboard.execution_history import Place, read_history
from dashboard.execution_list import Cursor, Execution, Filters, list_executions
from dashboard.open_parts import read_fleet
from dashboard.payloads import Failure, Payload
from dashboard.permissions import CANCEL_EXECUTIONS, VIEW_EXECUTIONS, has
from dashboard.queries import find_root
from dashboard.states import BY_SLUG
from dashboard.tree_rows import MAX_OPEN
from dashboard.trees import Line, Pager, View, read_tree
from dashboard.waiting import Reason
from durable.clock import now_ms
from durable.models import Promise


class ExecutionQuery(Struct, forbid_unknown_fields=True):
    """Which executions to list. ``older`` and ``newer`` are those of the page before."""

    status: list[str] = []
    function: str = ""
    prefix: str = ""
    older: str = ""
    newer: str = ""


class Why(Struct):
    """Why an execution does not move: a sentence, and the question that a person can answer."""

    text: str
    since: dt.datetime | None
    until: dt.datetime | None
    at: dt.datetime | None
    human_task: str
    execution: str

    @classmethod
    def of(cls, reason: Reason | None) -> "Why | None":
        """Return it; None for an execution that is over."""
        if reason is None:
            return None
        return cls(
            str(reason.text),
            instant(reason.since),
            instant(reason.until),
            instant(reason.at),
            reason.answer,
            reason.execution,
        )


class ExecutionLine(Struct):
    """An execution as the list shows it."""

    id: str
    function: str
    status: str
    why: Why | None
    error: str
    created_at: dt.datetime
    ended_at: dt.datetime | None
    duration_ms: int
    started_by: str

    @classmethod
    def of(cls, one: Execution) -> "ExecutionLine":
        """Return the line of an execution."""
        return cls(
            id=one.id,
            function=one.function,
            status=one.status.slug,
            why=Why.of(one.reason),
            error=one.error,
            created_at=moment(one.created_at),
            ended_at=instant(one.ended_at),
            duration_ms=one.duration,
            started_by=one.started_by,
        )


class ExecutionPage(Struct):
    """A page of executions, newest first, and where the neighbouring pages begin."""

    items: list[ExecutionLine]
    older: str
    newer: str


class Error(Struct):
    """An error as a worker reported it."""

    name: str
    message: str
    trace: str

    @classmethod
    def of(cls, failure: Failure | None) -> "Error | None":
        """Return it; None when there is none."""
        return None if failure is None else cls(failure.name, failure.message, failure.trace)


class ExecutionShown(Struct):
    """The head of an execution."""

    id: str
    function: str
    status: str
    why: Why | None
    error: Error | None
    failed_step: str
    created_at: dt.datetime
    ended_at: dt.datetime | None
    deadline: dt.datetime
    duration_ms: int
    started_by: str
    target: str
    schedule: str


class Stored(Struct):
    """A payload: JSON in ``value``, or ``text`` that is none; secrets of questions are masked."""

    is_empty: bool
    is_json: bool
    value: Any
    text: str

    @classmethod
    def of(cls, payload: Payload) -> "Stored":
        """Return a payload."""
        return cls(payload.is_empty, payload.is_json, payload.value, payload.text)


class Step(Struct):
    """What is known of one step of an execution."""

    id: str
    name: str
    kind: str
    status: str
    created_at: dt.datetime
    started_at: dt.datetime
    ended_at: dt.datetime | None
    deadline: dt.datetime | None
    duration_ms: int
    attempts: int
    last_error: str
    host: str
    awaits: list[str]
    param: Stored
    value: Stored
    error: Error | None
    tags: dict[str, str]


class TreeQuery(Struct, forbid_unknown_fields=True):
    """What is open beside what is open by itself, by the keys of lines; ``shut`` closes lines.

    ``parent`` and ``offset`` turn the pages of the lines below one.
    """

    open: Annotated[list[str], Meta(max_length=MAX_OPEN)] = []
    shut: list[str] = []
    parent: str = ""
    offset: Annotated[int, Meta(ge=0, lt=10**9)] = 0


class TreeLine(Struct):
    """A line of the call tree; a group stands for many siblings of one name."""

    key: str
    depth: int
    name: str
    kind: str
    status: str
    is_group: bool
    is_open: bool
    has_children: bool
    count: int
    started_at: dt.datetime | None
    ended_at: dt.datetime | None


class PagedLines(Struct):
    """Where lines below one are left out: the offsets of their neighbouring pages."""

    parent: str
    first: int
    last: int
    total: int
    previous: int | None
    next: int | None


class TreeShown(Struct):
    """The visible part of a call tree, in the order of the page."""

    lines: list[TreeLine]
    pages: list[PagedLines]


class HistoryQuery(Struct, forbid_unknown_fields=True):
    """Of which step, and before which place: the ``older`` of the page before."""

    step: str = ""
    before: str = ""


class HistoryLine(Struct):
    """Something that happened to a promise or a task of an execution."""

    at: dt.datetime
    promise: str
    name: str
    text: str
    detail: str


class HistoryPage(Struct):
    """A page of the history, newest first, and where the next begins."""

    items: list[HistoryLine]
    older: str


class EffectsShown(Struct):
    """What cancelling an execution would end, and what it would not."""

    functions: int
    running: int
    questions: int
    timers: int
    detached: int
    is_more: bool


class ReasonBody(Struct, forbid_unknown_fields=True):
    """Why; it is kept in the audit trail."""

    reason: Annotated[str, Meta(min_length=1, max_length=MAX_REASON)]


@operation(
    "GET",
    "executions",
    query=ExecutionQuery,
    result=ExecutionPage,
    permission=VIEW_EXECUTIONS,
)
def list_all_executions(call: Call) -> ExecutionPage:
    """List executions, newest first."""
    query: ExecutionQuery = call.query
    if unknown := [one for one in query.status if one not in BY_SLUG]:
        refuse("status", _("%(name)s is no status.") % {"name": unknown[0]})
    filters = Filters(
        tuple(dict.fromkeys(BY_SLUG[one] for one in query.status)),
        query.function.strip(),
        query.prefix.strip(),
    )
    page = list_executions(
        filters,
        now_ms(),
        older=place_of("older", query.older, Cursor.parse),
        newer=place_of("newer", query.newer, Cursor.parse),
    )
    items = [ExecutionLine.of(one) for one in page.executions]
    return ExecutionPage(items, str(page.older or ""), str(page.newer or ""))


@operation("GET", "executions/{execution_id}", result=ExecutionShown, permission=VIEW_EXECUTIONS)
def read_execution(_call: Call, execution_id: str) -> ExecutionShown:
    """Show the head of one execution: its state, and why it does not move."""
    return _shown(_root_of(execution_id))


@operation(
    "GET",
    "executions/{execution_id}/tree",
    query=TreeQuery,
    result=TreeShown,
    permission=VIEW_EXECUTIONS,
)
def read_call_tree(call: Call, execution_id: str) -> TreeShown:
    """Show the call tree of one execution, as far as it is open."""
    query: TreeQuery = call.query
    root, now = _root_of(execution_id), now_ms()
    offsets = {query.parent: query.offset} if query.parent else {}
    view = View(frozenset(query.open), frozenset(query.shut), offsets)
    tree = read_tree(root, now, view, read_fleet(now))
    return TreeShown(
        [_tree_line(one) for one in tree.lines if isinstance(one, Line)],
        [
            PagedLines(one.toggle, one.first, one.last, one.total, one.previous, one.next)
            for one in tree.lines
            if isinstance(one, Pager)
        ],
    )


@operation(
    "GET",
    "executions/{execution_id}/steps/{step_id}",
    result=Step,
    permission=VIEW_EXECUTIONS,
)
def read_step(_call: Call, execution_id: str, step_id: str) -> Step:
    """Show one step of an execution with its input and output."""
    root, now = _root_of(execution_id), now_ms()
    detail = read_detail(step_id, root, now, read_fleet(now))
    if detail is None:
        raise not_found()
    return Step(
        id=detail.id,
        name=detail.name,
        kind=detail.kind.slug,
        status=detail.status.slug,
        created_at=moment(detail.created_at),
        started_at=moment(detail.started_at),
        ended_at=instant(detail.ended_at),
        deadline=instant(detail.deadline),
        duration_ms=detail.duration,
        attempts=detail.attempts,
        last_error=detail.last_error,
        host=detail.host,
        awaits=list(detail.awaits),
        param=Stored.of(detail.param),
        value=Stored.of(detail.value),
        error=Error.of(detail.failure),
        tags=dict(detail.tags),
    )


@operation(
    "GET",
    "executions/{execution_id}/history",
    query=HistoryQuery,
    result=HistoryPage,
    permission=VIEW_EXECUTIONS,
)
def list_history(call: Call, execution_id: str) -> HistoryPage:
    """List what happened in one execution, newest first."""
    query: HistoryQuery = call.query
    root = _root_of(execution_id)
    before = place_of("before", query.before, Place.parse)
    page = read_history(root, now_ms(), step=query.step, before=before)
    return HistoryPage(
        [
            HistoryLine(moment(one.at), one.promise_id, one.name, one.text, one.detail)
            for one in page.events
        ],
        str(page.older or ""),
    )


@operation(
    "GET",
    "executions/{execution_id}/effects",
    result=EffectsShown,
    permission=CANCEL_EXECUTIONS,
)
def foresee_cancellation(call: Call, execution_id: str) -> EffectsShown:
    """Say what cancelling an execution would end."""
    return EffectsShown(*cancellation.foresee(_root_for_cancelling(call, execution_id), now_ms()))


@operation(
    "POST",
    "executions/{execution_id}/cancel",
    body=ReasonBody,
    result=ExecutionShown,
    permission=CANCEL_EXECUTIONS,
    refusals=(409,),
)
def cancel_execution(call: Call, execution_id: str) -> ExecutionShown:
    """Cancel an execution with all below it but detached calls."""
    root = _root_for_cancelling(call, execution_id)
    if not (reason := call.body.reason.strip()):
        refuse("reason", _("Say why."))
    if not cancellation.cancel(root, call.actor, reason):
        raise ProblemError(409, _("This is over already."))
    return _shown(_root_of(execution_id))


def _root_of(execution_id: str) -> Promise:
    found = find_root(execution_id)
    if found is None or found[1].pk != execution_id:
        raise not_found()
    return found[1]


def _root_for_cancelling(call: Call, execution_id: str) -> Promise:
    if not has(call.user, VIEW_EXECUTIONS):
        raise not_found()
    return _root_of(execution_id)


def _shown(root: Promise) -> ExecutionShown:
    header = read_header(root, now_ms())
    return ExecutionShown(
        id=header.id,
        function=header.function,
        status=header.status.slug,
        why=Why.of(header.reason),
        error=Error.of(header.failure),
        failed_step="" if header.failed_step is None else header.failed_step.pk,
        created_at=moment(header.created_at),
        ended_at=instant(header.ended_at),
        deadline=moment(header.deadline),
        duration_ms=header.duration,
        started_by=header.started_by,
        target=header.target,
        schedule=header.schedule,
    )


def _tree_line(line: Line) -> TreeLine:
    entry: Any = line.entry
    return TreeLine(
        key=entry.toggle,
        depth=line.depth,
        name=entry.name,
        kind=entry.kind.slug,
        status="" if entry.is_group else entry.status.slug,
        is_group=entry.is_group,
        is_open=line.is_open,
        has_children=line.has_children,
        count=entry.count if entry.is_group else 1,
        started_at=instant(entry.start),
        ended_at=instant(entry.end),
    )
