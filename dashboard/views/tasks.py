"""The decision page: read a question, answer it, see what became of it."""

from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_POST, require_safe
from django_htmx.http import HttpResponseLocation, trigger_client_event

from dashboard import holding, wording
from dashboard.answering import Actor, Answer, NoSuchQuestionError, Verdict
from dashboard.belongings import belongings_of
from dashboard.decisions import OutdatedError
from dashboard.drafts import drop_draft
from dashboard.forms import DecisionForm, form_for
from dashboard.inbox_queries import tabs_of
from dashboard.models import HumanTask
from dashboard.panels import Panel, read_panel
from dashboard.permissions import visible_to
from dashboard.rights import RefusedError
from dashboard.views.inbox import (
    TEMPLATE,
    current_path,
    for_people,
    list_suffix,
    read_list,
    shown_in,
    wants_fragment,
)
from durable.clock import now_ms

PANEL = "dashboard/inbox/panel.html"
FORBIDDEN = 403
CONFLICT = 409
UNPROCESSABLE = 422


@for_people
@require_safe
def show(request: HttpRequest, promise_id: str) -> HttpResponse:
    """Show one question."""
    return respond(request, panel_for(request, promise_id))


@for_people
@require_safe
def state(request: HttpRequest, promise_id: str) -> HttpResponse:
    """Say what has become of a question, to a page that still shows it as it was.

    That it is over, that somebody else has it now, or is about to answer it; nothing while it just
    waits. ``holder`` is who had taken it on when the page was made.
    """
    panel = panel_for(request, promise_id)
    holder = panel.task.claimed_by_id
    has_moved = request.GET.get("holder", _key(holder)) != _key(holder)
    if panel.is_open and not (panel.others or has_moved or "watched" in request.GET):
        return HttpResponse(status=204)
    partial = "about" if panel.is_open else "ended"
    context = {
        "panel": panel,
        "now": now_ms(),
        "has_moved": has_moved,
        "list_suffix": list_suffix(request),
    }
    return render(request, f"{PANEL}#{partial}", context)


def _key(holder: Any) -> str:
    return "" if holder is None else str(holder)


@for_people
@require_safe
def find(request: HttpRequest, promise_id: str) -> HttpResponse:
    """Send on to the address that a question really has."""
    task = get_object_or_404(visible_to(request.user), pk=promise_id)
    return redirect("signoff:task", task.pk)


@for_people
@require_POST
def take_back(request: HttpRequest, promise_id: str) -> HttpResponse:
    """Take an answer back that is on its way, and show the form as it was filled in."""
    try:
        holding.take_back(promise_id, Actor.of(request))
    except NoSuchQuestionError:
        raise Http404 from None
    except RefusedError as error:
        panel = panel_for(request, promise_id, refused=error.sentence)
        return respond(request, panel, status=CONFLICT)
    if wants_fragment(request):
        return announce(respond(request, panel_for(request, promise_id)))
    return HttpResponseRedirect(next_page(request, promise_id), status=303)


@sensitive_post_parameters("confirmation")
@for_people
@require_POST
def decide(request: HttpRequest, promise_id: str) -> HttpResponse:
    """Answer a question: 303 or the result, 409 when it was over, 422 when the form is wrong."""
    task = get_object_or_404(visible_to(request.user), pk=promise_id)
    form = form_for(task, request.POST, request.FILES)
    if form.is_again:  # one more row, or one less
        return respond(request, panel_for(request, promise_id, form=form))
    if not form.is_valid():
        panel = panel_for(request, promise_id, form=form)
        # What is wrong with an answer no longer matters when it would be late anyway.
        status = UNPROCESSABLE if panel.is_open else CONFLICT
        return respond(request, panel, status=status)
    try:
        actor = Actor.of(request)
        sent = form.to_give_back(request.POST)
        verdict = holding.decide_or_hold(promise_id, actor, form.to_answer(), sent)
    except NoSuchQuestionError:
        raise Http404 from None
    except RefusedError as error:
        # What was filled in belongs to the form that was read.
        kept = None if isinstance(error, OutdatedError) else form
        panel = panel_for(request, promise_id, form=kept, refused=error.sentence)
        return respond(request, panel, status=FORBIDDEN)
    if verdict is Verdict.LATE:
        panel = panel_for(request, promise_id, late=form)
        return announce(respond(request, panel, status=CONFLICT))
    if verdict is not Verdict.HELD:
        drop_draft(task, request.user)  # type: ignore[arg-type]
    panel = panel_for(request, promise_id)
    if panel.next is not None and verdict is not Verdict.HELD and _goes_on(request):
        return _go_on(request, panel.task, panel.next, form.to_answer())
    if wants_fragment(request):
        return announce(respond(request, panel))
    return HttpResponseRedirect(next_page(request, promise_id), status=303)


def _goes_on(request: HttpRequest) -> bool:
    """Whether the next question opens by itself: where the panel is not a part of another page."""
    inbox = reverse("signoff:inbox")
    is_elsewhere = request.POST.get("next") or not current_path(request, inbox).startswith(inbox)
    return belongings_of(request.user).advances and not is_elsewhere


def _go_on(
    request: HttpRequest, task: HumanTask, following: HumanTask, answer: Answer
) -> HttpResponse:
    """Open the next question, and say what became of the last."""
    option = next((one for one in task.options if one.name == answer.name), None)
    label = "" if option is None else option.label
    deed = wording.outcome_of(answer.name, label, by="", is_mine=True)
    sentence = _("%(deed)s: %(question)s") % {"deed": deed, "question": task}
    url = f"{reverse('signoff:task', args=[following.pk])}{list_suffix(request)}"
    if not wants_fragment(request):
        messages.success(request, sentence)
        return HttpResponseRedirect(url, status=303)
    response = HttpResponseLocation(url, target="#detail", swap="innerHTML")
    return announce(trigger_client_event(response, "signoff:said", {"text": sentence}))


def panel_for(
    request: HttpRequest,
    promise_id: str,
    *,
    form: DecisionForm | None = None,
    late: DecisionForm | None = None,
    refused: Any = "",
    reveal: bool = False,
) -> Panel:
    """Read a question for who asks; 404 when there is none for them."""
    panel = read_panel(
        promise_id,
        request.user,
        now_ms(),
        form=form,
        late=late,
        refused=refused,
        reveal=reveal,
        shown=shown_in(request, tabs_of(request.user)),
    )
    if panel is None:
        raise Http404
    return panel


def respond(request: HttpRequest, panel: Panel, *, status: int = 200) -> HttpResponse:
    """Return the panel alone to htmx, else the whole inbox around it."""
    now = now_ms()
    if wants_fragment(request):
        # Where the panel is on another page, it stays there.
        next_url = request.POST.get("next", "")
        suffix = list_suffix(request)
        context = {"panel": panel, "now": now, "next_page": next_url, "list_suffix": suffix}
        return render(request, PANEL, context, status=status)
    context = read_list(request, now) | {"panel": panel}
    return render(request, TEMPLATE, context, status=status)


def announce(response: HttpResponse) -> HttpResponse:
    """Let badge and list on the same page look for themselves."""
    return trigger_client_event(response, "inbox:changed")


def next_page(request: HttpRequest, promise_id: str) -> str:
    """Return the page that the form names, if it is ours, else the question's own."""
    wanted = request.POST.get("next", "")
    if wanted and url_has_allowed_host_and_scheme(
        wanted, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    ):
        return wanted
    return f"{reverse('signoff:task', args=[promise_id])}{list_suffix(request)}"
