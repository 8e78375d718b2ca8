"""One answer to many questions of a kind: chosen, looked at, then given one by one by a worker.

Each question is answered like any other, with its own rights, votes and audit row, and for each is
kept what became of it. The execution that does it can be stopped, and goes on after a crash: an
item that was answered is answered once.
"""

import logging
from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any

from django.db import DatabaseError, transaction
from django.db.models import Exists, OuterRef
from django.db.models.functions import Coalesce
from django.utils.translation import gettext_lazy as _

import durable
from dashboard import auditing
from dashboard.answering import Actor, Answer, NoSuchQuestionError, Verdict
from dashboard.attendance import group
from dashboard.decisions import decide, option_of
from dashboard.inbox_filters import Filters
from dashboard.inbox_queries import Tab, answerable
from dashboard.models import Action, BulkItem, BulkJob, HumanTask, TargetKind
from dashboard.people import find_user
from dashboard.permissions import AnyUser, visible_to
from dashboard.rights import RefusedError
from durable.clock import now_ms
from durable.conf import database_alias
from durable.protocol.validation import find_text_error

logger = logging.getLogger(__name__)

FUNCTION = "signoff.bulk"
MAX_ITEMS = 10_000
BATCH = 50

GONE = _("None of these questions can be answered by you any more.")

_RESULTS = {
    Verdict.SETTLED: BulkItem.Result.DONE,
    Verdict.REPEATED: BulkItem.Result.DONE,
    Verdict.VOTED: BulkItem.Result.VOTED,
    Verdict.LATE: BulkItem.Result.SETTLED,
}


def prepare(
    actor: Actor,
    *,
    ids: Collection[str] = (),
    tab: Tab = Tab.ANSWER,
    filters: Filters | None = None,
) -> BulkJob:
    """Gather questions: those with these ids, or all of a list; nothing is answered yet.

    Of either those that the actor may answer now, see ``inbox_queries.answerable``. Raises
    ``RefusedError`` when there are none, too many, or when they are not of one kind.
    """
    now = now_ms()
    if filters is None:
        known = [one for one in ids if find_text_error("id", one) is None]
        tasks = answerable(actor.user, now).filter(pk__in=known)
    else:
        tasks = answerable(actor.user, now, tab, filters)
    found = list(tasks[: MAX_ITEMS + 1])
    if not found:
        raise RefusedError(GONE)
    if len(found) > MAX_ITEMS:
        limit = {"count": MAX_ITEMS}
        raise RefusedError(_("These are more than %(count)d questions: narrow them down.") % limit)
    if any(_needs_a_look(task) for task in found):
        raise RefusedError(
            _(
                "Some of these questions have to be confirmed, or have a mistake in them:"
                " answer those one by one."
            )
        )
    if len({kind_of(task) for task in found}) > 1:
        raise RefusedError(
            _("These questions differ in type, answers or form: choose some of one kind.")
        )
    with transaction.atomic(using=database_alias()):
        job = BulkJob.objects.using(database_alias()).create(
            user_id=actor.user.pk,
            actor=actor.kept,
            total=len(found),
            made_at=now,
        )
        BulkItem.objects.using(database_alias()).bulk_create(
            BulkItem(job=job, task_id=task.pk, title=str(task), asked_at=task.asked_at)
            for task in found
        )
    return job


def _needs_a_look(task: HumanTask) -> bool:
    """Whether a question is to be answered by itself; one with a mistake in it may have said so."""
    return bool(task.mistake or (task.described is not None and task.described.confirm))


def jobs_of(user: AnyUser) -> Any:
    """Return a user's own jobs; nobody else sees them."""
    return BulkJob.objects.using(database_alias()).filter(user=user.pk)


def questions_of(job: BulkJob, user: AnyUser, limit: int = 1) -> list[HumanTask]:
    """Return the first questions of a job that a user may see, in its order.

    All have the same answers and the same form. One that was described anew since they were
    gathered is not among them: it may have others, and what it says now was read by nobody.
    """
    asks_since = Coalesce("described_at", "created_at")
    as_it_was = Coalesce(OuterRef("asked_at"), asks_since)
    read = visible_to(user).annotate(asks_since=asks_since).filter(asks_since=as_it_was)
    items = job.items.filter(Exists(read.filter(pk=OuterRef("task_id")))).order_by("pk")
    ids = list(items.values_list("task_id", flat=True)[:limit])
    tasks = visible_to(user).in_bulk(ids)
    return [tasks[one] for one in ids if one in tasks]


