"""Taking a question on, giving it back, and handing it to somebody else."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction
from django.db.models import QuerySet
from django.utils.translation import gettext_lazy as _

from dashboard import attendance, auditing, permissions
from dashboard.answering import Actor, NoSuchQuestionError
from dashboard.channels.executions import tell_of_hand_over
from dashboard.models import Action, Draft, HumanTask
from dashboard.people import find_user, name_of
from dashboard.permissions import is_open, visible_to
from dashboard.policies import has_policy
from dashboard.rights import RefusedError, capacity_of
from dashboard.votes import lock_questions
from durable.clock import now_ms
from durable.conf import database_alias

BATCH = 500
MOST = 200
"""How many are taken on at once by one request."""


class Tried(NamedTuple):
    """What became of one question of several: why it was left; empty if it was taken on."""

    promise_id: str
    problem: str


def claim(promise_id: str, actor: Actor) -> HumanTask:
    """Take a question on, so that others leave it alone; of two who try at once one gets it.

    Raises ``NoSuchQuestionError``, and ``RefusedError`` when somebody else has it, or it is over.
    """
    with transaction.atomic(using=database_alias()):
        lock_questions([promise_id])  # so that nobody is just about to answer it
        task = _find(promise_id, actor)
        _free(task)
        capacity_of(task, actor.user)
        taken = _open(task).filter(claimed_by__isnull=True)
        if taken.update(claimed_by=actor.user.pk, **_times(task)):
            _take_draft_over(task, actor.user)
            auditing.record(Action.CLAIM, task.pk, actor)
        elif not _open(task).filter(claimed_by=actor.user.pk).exists():
            raise RefusedError(_why_not(task))
    return task


def claim_each(promise_ids: Iterable[str], actor: Actor) -> list[Tried]:
    """Take questions on, each by itself and once; those beyond ``MOST`` are left."""
    ids = list(dict.fromkeys(promise_ids))
    beyond = _("Take on %(count)d at most at a time.") % {"count": MOST}
    found = [Tried(one, _try(one, actor)) for one in ids[:MOST]]
    return found + [Tried(one, beyond) for one in ids[MOST:]]


def _try(promise_id: str, actor: Actor) -> str:
    try:
        claim(promise_id, actor)
    except NoSuchQuestionError:
        return str(_("It is not there any more."))
    except RefusedError as error:
        return str(error.sentence)
    return ""


def release(promise_id: str, actor: Actor, note: str = "") -> HumanTask:
    """Give a question back to everybody it is for; the holder may, and managers."""
    task = _find(promise_id, actor)
    _check_holder(task, actor)
    with transaction.atomic(using=database_alias()):
        held = _open(task).filter(claimed_by=task.claimed_by_id)
        if not held.update(claimed_by=None, claimed_at=None, released_at=None):
            raise RefusedError(_why_not(task))
        auditing.record(
            Action.RELEASE, task.pk, actor, reason=note, before=_name(task.claimed_by_id)
        )
    return task


def hand_over(promise_id: str, actor: Actor, to: AbstractBaseUser, note: str = "") -> HumanTask:
    """Give a question to one person: the holder may, managers may, and deciders while it is free.

    Raises ``RefusedError`` when that person could not answer it.
    """
    with transaction.atomic(using=database_alias()):
        lock_questions([promise_id])  # so that nobody is just about to answer it
        task = _find(promise_id, actor)
        if task.claimed_by_id is not None:
            _check_holder(task, actor)
        elif not permissions.has(actor.user, permissions.MANAGE_TASKS):
            capacity_of(task, actor.user)
        holder = task.claimed_by_id
        giver = actor.user.pk if holder is None else holder
        _free(task)
        try:
            capacity_of(task, to)
        except RefusedError:
            raise RefusedError(_("%(name)s may not answer this.") % {"name": name_of(to)}) from None
        held = _open(task).filter(claimed_by=holder)
        if not held.update(claimed_by=to.pk, **_times(task)):
            raise RefusedError(_why_not(task))
        _pass_draft_on(task, giver, to)
        if to.pk != giver:
            attendance.restart(task.pk)
        if to.pk != actor.user.pk:
            tell_of_hand_over(task, to)
        auditing.record(
            Action.HAND_OVER,
            task.pk,
            actor,
            reason=note,
            before=_name(holder),
            after=to.get_username(),
        )
    return task


def note_life(task: HumanTask, user: AbstractBaseUser) -> None:
    """Count the silence of the holder anew, after which a question is free again."""
    if _silence_of(task):
        _open(task).filter(claimed_by=user.pk).update(released_at=_times(task)["released_at"])


def _silence_of(task: HumanTask) -> int:
    """Return after how many ms of silence a question is to be free again; 0 for never."""
    return 0 if task.described is None else task.described.release_after


def release_silent(*, using: str, **_kwargs: object) -> None:
    """Free what nobody has touched for too long; a receiver of ``durable.signals.housekeeping``."""
    now = now_ms()
    tasks = HumanTask.objects.using(using).filter(settled_at__isnull=True, released_at__lte=now)
    for task in tasks.order_by("released_at")[:BATCH]:
        with transaction.atomic(using=using):
            silent = _open(task).filter(claimed_by=task.claimed_by_id, released_at__lte=now)
            if silent.update(claimed_by=None, claimed_at=None, released_at=None):
                before = _name(task.claimed_by_id)
                auditing.record(Action.RELEASE, task.pk, auditing.SYSTEM, before=before)


def _times(task: HumanTask) -> dict[str, int | None]:
    """Return when somebody takes a question on, and when that ends if they do nothing."""
    now, silence = now_ms(), _silence_of(task)
    return {"claimed_at": now, "released_at": now + silence if silence else None}


def _find(promise_id: str, actor: Actor) -> HumanTask:
    task = visible_to(actor.user).filter(pk=promise_id).first()
    if task is None:
        raise NoSuchQuestionError(promise_id)
    if has_policy(task):
        raise RefusedError(_("Several people answer this: nobody can take it for themself alone."))
    return task


def _free(task: HumanTask) -> None:
    """Look at the question as if nobody had it: who may answer does not hang on who has it."""
    task.claimed_by_id = None


def _open(task: HumanTask) -> QuerySet[Any]:
    return HumanTask.objects.using(database_alias()).filter(is_open(now_ms()), pk=task.pk)


def _check_holder(task: HumanTask, actor: Actor) -> None:
    if task.claimed_by_id is None:
        raise RefusedError(_("Nobody has taken this on."))
    is_holder = task.claimed_by_id == actor.user.pk
    if not is_holder and not permissions.has(actor.user, permissions.MANAGE_TASKS):
        raise RefusedError(_("Only who has taken this on may do that."))


def _why_not(task: HumanTask) -> Any:
    now = HumanTask.objects.using(database_alias()).filter(pk=task.pk).first()
    if now is not None and now.claimed_by_id is not None and now.settled_at is None:
        holder = find_user(now.claimed_by_id)
        name = name_of(holder) if holder else ""
        return _("%(name)s was first to take this on.") % {"name": name}
    return _("This is over: nobody can take it on any more.")


def _name(key: Any) -> str:
    user = find_user(key) if key is not None else None
    return "" if user is None else user.get_username()


def _pass_draft_on(task: HumanTask, giver: Any, to: AbstractBaseUser) -> None:
    """Let what the holder wrote go to the next, if the author wants that; else discard it."""
    drafts = Draft.objects.using(database_alias()).filter(task=task.pk)
    mine = drafts.filter(user=giver)
    if to.pk == giver:
        return
    if _draft_follows(task) and not drafts.filter(user=to.pk).exists():
        mine.update(user=to.pk)
    else:
        mine.delete()


def _take_draft_over(task: HumanTask, user: AbstractBaseUser) -> None:
    """Let the newest draft of those who gave the question back go to whoever takes it on."""
    drafts = Draft.objects.using(database_alias()).filter(task=task.pk)
    if not _draft_follows(task) or drafts.filter(user=user.pk).exists():
        return
    newest = drafts.order_by("-saved_at", "-pk").first()
    if newest is not None:
        drafts.filter(pk=newest.pk).update(user=user.pk)


def _draft_follows(task: HumanTask) -> bool:
    return task.described is not None and task.described.draft_follows
