"""What people say to each other about a question, before it is answered."""

import re
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction
from django.db.models import QuerySet
from django.utils.translation import gettext_lazy as _

from dashboard import attendance, auditing
from dashboard.answering import Actor, NoSuchQuestionError
from dashboard.channels.executions import begin_telling
from dashboard.claims import note_life
from dashboard.models import Action, Comment, HumanTask, MessageEvent
from dashboard.people import find_user, starter_id, starter_of
from dashboard.permissions import is_open, visible_to
from dashboard.rights import RefusedError, capacity_of
from durable.clock import now_ms
from durable.conf import database_alias

MAX_TEXT = 10_000
MAX_MENTIONS = 20
_MENTION = re.compile(r"(?<![\w@.])@([\w.@+-]{1,254})")
_ACTIONS = {
    Comment.Kind.REMARK: Action.COMMENT,
    Comment.Kind.ASKED: Action.ASK,
    Comment.Kind.REPLIED: Action.REPLY,
}


def comments_on(task: HumanTask) -> QuerySet[Comment]:
    """Return the remarks on a question, the oldest first."""
    found = Comment.objects.using(database_alias()).filter(task=task.pk)
    return found.order_by("written_at", "pk")


def write(promise_id: str, actor: Actor, text: str, kind: Comment.Kind) -> Comment:
    """Add a remark, a question to the requester, or the requester's reply.

    Whoever may answer may ask the requester. Meanwhile the question's deadline waits: what is left
    of it is left when they reply. Whoever is mentioned as ``@name`` is told, if they may see the
    question; so are the requester who is asked, and whoever asked them. Raises
    ``NoSuchQuestionError`` and ``RefusedError``.
    """
    now = now_ms()
    with transaction.atomic(using=database_alias()):
        task = visible_to(actor.user).filter(pk=promise_id).first()
        if task is None:
            raise NoSuchQuestionError(promise_id)
        text = text.strip()
        if not text:
            raise RefusedError(_("There is nothing in it."))
        if len(text) > MAX_TEXT:
            raise RefusedError(_("It is too long."))
        details: dict[str, Any] = {}
        told = _mentioned(task, actor, text)
        if told:
            details["mentioned"] = [one.get_username() for one in told]
        if kind is Comment.Kind.ASKED:
            told += _ask(task, actor, now)
        elif kind is Comment.Kind.REPLIED:
            told += _asking(task)
            details |= _reply(task, actor, now)
        auditing.record(_ACTIONS[kind], task.pk, actor, reason=text, details=details)
        note_life(task, actor.user)
        comment = Comment.objects.using(database_alias()).create(
            task_id=task.pk,
            kind=kind,
            user_id=actor.user.pk,
            user_name=actor.name,
            text=text,
            written_at=now,
        )
        if kind is Comment.Kind.REPLIED:
            attendance.go_on(task.pk)
        names = sorted({one.get_username() for one in told if one.pk != actor.user.pk})
        if names:
            occasion = f"{kind.value} {comment.pk}"
            begin_telling(task, MessageEvent.MENTIONED, occasion, {"users": names})
        return comment


def _mentioned(task: HumanTask, actor: Actor, text: str) -> list[AbstractBaseUser]:
    """Return who is mentioned as ``@name``, as far as they may see the question."""
    given = _MENTION.findall(text)[:MAX_MENTIONS]
    names = {*given, *(name.rstrip(".+-@") for name in given)} - {actor.username}
    if not names:
        return []
    model = get_user_model()
    users = model._default_manager.using(database_alias()).filter(is_active=True)
    found = users.filter(**{f"{model.USERNAME_FIELD}__in": names}).order_by("pk")
    return [one for one in found if visible_to(one).filter(pk=task.pk).exists()]


def _asking(task: HumanTask) -> list[AbstractBaseUser]:
    """Return who asked the requester last."""
    asked = comments_on(task).filter(kind=Comment.Kind.ASKED).last()
    user = None if asked is None else find_user(asked.user_id)
    return [] if user is None else [user]


def _open(task: HumanTask, now: int) -> QuerySet[Any]:
    return HumanTask.objects.using(database_alias()).filter(is_open(now), pk=task.pk)


def _ask(task: HumanTask, actor: Actor, now: int) -> list[AbstractBaseUser]:
    """Let the deadline wait, for somebody who may answer; return the requester."""
    if task.started_by == starter_of(actor.user):
        raise RefusedError(_("You asked for this yourself."))
    capacity_of(task, actor.user)
    if not task.started_by:
        raise RefusedError(_("Nobody is known to have asked for this."))
    requester = find_user(starter_id(task.started_by))
    if requester is None or not requester.is_active:  # the deadline would wait for ever
        raise RefusedError(_("Whoever asked for this cannot reply here."))
    waiting = _open(task, now).filter(waits_for_requester_since__isnull=True)
    if not waiting.update(waits_for_requester_since=now):
        raise RefusedError(_("The requester has been asked already, or this is over."))
    return [requester]


def _reply(task: HumanTask, actor: Actor, now: int) -> dict[str, Any]:
    """Let the deadline go on; return how long it stood still, for the audit trail."""
    if task.started_by != starter_of(actor.user):
        raise RefusedError(_("Only whoever asked for this can reply."))
    since = task.waits_for_requester_since
    asked = _open(task, now).filter(waits_for_requester_since=since)
    if since is None or not asked.update(waits_for_requester_since=None):
        raise RefusedError(_("Nobody has asked you anything, or this is over."))
    due = attendance.due_of(task, now)
    if due is None:
        return {"paused_ms": now - since}
    _open(task, now).update(due_at=due)
    return {"paused_ms": now - since, "due_before": task.due, "due_after": due}
