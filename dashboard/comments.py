"""What people say to each other about a question, before it is answered."""

from typing import Any

from django.db import transaction
from django.db.models import F, QuerySet
from django.utils.translation import gettext_lazy as _

from dashboard import auditing
from dashboard.answering import Actor, NoSuchQuestionError
from dashboard.models import NO_DUE, Action, Comment, HumanTask
from dashboard.people import starter_of
from dashboard.permissions import is_open, visible_to
from dashboard.rights import RefusedError
from durable.clock import now_ms
from durable.conf import database_alias

MAX_TEXT = 10_000
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

    While the requester is asked, the question's deadline waits: what is left of it is left when
    they reply. Raises ``NoSuchQuestionError`` and ``RefusedError``.
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
        if kind is Comment.Kind.ASKED:
            _ask(task, now)
        elif kind is Comment.Kind.REPLIED:
            _reply(task, actor, now)
        auditing.record(_ACTIONS[kind], task.pk, actor, reason=text)
        return Comment.objects.using(database_alias()).create(
            task_id=task.pk,
            kind=kind,
            user_id=actor.user.pk,
            user_name=actor.name,
            text=text,
            written_at=now,
        )


def _open(task: HumanTask, now: int) -> QuerySet[Any]:
    return HumanTask.objects.using(database_alias()).filter(is_open(now), pk=task.pk)


def _ask(task: HumanTask, now: int) -> None:
    if not task.started_by:
        raise RefusedError(_("Nobody is known to have asked for this."))
    waiting = _open(task, now).filter(waits_for_requester_since__isnull=True)
    if not waiting.update(waits_for_requester_since=now):
        raise RefusedError(_("The requester has been asked already, or this is over."))


def _reply(task: HumanTask, actor: Actor, now: int) -> None:
    if task.started_by != starter_of(actor.user):
        raise RefusedError(_("Only whoever asked for this can reply."))
    since = task.waits_for_requester_since
    asked = _open(task, now).filter(waits_for_requester_since__isnull=False)
    if since is None or not asked.update(waits_for_requester_since=None):
        raise RefusedError(_("Nobody has asked you anything, or this is over."))
    _open(task, now).filter(due_at__lt=NO_DUE).update(due_at=F("due_at") + (now - since))
