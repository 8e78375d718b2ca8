"""Putting a question off: it leaves one person's lists for a while, and nobody else's.

It comes back at its time, or when its deadline has passed.
"""

import datetime as dt
from typing import Any

from django.db import models
from django.db.models import Q, QuerySet
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from dashboard.answering import Actor, NoSuchQuestionError
from dashboard.attendance import is_overdue
from dashboard.clocks import local
from dashboard.models import NO_DUE, HumanTask, Snooze
from dashboard.permissions import AnyUser, is_open, visible_to
from dashboard.rights import RefusedError
from dashboard.shared_sets import SharedSets
from dashboard.statements import Moment
from durable.clock import now_ms
from durable.conf import database_alias

MORNING = dt.time(9)
MAX_DAYS = 366


class Pause(models.TextChoices):
    """How long a question may be put off."""

    HOUR = "hour", _("For an hour")
    TOMORROW = "tomorrow", _("Until tomorrow morning")
    WEEK = "week", _("Until next week")


def end_of(pause: Pause, now: int) -> int:
    """Return when a pause ends, epoch ms, by the calendar of the current time zone."""
    today = local(now).date()
    match pause:
        case Pause.HOUR:
            return now + 3_600_000
        case Pause.TOMORROW:
            return morning_of(today + dt.timedelta(days=1))
        case Pause.WEEK:
            return morning_of(today + dt.timedelta(days=7 - today.weekday()))


def morning_of(day: dt.date) -> int:
    """Return when people begin to work on a day, epoch ms."""
    return int(timezone.make_aware(dt.datetime.combine(day, MORNING)).timestamp() * 1000)


def snooze(promise_id: str, actor: Actor, until: int) -> HumanTask:
    """Hide a question from the actor's lists until then (epoch ms).

    Raises ``NoSuchQuestionError``, and ``RefusedError`` when it is over or overdue, or when the
    time is past or too far.
    """
    now = now_ms()
    task = _find(promise_id, actor.user)
    if not now < until <= now + MAX_DAYS * 24 * 3_600_000:
        raise RefusedError(_("Choose a time to come, within a year."))
    if not HumanTask.objects.using(database_alias()).filter(is_open(now), pk=task.pk).exists():
        raise RefusedError(_("This is over: it need not be put off."))
    if task.is_overdue(now):
        raise RefusedError(_("This is overdue: it cannot be put off."))
    Snooze.objects.using(database_alias()).update_or_create(
        user_id=actor.user.pk, task_id=task.pk, defaults={"until": until, "made_at": now}
    )
    return task


def wake(promise_id: str, actor: Actor) -> HumanTask:
    """Show a question in the actor's lists again; raises ``NoSuchQuestionError``."""
    task = _find(promise_id, actor.user)
    snoozes_of(actor.user).filter(task=task.pk).delete()
    return task


def snoozes_of(user: AnyUser) -> QuerySet[Snooze]:
    """Return what somebody has put off, also what has come back."""
    return Snooze.objects.using(database_alias()).filter(user=user.pk)


def snoozed_until(task: HumanTask, user: AnyUser, now: int) -> int | None:
    """Return when a question comes back to somebody, epoch ms; None when it is there."""
    if task.is_overdue(now):
        return None
    until = snoozes_of(user).filter(task=task.pk, until__gt=now).values_list("until", flat=True)
    end = NO_DUE if task.waits_for_requester_since is not None else task.due_at
    return next((min(one, end) for one in until), None)


def is_snoozed(user: AnyUser, now: Moment, sets: SharedSets | None = None) -> Q:
    """Match questions that somebody has put off and that have not come back."""
    if sets is None:
        return was_snoozed(user, now)
    [ids] = sets.share("snoozed", lambda: [_put_off(user, now)])
    return Q(pk__in=ids) & ~is_overdue(now)


def was_snoozed(user: AnyUser, at: Moment) -> Q:
    """Match questions that were put off at a time, also those that have come back since."""
    return Q(pk__in=_put_off(user, at)) & ~is_overdue(at)


def _put_off(user: AnyUser, now: Moment) -> QuerySet[Any]:
    return snoozes_of(user).filter(until__gt=now).values("task")


def _find(promise_id: str, user: AnyUser) -> HumanTask:
    task = visible_to(user).filter(pk=promise_id).first()
    if task is None:
        raise NoSuchQuestionError(promise_id)
    return task
