"""The decision page: read a question, answer it, see what became of it."""

from typing import Any

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST, require_safe
from django_htmx.http import trigger_client_event

from dashboard.answering import Actor, NoSuchQuestionError, Verdict
from dashboard.decisions import decide as settle
from dashboard.drafts import drop_draft
from dashboard.forms import DecisionForm, form_for
from dashboard.panels import Panel, read_panel
from dashboard.permissions import visible_to
from dashboard.rights import RefusedError
from dashboard.views.inbox import TEMPLATE, for_people, read_list, wants_fragment
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
    """Say that a question is over, to a page that still shows its form; nothing while it waits."""
    panel = panel_for(request, promise_id)
    if panel.is_open:
        return HttpResponse(status=204)
    return render(request, f"{PANEL}#ended", {"panel": panel, "now": now_ms()})


@for_people
@require_safe
def find(request: HttpRequest, promise_id: str) -> HttpResponse:
    """Send on to the address that a question really has."""
    task = get_object_or_404(visible_to(request.user), pk=promise_id)
    return redirect("signoff:task", task.pk)


@for_people
@require_POST
def decide(request: HttpRequest, promise_id: str) -> HttpResponse:
    """Answer a question: 303 or the result, 409 when it was over, 422 when the form is wrong."""
    task = visible_to(request.user).filter(pk=promise_id).first()
    if task is None:
        raise Http404
    form = form_for(task, request.POST, request.FILES)
    if form.is_again:  # one more row, or one less
        return respond(request, panel_for(request, promise_id, form=form))
    if not form.is_valid():
        panel = panel_for(request, promise_id, form=form)
        # What is wrong with an answer no longer matters when it would be late anyway.
        status = UNPROCESSABLE if panel.is_open else CONFLICT
        return respond(request, panel, status=status)
    try:
        verdict = settle(promise_id, Actor.of(request), form.to_answer())
    except NoSuchQuestionError:
        raise Http404 from None
    except RefusedError as error:
        panel = panel_for(request, promise_id, form=form, refused=error.sentence)
        return respond(request, panel, status=FORBIDDEN)
    if verdict is Verdict.LATE:
        panel = panel_for(request, promise_id, late=form)
        return announce(respond(request, panel, status=CONFLICT))
    drop_draft(task, request.user)  # type: ignore[arg-type]
    if wants_fragment(request):
        return announce(respond(request, panel_for(request, promise_id)))
    return HttpResponseRedirect(next_page(request, promise_id), status=303)


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
        promise_id, request.user, now_ms(), form=form, late=late, refused=refused, reveal=reveal
    )
    if panel is None:
        raise Http404
    return panel


def respond(request: HttpRequest, panel: Panel, *, status: int = 200) -> HttpResponse:
    """Return the panel alone to htmx, else the whole inbox around it."""
    now = now_ms()
    if wants_fragment(request):
        return render(request, PANEL, {"panel": panel, "now": now}, status=status)
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
    return reverse("signoff:task", args=[promise_id])
