"""What a list of questions and its cards need beside what all pages do."""

import datetime as dt
from hashlib import sha256
from typing import Any

from django import template
from django.contrib.auth.models import AnonymousUser
from django.template.context import Context

from dashboard.bulk import kind_of
from dashboard.clocks import local
from dashboard.models import HumanTask
from dashboard.snoozing import Pause, end_of, snoozed_until
from durable.clock import now_ms

register = template.Library()


@register.filter
def kind(task: HumanTask) -> str:
    """Return a mark that is the same for questions that can be answered together."""
    return sha256(repr(kind_of(task)).encode()).hexdigest()[:12]


@register.inclusion_tag("dashboard/inbox/snooze.html", takes_context=True)
def snooze_menu(context: Context, task: HumanTask) -> dict[str, Any]:
    """Show the ways of putting an open question off; nothing for one that is overdue."""
    now = now_ms()
    user = getattr(context.get("request"), "user", AnonymousUser())
    tomorrow = local(now).date() + dt.timedelta(days=1)
    return {
        "task": task,
        "until": snoozed_until(task, user, now),
        "is_overdue": task.is_overdue(now),
        "pauses": [(one.value, one.label, end_of(one, now)) for one in Pause],
        "earliest": tomorrow.isoformat(),
        "next_page": context.get("next_page"),
        "list_suffix": context.get("list_suffix", ""),
        "csrf_token": context.get("csrf_token"),
    }
