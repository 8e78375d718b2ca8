"""Holds answers for as long as their question's author lets people take them back.

A held answer is a row with an execution that sends it at its time; nothing is settled before. What
others do in the meantime counts, and whoever comes too late is told.
"""

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction
from django.http import QueryDict
from django.utils.translation import gettext_lazy as _

import durable
from dashboard import auditing, links
from dashboard.answering import Actor, Answer, NoSuchQuestionError, Verdict
from dashboard.attendance import group
from dashboard.channels.contents import UNUSED, speaking_to
from dashboard.channels.executions import begin_telling
from dashboard.decisions import action_of, decide
from dashboard.drafts import drop_draft, fields_of, keep_fields
from dashboard.held_answers import FOR, rows, waiting
from dashboard.models import ANSWERS, Action, AuditEntry, HeldAnswer, HumanTask, MessageEvent
from dashboard.people import find_user, name_of
from dashboard.permissions import visible_to
from dashboard.rights import ANSWERED_THEMSELF, Capacity, RefusedError, Sentence
from durable.clock import now_ms
from durable.conf import database_alias
from durable.protocol.states import PromiseState

logger = logging.getLogger(__name__)

FUNCTION = "signoff.send"
GRACE_MS = 10_000
"""How late an answer may be before others send it: there may be no worker for it."""
BATCH = 100


def decide_or_hold(promise_id: str, actor: Actor, answer: Answer, sent: QueryDict) -> Verdict:
    """Answer a question as ``decide`` does, or hold the answer where its author wants that.

    ``sent`` is the form, which is given back when the answer is taken back or comes to nothing.
    """

    def hold(task: HumanTask, capacity: Capacity) -> None:
        _keep(task, actor, answer, capacity, fields_of(sent))

    return decide(promise_id, actor, answer, hold=hold)


def take_back(promise_id: str, actor: Actor) -> None:
    """Take an answer back that is on its way: what was typed is a draft again.

    Raises ``NoSuchQuestionError``, and ``RefusedError`` when it has been sent.
    """
    with transaction.atomic(using=database_alias()):
        task = visible_to(actor.user).filter(pk=promise_id).first()
        if task is None:
            raise NoSuchQuestionError(promise_id)
        held = waiting().filter(task=task.pk, user=actor.user.pk).select_for_update().first()
        if held is None:
            raise RefusedError(_("There is nothing to take back: it has been sent."))
        durable.cancel(_execution_id(held), "the answer was taken back")
        held.delete()
        keep_fields(task, actor.user, held.fields)
        auditing.record(Action.TAKE_BACK, task.pk, actor, answer=held.answer)


def send(held_id: str) -> str:
    """Give an answer that was not taken back; a step of the execution that waited for its time."""
    with transaction.atomic(using=database_alias()):
        held = waiting().filter(pk=held_id).select_for_update().first()
        if held is None:
            return "gone"
        user = find_user(held.user_id)
        with speaking_to(user):
            result, problem = _give(held, user)
        if not result:
            held.delete()
            return "sent"
        rows().filter(pk=held.pk).update(result=result, problem=problem)
        if result == HeldAnswer.Result.REFUSED:
            _note_refused(held, user, problem)
            if user is not None:
                _tell_refused(held, user)
        return result.value


def send_overdue(*, using: str, **_kwargs: object) -> None:
    """Send what should have been sent before; a receiver of ``durable.signals.housekeeping``."""
    late = waiting(using).filter(sends_at__lte=now_ms() - GRACE_MS).order_by("sends_at")
    for held_id in list(late.values_list("pk", flat=True)[:BATCH]):
        try:
            send(str(held_id))
        except Exception:  # one that cannot be sent must not keep back the others
            logger.exception("cannot send an answer", extra={"action": "send", "held": held_id})


