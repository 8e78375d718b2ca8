"""Gives a description to a promise that has none, for those who cannot write into the promise."""

from enum import StrEnum
from typing import Any, NamedTuple

from django.db import transaction
from django.utils.functional import Promise as LazyText
from django.utils.translation import gettext_lazy as _

from dashboard import auditing
from dashboard.answering import Actor, NoSuchQuestionError
from dashboard.channels.executions import begin_announcing, begin_telling
from dashboard.descriptions.description import describes_itself
from dashboard.descriptions.nodes import is_same
from dashboard.held_answers import waiting
from dashboard.masking import mask_description
from dashboard.models import Action, HumanTask, MessageEvent, Vote
from dashboard.permissions import DESCRIBE_TASKS, has, visible_to
from dashboard.recording import read_given, record_given
from dashboard.rights import RefusedError
from dashboard.sweep import latent_promises, records_of, repair
from dashboard.votes import lock_questions
from durable.clock import now_ms
from durable.conf import database_alias
from durable.protocol.records import PromiseRecord


class Described(StrEnum):
    """What became of a description."""

    ADDED = "added"
    REPLACED = "replaced"
    UNCHANGED = "unchanged"


class Given(NamedTuple):
    """A question with the description that it has now, and whether that is new."""

    task: HumanTask
    result: Described


class ConflictError(Exception):
    """What stands in the way of a description; ``sentence`` says it."""

    def __init__(self, sentence: str | LazyText) -> None:
        """``sentence`` is shown as it is."""
        super().__init__(str(sentence))
        self.sentence = sentence


def describe(promise_id: str, actor: Actor, described: Any) -> Given:
    """Attach a description to a promise that waits, in place of one that came in the same way.

    All that hangs on it begins in the same transaction: who may answer, its times, its messages.
    The same description again changes nothing. Raises ``NoSuchQuestionError`` for what is no latent
    promise, ``RefusedError`` without the right, ``DescriptionError`` for one that is wrong, and
    ``ConflictError`` when the promise says it all itself, is over, or has been answered.
    """
    _check_right(promise_id, actor)
    using = database_alias()
    if not HumanTask.objects.using(using).filter(pk=promise_id).exists():
        repair([promise_id], using=using)  # it came a moment ago
    with transaction.atomic(using=using):
        lock_questions([promise_id])
        # Whoever settles it waits, or has done so.
        held = latent_promises(using).filter(pk=promise_id).select_for_update(of=("self",))
        promise = next(iter(records_of(held)), None)
        tasks = HumanTask.objects.using(using).filter(pk=promise_id)
        task = None if promise is None else tasks.filter(created_at=promise.created_at).first()
        if promise is None or task is None:
            raise NoSuchQuestionError(promise_id)
        if task.described_at is not None and is_same(task.description, described):
            return Given(task, Described.UNCHANGED)
        now = max(now_ms(), task.asked_at + 1)
        _check_free(promise, now)
        changed = record_given(task, read_given(described, promise, now), now, using=using)
        _note(changed, actor)
        if task.described_at is None:
            begin_announcing([promise_id], using=using)
            return Given(changed, Described.ADDED)
        begin_telling(changed, MessageEvent.ASKED, f"described@{now}")
        return Given(changed, Described.REPLACED)


def _check_right(promise_id: str, actor: Actor) -> None:
    if has(actor.user, DESCRIBE_TASKS):
        return
    if visible_to(actor.user).filter(pk=promise_id).exists():
        raise RefusedError(_("You may read this, but not say what it asks."))
    raise NoSuchQuestionError(promise_id)


def _check_free(promise: PromiseRecord, now: int) -> None:
    if describes_itself(promise.param.data, promise.tags):
        raise ConflictError(_("This was asked with a description of its own, which stays."))
    if not promise.is_pending or promise.timeout_at <= now:
        raise ConflictError(_("This is over: what it asks can no longer be said."))
    if Vote.objects.using(database_alias()).filter(task=promise.id).exists():
        raise ConflictError(_("Somebody has answered this already: what it asks stays."))
    if waiting().filter(task=promise.id).exists():
        raise ConflictError(_("Somebody is about to answer this: what it asks stays."))


def _note(task: HumanTask, actor: Actor) -> None:
    """Write down who said what it asks; secrets stay out of it."""
    auditing.record(
        Action.DESCRIBE,
        task.pk,
        actor,
        details={"description": mask_description(task.description)},
        payload_hash=auditing.hash_of(task.description),
    )
