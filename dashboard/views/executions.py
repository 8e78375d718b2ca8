"""Pages for operators: the list of executions, one execution, its cancellation."""

from typing import Any, NamedTuple

from django.contrib import messages
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseRedirect,
    QueryDict,
)
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe

from dashboard.answering import Actor
from dashboard.auditing import MAX_REASON
from dashboard.cancellation import cancel as cancel_execution
from dashboard.cancellation import foresee
from dashboard.details import Detail, Header, read_detail, read_header
from dashboard.execution_history import Place, read_history
from dashboard.execution_list import Cursor, Filters, list_executions
from dashboard.models import Place as ListPlace
from dashboard.open_parts import read_fleet
from dashboard.permissions import CANCEL_EXECUTIONS, VIEW_EXECUTIONS, visible_to
from dashboard.queries import find_root
from dashboard.saved_views import UNFILTERED, Strip, first_url
from dashboard.states import BY_SLUG, Status
from dashboard.tree_rows import MAX_OPEN, ancestors_of
from dashboard.trees import Line, Pager, View, read_tree
from dashboard.views.inbox import for_holders_of, wants_fragment
from dashboard.waiting import Fleet
from durable.clock import now_ms
from durable.models import Promise

LIST = "dashboard/executions/list.html"
EXECUTION = "dashboard/executions/execution.html"
CANCEL = "dashboard/executions/cancel.html"

TIMELINE, HISTORY = "timeline", "history"

for_operators = for_holders_of(VIEW_EXECUTIONS)


@for_operators
@require_safe
def index(request: HttpRequest) -> HttpResponse:
    """List executions, newest first; without a query those of the reader's first view."""
    first = first_url(request.user, ListPlace.EXECUTIONS)
    if first and not request.GET and not wants_fragment(request):
        return redirect(first)
    now = now_ms()
    filters = Filters.parse(request.GET)
    older = Cursor.parse(request.GET.get("older", ""))
    newer = Cursor.parse(request.GET.get("newer", ""))
    strip = Strip.of(request.user, ListPlace.EXECUTIONS, request.GET)
    context = {
        "section": "executions",
        "now": now,
        "filters": filters,
        "statuses": list(Status),
        "chosen": _removable(filters),
        "page": list_executions(filters, now, older=older, newer=newer),
        "query": filters.query().urlencode(),
        "is_first": older is None and newer is None,
        "strip": strip,
    }
    if not wants_fragment(request):
        return render(request, LIST, context)
    response = render(request, f"{LIST}#executions", context)
    if request.headers.get("HX-Source") == "form#filters":
        # The address that a colleague gets says what was asked for and nothing else.
        response["HX-Push-Url"] = strip.address
    return response


class Removable(NamedTuple):
    """An active filter, and the query string without it."""

    label: str
    query: str


def _removable(filters: Filters) -> list[Removable]:
    found = []
    for name, values in filters.query().lists():
        for value in values:
            query = filters.query()
            query.setlist(name, [one for one in values if one != value])
            label = str(BY_SLUG[str(value)].label) if name == "status" else str(value)
            if name == "internal":
                label = _("Also internal ones")
            found.append(Removable(label, query.urlencode() or UNFILTERED))
    return found


class Shown(NamedTuple):
    """A line of the tree with its addresses."""

    line: Line | Pager
    url: str
    toggle_url: str
    previous_url: str = ""
    next_url: str = ""


@for_operators
@require_safe
def show(request: HttpRequest, execution_id: str) -> HttpResponse:
    """Show one execution: its tree and timeline, or its history."""
    root = _root_or_404(execution_id)
    if root.id != execution_id:
        return redirect(_address(root.id, step=execution_id))
    now = now_ms()
    header = read_header(root, now)
    tab = HISTORY if request.GET.get("tab") == HISTORY else TIMELINE
    step = request.GET.get("step", "")
    context = {
        "section": "executions",
        "now": now,
        "header": header,
        "tab": tab,
        "step": step,
        "may_answer": _may_answer(request, header),
        "live_execution": root.id if header.is_open else "",
        "may_cancel": header.is_open and request.user.has_perm(CANCEL_EXECUTIONS),
        "links": {
            name: _changed(request, tab=tab, open=[], shut=[], at=[], unfold=[], before=None)
            for name, tab in ((TIMELINE, None), (HISTORY, HISTORY))
        },
    }
    context |= (_timeline if tab == TIMELINE else _history)(request, root, header, now)
    template = f"{EXECUTION}#update" if wants_fragment(request) else EXECUTION
    return render(request, template, context)


def _may_answer(request: HttpRequest, header: Header) -> bool:
    if header.reason is None or not header.reason.answer:
        return False
    return visible_to(request.user).filter(pk=header.reason.answer).exists()


def _timeline(request: HttpRequest, root: Promise, header: Header, now: int) -> dict[str, Any]:
    step = request.GET.get("step", "") or root.id
    fleet = read_fleet(now) if header.is_open else Fleet()
    tree = read_tree(root, now, _view(request, _telling(header, root.id, step)), fleet)
    return {
        "tree": tree,
        "lines": [_shown(request, line) for line in tree.lines],
        "breaks": [(one, _toggled(request, "unfold", str(one.number))) for one in tree.axis.breaks],
        "detail": _detail_or_404(step, root, now, fleet),
        "selected": step,
    }


