"""The list of what waits for a person, and the fragments that keep it fresh."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import wraps
from typing import Any, Self
from urllib.parse import urlencode

from django.conf import settings
from django.contrib.auth.views import redirect_to_login
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render, resolve_url
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from django.views.decorators.vary import vary_on_headers
from django_htmx.http import HttpResponseClientRedirect
from django_htmx.middleware import HtmxDetails

from dashboard.belongings import belongings_of
from dashboard.inbox_filters import PRIORITIES, Due, Filters
from dashboard.inbox_order import Cursor
from dashboard.inbox_queries import (
    Counts,
    Seen,
    Shown,
    Tab,
    count_open,
    read_page,
    settled_since,
    tab_named,
    tabs_of,
)
from dashboard.models import Place
from dashboard.permissions import has
from dashboard.saved_views import Strip, first_url
from durable.clock import now_ms

TEMPLATE = "dashboard/inbox/index.html"

type View = Callable[..., HttpResponseBase]


def for_people(view: View) -> View:
    """Let signed-in people in and send others to sign in; nothing of it may be cached."""

    @wraps(view)
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if request.user.is_authenticated:
            if _has_null(request, kwargs.values()):
                raise Http404
            return view(request, *args, **kwargs)
        login = resolve_url(settings.LOGIN_URL)
        if not wants_fragment(request):
            return redirect_to_login(request.get_full_path(), login)
        # A fragment would end up with the sign-in page in its place: the whole page goes there.
        page = current_path(request, resolve_url("signoff:inbox"))
        return HttpResponseClientRedirect(redirect_to_login(page, login).url)

    return never_cache(vary_on_headers("HX-Request", "HX-Request-Type")(guarded))


def for_holders_of(permission: str) -> Callable[[View], View]:
    """Let those in who have a permission; for others there is nothing here."""

    def guard(view: View) -> View:
        @for_people
        @wraps(view)
        def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            if not has(request.user, permission):
                raise Http404
            return view(request, *args, **kwargs)

        return guarded

    return guard


def _has_null(request: HttpRequest, parts: Iterable[object]) -> bool:
    """Whether the address has a character that no id has, and that PostgreSQL does not take."""
    values = (value for _name, some in request.GET.lists() for value in some)
    return any("\0" in str(one) for one in (*parts, *values))


def wants_fragment(request: HttpRequest) -> bool:
    """Whether htmx asks for a part of a page; it also asks for whole ones."""
    details = _htmx(request)
    if not details or details.history_restore_request:
        return False
    return request.headers.get("HX-Request-Type", "partial") == "partial"


def current_path(request: HttpRequest, default: str) -> str:
    """Return the address of the page that htmx asks from; the default where it does not say."""
    details = _htmx(request)
    path = details.current_url_abs_path if details else None
    return path or default


def _htmx(request: HttpRequest) -> HtmxDetails | None:
    return getattr(request, "htmx", None)


@dataclass(frozen=True, slots=True)
class TabLink:
    """One tab with its number of open questions; None where none is shown."""

    tab: Tab
    count: int | None
    is_current: bool

    @classmethod
    def all_of(cls, tabs: list[Tab], counts: Counts, current: Tab) -> list[Self]:
        """Return the tabs in order; that of what is put off only where there is something in it."""
        return [
            cls(tab, None if tab is Tab.DONE else getattr(counts, tab), tab is current)
            for tab in tabs
            if tab is not Tab.SNOOZED or tab is current or counts.snoozed
        ]


def read_list(request: HttpRequest, now: int) -> dict[str, Any]:
    """Read the list pane that a request asks for, as context."""
    tabs = tabs_of(request.user)
    tab, filters = shown = shown_in(request, tabs)
    counts = count_open(request.user, now, tabs, shown=shown)
    after = Cursor.decode(request.GET.get("after", ""))
    return {
        "section": "inbox",
        "now": now,
        "tab": tab,
        "filters": filters,
        "list_query": list_query(tab, filters),
        "list_suffix": list_suffix(request),
        "due_choices": Due.choices,
        "priority_choices": [(name, label) for name, (_least, label) in PRIORITIES.items()],
        "tabs": TabLink.all_of(tabs, counts, tab),
        "counts": counts,
        "inbox_count": counts.answer,
        "page": read_page(request.user, tab, now, filters, after=after),
        "after": after,
        "is_compact": belongings_of(request.user).is_compact,
        "strip": Strip.of(request.user, Place.INBOX, request.GET),
    }


def list_query(tab: Tab, filters: Filters) -> str:
    """Return what the address of a list says of it."""
    return urlencode({"tab": tab.value} | filters.words)


def list_suffix(request: HttpRequest) -> str:
    """Return the end of an address that keeps the list of which a request speaks, if it does."""
    if not request.GET.keys() & {"tab", *Filters.names()}:
        return ""
    return f"?{list_query(*shown_in(request, tabs_of(request.user)))}"


def shown_in(request: HttpRequest, tabs: list[Tab]) -> Shown:
    """Return the list of which a request speaks."""
    return Shown(chosen_tab(request, tabs), Filters.read(request.GET))


def chosen_tab(request: HttpRequest, tabs: list[Tab]) -> Tab:
    """Return the tab in the query string, or the first for one that is unknown or not theirs."""
    return tab_named(request.GET.get("tab", ""), tabs)


@for_people
@require_safe
def show(request: HttpRequest) -> HttpResponse:
    """Show the inbox: a page, or the next cards for "Load more"."""
    now = now_ms()
    if wants_fragment(request) and "after" in request.GET:
        tab = chosen_tab(request, tabs_of(request.user))
        filters = Filters.read(request.GET)
        if (after := Cursor.decode(request.GET["after"])) is None:
            # Cards from the beginning would be there twice.
            return HttpResponseClientRedirect(f"{request.path}?{list_query(tab, filters)}")
        page = read_page(request.user, tab, now, filters, after=after)
        context = {"page": page, "tab": tab, "now": now, "list_query": list_query(tab, filters)}
        return render(request, f"{TEMPLATE}#cards", context)
    context = read_list(request, now)
    # Not before: whose first view it is was read along with the list.
    if not request.GET and (url := first_url(request.user, Place.INBOX)):
        return redirect(url)
    return render(request, TEMPLATE, context)


@for_people
@require_safe
def changes(request: HttpRequest) -> HttpResponse:
    """Say what is new since a page was made, and grey out what is over; the list stays in place."""
    now = now_ms()
    tabs = tabs_of(request.user)
    tab = chosen_tab(request, tabs)
    seen = Seen(_number(request, "since", now), _number(request, "known", 0))
    filters = Filters.read(request.GET)
    counts = count_open(request.user, now, tabs, shown=Shown(tab, filters), seen=seen)
    context = {
        "now": now,
        "tab": tab,
        "list_query": list_query(tab, filters),
        "tabs": TabLink.all_of(tabs, counts, tab),
        "news": counts.news,
        "is_empty": request.GET.get("empty") == "1",
        "settled": [] if tab is Tab.DONE else settled_since(request.user, now, seen.at),
    }
    return render(request, f"{TEMPLATE}#changes", context)


@for_people
@require_safe
def badge(request: HttpRequest) -> HttpResponse:
    """Return the number of open questions for the navigation."""
    counts = count_open(request.user, now_ms(), [Tab.ANSWER])
    return render(request, "dashboard/inbox/badge.html", {"count": counts.answer})


def _number(request: HttpRequest, name: str, default: int) -> int:
    text = request.GET.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else default
