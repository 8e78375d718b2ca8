"""Answering many questions at once: gather them, begin, follow how it goes."""

import datetime as dt
import uuid
from typing import Annotated, Any

from django.utils.translation import gettext as _
from msgspec import Meta, Struct

from dashboard import bulk
from dashboard.api.answers import AnswerBody
from dashboard.api.operations import Call, operation
from dashboard.api.problems import ProblemError, not_found, refuse
from dashboard.api.tasks import ListedTasks, filters_of
from dashboard.api.values import MAX_NUMBER, instant, moment
from dashboard.forms import read_sent
from dashboard.models import BulkItem, BulkJob

PAGE_SIZE = 200


class GatherBody(Struct, forbid_unknown_fields=True):
    """Which questions: those with these ids, or all open ones of a list."""

    ids: list[str] = []
    all: ListedTasks | None = None


class Job(Struct):
    """One answer to many questions, and how far it got: the number of questions by result."""

    id: uuid.UUID
    answer: str
    comment: str
    total: int
    results: dict[str, int]
    made_at: dt.datetime
    started_at: dt.datetime | None
    stopped_at: dt.datetime | None
    ended_at: dt.datetime | None

    @classmethod
    def of(cls, job: BulkJob) -> "Job":
        """Return a job."""
        return cls(
            id=job.pk,
            answer=job.answer,
            comment=job.comment,
            total=job.total,
            results=dict(bulk.results_of(job)),
            made_at=moment(job.made_at),
            started_at=instant(job.started_at),
            stopped_at=instant(job.stopped_at),
            ended_at=instant(job.ended_at),
        )


class ResultQuery(Struct, forbid_unknown_fields=True):
    """Which results to list. ``after`` is the ``next`` of the page before."""

    result: BulkItem.Result | None = None
    after: Annotated[int, Meta(ge=0, le=MAX_NUMBER)] = 0


class ResultLine(Struct):
    """What became of one question, and why not what was wanted."""

    task: str
    title: str
    result: str
    problem: str


class ResultPage(Struct):
    """A page of results, and where the next begins."""

    items: list[ResultLine]
    next: int | None


@operation("POST", "bulk-answers", body=GatherBody, result=Job, statuses=(201,))
def gather_tasks(call: Call) -> Job:
    """Gather questions of one kind to answer them together; nothing is answered yet."""
    body: GatherBody = call.body
    if body.all is None:
        return Job.of(bulk.prepare(call.actor, ids=body.ids))
    if body.ids:
        refuse("ids", _("Give ids, or take all of a list."))
    filters = filters_of(call, body.all)
    return Job.of(bulk.prepare(call.actor, tab=body.all.tab, filters=filters))


@operation("GET", "bulk-answers/{job_id}", result=Job)
def read_bulk_answer(call: Call, job_id: uuid.UUID) -> Job:
    """Say how far a bulk answer got."""
    return Job.of(_job_of(call, job_id))


@operation(
    "POST",
    "bulk-answers/{job_id}/start",
    body=AnswerBody,
    result=Job,
    refusals=(409,),
)
def start_bulk_answer(call: Call, job_id: uuid.UUID) -> Job:
    """Begin to give one answer to all questions that were gathered; once, however often asked."""
    job = _job_of(call, job_id)
    found = bulk.questions_of(job, call.user)
    if not found:
        raise ProblemError(409, bulk.GONE)
    answer, _fields = read_sent(found[0], call.body.to_sent())
    bulk.start(job, answer, call.actor)
    return Job.of(_job_of(call, job_id))


@operation("POST", "bulk-answers/{job_id}/stop", result=Job)
def stop_bulk_answer(call: Call, job_id: uuid.UUID) -> Job:
    """Give no more answers; those given stay."""
    bulk.stop(_job_of(call, job_id), call.actor)
    return Job.of(_job_of(call, job_id))


@operation("GET", "bulk-answers/{job_id}/results", query=ResultQuery, result=ResultPage)
def list_bulk_results(call: Call, job_id: uuid.UUID) -> ResultPage:
    """List what became of each question."""
    query: ResultQuery = call.query
    items = _job_of(call, job_id).items.filter(pk__gt=query.after).order_by("pk")
    if query.result is not None:
        items = items.filter(result=query.result)
    found = list(items[: PAGE_SIZE + 1])
    page = found[:PAGE_SIZE]
    return ResultPage(
        [ResultLine(one.task_id, one.title, one.result, one.problem) for one in page],
        page[-1].pk if len(found) > PAGE_SIZE else None,
    )


def _job_of(call: Call, job_id: uuid.UUID) -> BulkJob:
    found: Any = bulk.jobs_of(call.user).filter(pk=job_id).first()
    if found is None:
        raise not_found()
    job: BulkJob = found
    return job