def _keep(
    task: HumanTask,
    actor: Actor,
    answer: Answer,
    capacity: Capacity,
    fields: Mapping[str, list[str]],
) -> None:
    now = now_ms()
    kept = actor.kept | ({"link": actor.link} if actor.link else {})
    if capacity.is_deputy:
        kept[FOR] = str(capacity.principal.pk)
    described = task.described
    seconds = 0 if described is None else described.undo
    rows().filter(task=task.pk, user=actor.user.pk).exclude(
        result=HeldAnswer.Result.WAITING
    ).delete()
    held, is_new = rows().get_or_create(
        task=task,
        user_id=actor.user.pk,
        defaults={
            "actor": kept,
            "answer": answer.name,
            "comment": answer.comment,
            "values": dict(answer.values),
            "request_key": answer.request_key,
            "fields": dict(fields),
            "held_at": now,
            "sends_at": now + seconds * 1000,
        },
    )
    if is_new:
        drop_draft(task, actor.user)
        durable.options(target=group()).start(
            _execution_id(held), FUNCTION, str(held.pk), held.sends_at
        )
    elif not answer.request_key or held.request_key != answer.request_key:
        raise RefusedError(_("Your answer is on its way: take it back to give another."))


def _give(held: HeldAnswer, user: Any) -> tuple[HeldAnswer.Result | None, str]:
    """Return what came of an answer, and why, if it came to nothing."""
    if user is None or not user.is_active:
        return HeldAnswer.Result.REFUSED, str(_("Whoever gave this answer can no longer sign in."))
    actor = Actor.restored(user, held.actor)
    if sentence := _why_outdated(held):
        return HeldAnswer.Result.REFUSED, str(sentence)
    answer = Answer(held.answer, held.comment, held.request_key, held.values)
    try:
        if link := held.actor.get("link"):
            links.hold_sent(link)
        verdict = decide(held.task_id, actor, answer, is_confirmed=True)
    except NoSuchQuestionError:
        return HeldAnswer.Result.REFUSED, str(_("This question is no longer for you."))
    except (RefusedError, links.DeadLinkError) as error:
        keep_fields(held.task, user, held.fields)
        return HeldAnswer.Result.REFUSED, str(error.sentence)
    return (HeldAnswer.Result.LATE if verdict is Verdict.LATE else None), ""


def _note_refused(held: HeldAnswer, user: Any, problem: str) -> None:
    """Write down an answer that was not used; one that was late has its row already."""
    by = auditing.SYSTEM if user is None else Actor.restored(user, held.actor)
    auditing.record(
        action_of(held.answer),
        held.task_id,
        by,
        answer=held.answer,
        reason=held.comment,
        before=PromiseState.PENDING,
        after=PromiseState.PENDING,
        details={auditing.REFUSED: problem},
        is_effective=False,
        request_key=f"held {held.pk.hex}",
    )


def _tell_refused(held: HeldAnswer, user: AbstractBaseUser) -> None:
    """Start to tell whoever gave it: they may not look at the question again, or be able to."""
    people = {"users": [user.get_username()]}
    begin_telling(held.task, MessageEvent.MENTIONED, f"{UNUSED} {held.pk.hex}", people)


def _why_outdated(held: HeldAnswer) -> Sentence:
    """Say which later word stands before an answer; empty for none.

    The same person may have answered in another way meanwhile, such as a chat, or whoever they
    answered for has come back.
    """
    since = datetime.fromtimestamp(held.held_at / 1000, tz=UTC)
    answers = AuditEntry.objects.using(database_alias()).filter(
        target=held.task_id, action__in=ANSWERS, at__gt=since, is_effective=True
    )
    if answers.filter(actor=held.user_id).exists():
        return _("You have answered otherwise since then.")
    principal = find_user(held.actor.get(FOR))
    if principal is not None and answers.filter(actor=principal.pk).exists():
        return ANSWERED_THEMSELF % {"name": name_of(principal)}
    return ""


def _execution_id(held: HeldAnswer) -> str:
    return f"signoff.send.{held.pk.hex}"
