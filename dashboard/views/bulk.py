"""Answering many questions at once: choose them, look at what that means, follow how it goes."""

import uuid
from collections.abc import Iterator, Sequence
from typing import Any

from django.contrib import messages
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseRedirect,
    StreamingHttpResponse,
)
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import ngettext
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from dashboard import bulk
from dashboard.answering import Actor
from dashboard.forms import DecisionForm, form_for
from dashboard.inbox_filters import Filters
from dashboard.inbox_queries import tabs_of
from dashboard.models import BulkItem, BulkJob, HumanTask
from dashboard.panels import buttons_of
from dashboard.rights import RefusedError
from dashboard.spreadsheets import as_csv
from dashboard.views.inbox import chosen_tab, for_people, list_query
from durable.clock import now_ms

TEMPLATE = "dashboard/inbox/bulk.html"
SAMPLE = 10
SHOWN = 200


@for_people
@require_POST
def choose(request: HttpRequest) -> HttpResponse:
    """Gather the questions that were ticked, or all of a list, and go on to look at them."""
    actor, ids = Actor.of(request), set(request.POST.getlist("task"))
    tab, filters = chosen_tab(request, tabs_of(request.user)), Filters.read(request.GET)
    is_all = bool(request.POST.get("all"))
    try:
        if is_all:
            job = bulk.prepare(actor, tab=tab, filters=filters)
        else:
            job = bulk.prepare(actor, ids=ids)
    except RefusedError as error:
        messages.error(request, str(error.sentence))
        back = f"{reverse('signoff:inbox')}?{list_query(tab, filters)}"
        return HttpResponseRedirect(back, status=303)
    if not is_all and (left := len(ids) - job.total):
        text = ngettext(
            "%(count)d of those you ticked is left out: others see to it, or it is over.",
            "%(count)d of those you ticked are left out: others see to them, or they are over.",
            left,
        )
        messages.warning(request, text % {"count": left})
    return HttpResponseRedirect(reverse("signoff:bulk", args=[job.pk]), status=303)


@for_people
@require_http_methods(["GET", "HEAD", "POST"])
def show(request: HttpRequest, job_id: uuid.UUID) -> HttpResponse:
    """Show what a job would answer, or how far it got; with POST, begin."""
    job = _find(request, job_id)
    is_begun = job.started_at is not None or job.stopped_at is not None
    questions = [] if is_begun else bulk.questions_of(job, request.user, SHOWN)
    if request.method != "POST" or not (questions or is_begun):
        return _render(request, job, questions)
    if not is_begun:
        form = form_for(questions[0], request.POST, request.FILES)
        if form.is_again or not form.is_valid():
            return _render(request, job, questions, form, status=200 if form.is_again else 422)
        try:
            bulk.start(job, form.to_answer(), Actor.of(request))
        except RefusedError as error:
            return _render(request, job, questions, form, status=403, refused=error.sentence)
    return HttpResponseRedirect(reverse("signoff:bulk", args=[job.pk]), status=303)


@for_people
@require_POST
def stop(request: HttpRequest, job_id: uuid.UUID) -> HttpResponse:
    """Give no more answers."""
    job = _find(request, job_id)
    bulk.stop(job, Actor.of(request))
    return HttpResponseRedirect(reverse("signoff:bulk", args=[job.pk]), status=303)


@for_people
@require_safe
def download(request: HttpRequest, job_id: uuid.UUID) -> StreamingHttpResponse:
    """Return what became of each question, as CSV."""
    job = _find(request, job_id)
    response = StreamingHttpResponse(_lines(job), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="answers-{job.pk.hex[:8]}.csv"'
    return response


def _lines(job: BulkJob) -> Iterator[str]:
    yield as_csv([["question", "title", "result", "problem"]])
    for item in job.items.order_by("pk").iterator():
        yield as_csv([(item.task_id, item.title, item.result, item.problem)])


def _find(request: HttpRequest, job_id: uuid.UUID) -> BulkJob:
    job: BulkJob | None = bulk.jobs_of(request.user).filter(pk=job_id).first()
    if job is None:
        raise Http404
    return job


def _render(
    request: HttpRequest,
    job: BulkJob,
    questions: Sequence[HumanTask],
    form: DecisionForm | None = None,
    *,
    status: int = 200,
    refused: Any = "",
) -> HttpResponse:
    """Show a job with some of its questions, all of which ask for the same."""
    task = questions[0] if questions else None
    if form is None and task is not None:
        form = form_for(task)
    counts = bulk.results_of(job)
    context = {
        "section": "inbox",
        "job": job,
        "form": form,
        "panel": {"form": form},
        "buttons": buttons_of(task) if task else [],
        "refused": refused if task else bulk.GONE,
        "now": now_ms(),
        "counts": [
            (BulkItem.Result(name).label, number) for name, number in sorted(counts.items())
        ],
        "left": counts.get(BulkItem.Result.WAITING, 0),
        "sample": questions[:SAMPLE],
        "further": questions[SAMPLE:],
        "unread": job.total - len(questions),
        "troubled": list(
            job.items.exclude(
                result__in=[BulkItem.Result.WAITING, BulkItem.Result.DONE, BulkItem.Result.VOTED]
            ).order_by("pk")[:SHOWN]
        ),
    }
    return render(request, TEMPLATE, context, status=status)