def _history(request: HttpRequest, root: Promise, _header: Header, now: int) -> dict[str, Any]:
    before = Place.parse(request.GET.get("before", ""))
    page = read_history(root, now, step=request.GET.get("step", ""), before=before)
    return {
        "history": page,
        "is_latest": before is None,
        "older_url": _changed(request, before=str(page.older)) if page.older else "",
        "latest_url": _changed(request, before=None),
        "whole_url": _changed(request, before=None, step=None),
    }


def _telling(header: Header, root_id: str, step: str) -> frozenset[str]:
    """Return what to open so that the step that matters, and the chosen one, can be seen."""
    telling = {step}
    if header.reason is not None and header.reason.answer:
        telling.add(header.reason.answer)
    if header.failed_step is not None:
        telling.add(header.failed_step.id)
    return frozenset().union(*(ancestors_of(one, root_id) for one in telling))


def _view(request: HttpRequest, telling: frozenset[str]) -> View:
    opened = frozenset(request.GET.getlist("open")[:MAX_OPEN])
    closed = frozenset(request.GET.getlist("shut"))
    offsets = {}
    for text in request.GET.getlist("at"):
        number, _separator, toggle = text.partition("~")
        if number.isascii() and number.isdigit() and len(number) < 10:
            offsets[toggle] = int(number)
    unfolded = (text for text in request.GET.getlist("unfold") if text.isascii())
    return View(
        opened | (telling - closed),
        closed,
        offsets,
        frozenset(int(text) for text in unfolded if text.isdigit() and len(text) < 4),
    )


def _shown(request: HttpRequest, line: Line | Pager) -> Shown:
    if isinstance(line, Pager):
        return Shown(
            line,
            "",
            "",
            _paged(request, line.toggle, line.previous),
            _paged(request, line.toggle, line.next),
        )
    toggle = line.entry.toggle
    opened = [one for one in request.GET.getlist("open") if one != toggle]
    closed = [one for one in request.GET.getlist("shut") if one != toggle]
    # Which of the two a row needs depends on whether it is open by itself; both do no harm.
    toggle_url = (
        _changed(request, open=opened, shut=[*closed, toggle])
        if line.is_open
        else _changed(request, open=[*opened, toggle], shut=closed)
    )
    url = toggle_url if line.entry.is_group else _changed(request, step=toggle)
    return Shown(line, url, toggle_url)


def _paged(request: HttpRequest, toggle: str, offset: int | None) -> str:
    if offset is None:
        return ""
    others = [one for one in request.GET.getlist("at") if one.partition("~")[2] != toggle]
    return _changed(request, at=[*others, f"{offset}~{toggle}"] if offset else others)


def _toggled(request: HttpRequest, name: str, value: str) -> str:
    values = request.GET.getlist(name)
    if value in values:
        return _changed(request, **{name: [one for one in values if one != value]})
    return _changed(request, **{name: [*values, value]})


def _changed(request: HttpRequest, **changes: str | list[str] | None) -> str:
    """Return this page's address with other parameters; None and nothing remove one."""
    query: QueryDict = request.GET.copy()
    for name, value in changes.items():
        if isinstance(value, list):
            query.setlist(name, value)
        elif value is None:
            query.pop(name, None)
        else:
            query[name] = value
    return f"{request.path}?{query.urlencode()}"


@for_operators
@require_safe
def find(_request: HttpRequest, execution_id: str) -> HttpResponse:
    """Send on to the address that an execution really has, from one with the plain id in it."""
    return redirect(_address(_root_or_404(execution_id).id, step=execution_id))


@for_operators
@require_http_methods(["GET", "HEAD", "POST"])
def cancel(request: HttpRequest, execution_id: str) -> HttpResponse:
    """Say what cancelling ends and ask for a reason; on POST, cancel."""
    root = _root_or_404(execution_id)
    if root.id != execution_id or not request.user.has_perm(CANCEL_EXECUTIONS):
        raise Http404
    now = now_ms()
    header = read_header(root, now)
    context = {"section": "executions", "now": now, "header": header}
    if request.method != "POST":
        return render(request, CANCEL, context | {"effects": foresee(root, now)})
    reason = request.POST.get("reason", "").replace("\0", "").strip()[:MAX_REASON]
    if not reason and header.is_open:
        context |= {"effects": foresee(root, now), "is_missing": True}
        return render(request, CANCEL, context, status=422)
    if not cancel_execution(root, Actor.of(request), reason):
        context["header"] = read_header(_root_or_404(execution_id), now)
        return render(request, CANCEL, context, status=409)
    messages.success(request, _("Cancelled. What ran at this moment may end its current step."))
    return HttpResponseRedirect(_address(root.id), status=303)


def _root_or_404(execution_id: str) -> Promise:
    found = find_root(execution_id)
    if found is None:
        raise Http404
    return found[1]


def _detail_or_404(step: str, root: Promise, now: int, fleet: Fleet) -> Detail:
    detail = read_detail(step, root, now, fleet)
    if detail is None:
        raise Http404
    return detail


def _address(execution_id: str, *, step: str = "") -> str:
    address = reverse("signoff:execution", args=[execution_id])
    return address if step in {"", execution_id} else f"{address}?{urlencode({'step': step})}"
