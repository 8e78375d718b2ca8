"""The decision panel: one question with all that a person needs to answer it, or how it ended."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from django.contrib.auth import get_user_model
from django.utils.functional import Promise as LazyText
from django.utils.translation import gettext_lazy as _

from dashboard.decisions import name_of
from dashboard.descriptions import Fact
from dashboard.forms import DecisionForm, form_for
from dashboard.inbox_queries import (
    Outcome,
    deciders_of,
    facts_of,
    next_task,
    outcome_of,
    with_outcome,
)
from dashboard.models import NO_DUE, Action, AuditEntry, HumanTask
from dashboard.permissions import VIEW_EXECUTIONS, AnyUser, visible_to
from durable.conf import database_alias
from durable.models import Promise

_USER_PREFIX = "user:"
MAX_EVENTS = 50


class Event(NamedTuple):
    """One line of the history."""

    at: int
    icon: str
    text: str | LazyText
    comment: str = ""
    is_late: bool = False


@dataclass(frozen=True, slots=True)
class Panel:
    """What the panel's template shows. Instants are epoch ms.

    ``late`` is set for the one whose answer came too late: what they wrote is given back.
    ``next`` is the question to go on with after this one.
    """

    task: HumanTask
    facts: Sequence[Fact]
    deciders: str
    asked_by: str
    closes_at: int | None
    outcome: Outcome | None
    history: Sequence[Event]
    may_see_run: bool
    form: DecisionForm | None = None
    next: HumanTask | None = None
    late: DecisionForm | None = None

    @property
    def is_open(self) -> bool:
        """Whether it can be answered."""
        return self.outcome is None


def read_panel(
    promise_id: str,
    user: AnyUser,
    now: int,
    *,
    form: DecisionForm | None = None,
    late: DecisionForm | None = None,
) -> Panel | None:
    """Read a question for somebody; None when there is none, or none for them."""
    task: Any = with_outcome(visible_to(user).filter(pk=promise_id)).first()
    if task is None:
        return None
    outcome = outcome_of(task, user, now)
    return Panel(
        task=task,
        facts=facts_of(task.description),
        deciders=deciders_of([task.pk]).get(task.pk, ""),
        asked_by=_starter_of(task.origin),
        closes_at=task.closes_at if task.closes_at < NO_DUE else None,
        outcome=outcome,
        history=_history(task, outcome, user),
        may_see_run=getattr(user, "has_perm", lambda _: False)(VIEW_EXECUTIONS),
        form=(form or form_for(task)) if outcome is None else None,
        next=None if outcome is None else next_task(user, now, task),
        late=late,
    )


def _starter_of(origin: str) -> str:
    """Return the name of the person who started an execution; empty when no person did."""
    using = database_alias()
    started_by = (
        Promise.objects.using(using).filter(pk=origin).values_list("started_by", flat=True).first()
    ) or ""
    key = started_by.removeprefix(_USER_PREFIX)
    if key == started_by:
        return ""
    users = get_user_model()._default_manager.using(using)
    try:
        user = users.filter(pk=key).first()
    except ValueError:
        return ""
    return name_of(user) if user is not None else ""


def _history(task: HumanTask, outcome: Outcome | None, user: AnyUser) -> list[Event]:
    """Return what happened, newest first."""
    entries = (
        AuditEntry.objects.using(database_alias())
        .filter(target=task.pk, action__in=[Action.APPROVE, Action.REJECT])
        .order_by("-at", "-pk")[:MAX_EVENTS]
    )
    events = [_event(entry, user) for entry in entries]
    if outcome is not None and not outcome.by:
        events.append(Event(outcome.at, outcome.icon, outcome.sentence))
    events.append(Event(task.created_at, "message-square", _("Asked")))
    return sorted(events, key=lambda event: event.at, reverse=True)


def _event(entry: AuditEntry, user: AnyUser) -> Event:
    is_approval = entry.action == Action.APPROVE
    name = _("You") if entry.actor_id == user.pk else entry.actor_name
    if entry.is_effective:
        text = _("%(name)s approved") if is_approval else _("%(name)s rejected")
        icon = "check" if is_approval else "x"
    else:
        text = (
            _("%(name)s wanted to approve, too late")
            if is_approval
            else _("%(name)s wanted to reject, too late")
        )
        icon = "clock"
    return Event(
        at=int(entry.at.timestamp() * 1000),
        icon=icon,
        text=text % {"name": name},
        comment=entry.reason,
        is_late=not entry.is_effective,
    )