def start(job: BulkJob, answer: Answer, actor: Actor) -> None:
    """Begin to give the answer, in the transaction that notes it; once, however often asked.

    From then on it is given as ``actor`` is signed in, however the questions were gathered.
    """
    found = questions_of(job, actor.user)
    if not found:
        raise RefusedError(GONE)
    option = option_of(found[0], answer.name)
    if option.needs_comment and not answer.comment:
        raise RefusedError(_("This answer needs a comment."))
    with transaction.atomic(using=database_alias()):
        waiting = BulkJob.objects.using(database_alias()).filter(
            pk=job.pk, started_at__isnull=True, stopped_at__isnull=True
        )
        begun = waiting.update(
            answer=answer.name,
            comment=answer.comment,
            values=dict(answer.values),
            actor=actor.kept,
            started_at=now_ms(),
        )
        if not begun:
            return
        auditing.record(
            Action.BULK,
            str(job.pk),
            actor,
            kind=TargetKind.BULK,
            answer=answer.name,
            reason=answer.comment,
            details={"questions": job.total},
        )
        durable.options(target=group()).start(f"signoff.bulk.{job.pk.hex}", FUNCTION, str(job.pk))


def stop(job: BulkJob, actor: Actor) -> bool:
    """Give no more answers; those given stay. Return whether there was something to stop."""
    running = BulkJob.objects.using(database_alias()).filter(
        pk=job.pk, ended_at__isnull=True, stopped_at__isnull=True
    )
    with transaction.atomic(using=database_alias()):
        if not running.update(stopped_at=now_ms()):
            return False
        auditing.record(
            Action.CHANGE,
            str(job.pk),
            actor,
            kind=TargetKind.BULK,
            answer=job.answer,
            before="waiting" if job.started_at is None else "running",
            after="stopped",
        )
    return True


def answer_some(job_id: str) -> int:
    """Answer the next questions of a job; return how many are left, none once it was stopped."""
    jobs = BulkJob.objects.using(database_alias())
    job = jobs.filter(pk=job_id).first()
    if job is None:
        return 0
    waiting = job.items.filter(job__stopped_at__isnull=True, result=BulkItem.Result.WAITING)
    for item in waiting.order_by("pk")[:BATCH]:
        # Read for each: it may be stopped meanwhile, and who gave it may have lost a right.
        running = jobs.filter(pk=job_id, stopped_at__isnull=True).first()
        if running is None:
            break
        _answer_one(running, item)
    left = waiting.count()
    if not left:
        jobs.filter(pk=job_id, ended_at__isnull=True).update(ended_at=now_ms())
    return left


def _answer_one(job: BulkJob, item: BulkItem) -> None:
    answer = Answer(
        job.answer,
        job.comment,
        request_key=f"bulk {job.pk.hex}",
        values=job.values,
        asked_at=item.asked_at,
    )
    try:
        result, problem = _RESULTS[decide(item.task_id, actor_of(job), answer)], ""
    except NoSuchQuestionError:
        result, problem = BulkItem.Result.GONE, ""
    except RefusedError as error:
        result, problem = BulkItem.Result.REFUSED, str(error.sentence)
    except DatabaseError:
        raise  # It may be back: the step is tried again.
    except Exception:  # one that cannot be answered must not keep the others from it
        logger.exception("cannot answer", extra={"action": "bulk", "task": item.task_id})
        result, problem = BulkItem.Result.FAILED, str(_("The log of the server says why."))
    BulkItem.objects.using(database_alias()).filter(pk=item.pk).update(
        result=result, problem=problem
    )


def actor_of(job: BulkJob) -> Actor:
    """Return who gave the job, as they were signed in when they began it."""
    user = find_user(job.user_id)
    if user is None or not user.is_active:
        raise RefusedError(_("Whoever gave this job can no longer sign in."))
    return Actor.restored(user, job.actor)


def results_of(job: BulkJob) -> Mapping[str, int]:
    """Return how many questions have which result."""
    return Counter(job.items.values_list("result", flat=True))


def kind_of(task: HumanTask) -> tuple[str, str]:
    """Return what has to be the same for questions that are answered together."""
    if not task.is_described:
        return task.type or task.function, ""
    raw = task.description
    same = ("answers", "form", "proposal", "editable")
    return task.type or task.function, repr([raw.get(key) for key in same])
