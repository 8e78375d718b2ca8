"""``{% inbox_badge %}`` and ``{% task_panel promise_id %}``, for any page, and what they need."""

import json
from typing import Any

from django import template
from django.contrib.auth.models import AnonymousUser
from django.template.context import Context
from django.utils.formats import date_format, localize
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from dashboard import question_ids
from dashboard.belongings import belongings_of
from dashboard.clocks import day_text, local, time_text, whole_text
from dashboard.descriptions.nodes import words
from dashboard.inbox_queries import COUNT_LIMIT, Tab, count_open
from dashboard.markdown import to_html
from dashboard.models import HumanTask
from dashboard.panels import read_panel
from dashboard.people import name_of
from durable.clock import now_ms

register = template.Library()


@register.inclusion_tag("dashboard/inbox/badge.html", takes_context=True)
def inbox_badge(context: Context) -> dict[str, Any]:
    """Show how many questions wait for the reader; the inbox itself has counted already."""
    if (count := context.get("inbox_count")) is None:
        user = getattr(context.get("request"), "user", AnonymousUser())
        count = count_open(user, now_ms(), [Tab.ANSWER]).answer if user.is_authenticated else 0
    return {"count": count}


@register.inclusion_tag("dashboard/inbox/panel.html", takes_context=True)
def task_panel(context: Context, task: HumanTask | str) -> dict[str, Any]:
    """Show the decision panel of a question on any page; nothing to whom it is not for.

    ``task`` is the question or its id. Without JavaScript an answer leads back to the page that the
    panel is on.
    """
    request = context["request"]
    promise_id = task.pk if isinstance(task, HumanTask) else str(task)
    now = now_ms()
    return {
        "panel": read_panel(promise_id, request.user, now),
        "now": now,
        "request": request,
        "csrf_token": context.get("csrf_token"),
        "next_page": request.get_full_path(),
    }


@register.simple_tag(takes_context=True)
def has_single_keys(context: Context) -> bool:
    """Whether single letters do something for the reader."""
    return belongings_of(context["user"]).has_single_keys


@register.filter
def person(user: Any) -> str:
    """Return what people call a user."""
    return name_of(user)


@register.filter
def markdown(text: str) -> SafeString:
    """Return an author's text as HTML."""
    return to_html(text)


@register.filter
def element_id(promise_id: str) -> str:
    """Return an id as a part of an element's id."""
    return question_ids.encode(promise_id)


@register.simple_tag
def at(instant_ms: int, now: int) -> SafeString:
    """Return when something was done, as a sentence ends: ``at 14:02``, ``on 3 May, 14:02``."""
    moment, today = local(instant_ms), local(now).date()
    if moment.date() == today:
        text, shown = _("at %(time)s"), time_text(moment)
    else:
        text, shown = _("on %(time)s"), day_text(moment, today)
    element = format_html(
        '<time datetime="{}" title="{}">{}</time>',
        moment.isoformat(timespec="seconds"),
        date_format(moment, "Y-m-d H:i:s T"),
        shown,
    )
    return format_html(text.replace("%(time)s", "{}"), element)


@register.filter
def capped(count: int) -> str:
    """Return a count as people read it: above the limit nobody counts."""
    return f"{COUNT_LIMIT - 1}+" if count >= COUNT_LIMIT else str(count)


@register.filter
def fact(value: Any) -> str:
    """Return the value of a fact as text: words for true, false and nothing, JSON for the rest."""
    match value:
        case str():
            return value
        case True:
            return _("yes")
        case False:
            return _("no")
        case None:
            return _("none")
        case int() | float():
            # Not always HTML: what is marked as such is of a kind that is no JSON.
            return "" + str(localize(value))
        case _:
            return json.dumps(value, ensure_ascii=False)


@register.filter
def in_words(name: str) -> str:
    """Return the name of a workflow for people who do not write code: ``Pay invoice``."""
    return words(name)


@register.filter
def time_left(due_at: int, now: int) -> str:
    """Return the distance to a deadline: ``2 h left``, ``overdue 3 d``."""
    length = {"length": _length(abs(due_at - now), units=1)}
    return _("%(length)s left") % length if due_at > now else _("overdue %(length)s") % length


@register.filter
def waiting(created_at: int, now: int) -> str:
    """Return how long something waits."""
    return _length(max(0, now - created_at), units=2)


def _length(milliseconds: int, *, units: int) -> str:
    """Return a length in the largest units that it has."""
    minutes = milliseconds // 60_000
    return whole_text(minutes * 60, units) if minutes else _("less than a minute")
