"""What people do with a question beside answering it: take it on, hand it over, talk about it."""

from collections.abc import Callable
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_POST

from dashboard import claims, comments, revealing
from dashboard.answering import Actor, NoSuchQuestionError
from dashboard.drafts import save_draft
from dashboard.models import Comment, HumanTask
from dashboard.people import find_by_name
from dashboard.permissions import visible_to
from dashboard.rights import RefusedError
from dashboard.views.inbox import for_people, wants_fragment
from dashboard.views.tasks import announce, next_page, panel_for, respond

REFUSED = 403


@for_people
@require_POST
def claim(request: HttpRequest, promise_id: str) -> HttpResponse:
    """Take a question on."""
    return _act(request, promise_id, claims.claim)


@for_people
@require_POST
def release(request: HttpRequest, promise_id: str) -> HttpResponse:
    """Give a question back, with a note."""
    return _act(request, promise_id, claims.release, _note(request))


@for_people
@require_POST
def hand_over(request: HttpRequest, promise_id: str) -> HttpResponse:
    """Give a question to a person named in the form, with a note."""

    def give(task_id: str, actor: Actor, note: str) -> HumanTask:
        to = find_by_name(_given(request, "to"))
        if to is None:
            raise RefusedError(_("There is nobody of this name."))
        return claims.hand_over(task_id, actor, to, note)

    return _act(request, promise_id, give, _note(request))


@for_people
@require_POST
def comment(request: HttpRequest, promise_id: str) -> HttpResponse:
    """Add a remark, a question to the requester, or their reply."""
    kind = request.POST.get("kind", "")
    if kind not in Comment.Kind.values:
        return HttpResponse(_("What kind of remark is this?"), status=400)
    return _act(request, promise_id, comments.write, _given(request, "text"), Comment.Kind(kind))


@sensitive_post_parameters("confirmation")
@for_people
@require_POST
def draft(request: HttpRequest, promise_id: str) -> HttpResponse:
    """Keep what somebody is writing; says when, for the line under the form."""
    task = get_object_or_404(visible_to(request.user), pk=promise_id)
    kept = save_draft(task, request.user, request.POST)  # type: ignore[arg-type]
    claims.note_life(task, request.user)  # type: ignore[arg-type]
    return HttpResponse(_("Draft kept") if kept else "", content_type="text/plain; charset=utf-8")


@for_people
@require_POST
def reveal(request: HttpRequest, promise_id: str) -> HttpResponse:
    """Show the secret values of a question, this once."""
    try:
        revealing.reveal(promise_id, Actor.of(request))
    except NoSuchQuestionError:
        raise Http404 from None
    return respond(request, panel_for(request, promise_id, reveal=True))


def _note(request: HttpRequest) -> str:
    return _given(request, "note")


def _given(request: HttpRequest, name: str) -> str:
    """Return what was typed, without the character that PostgreSQL does not take."""
    return request.POST.get(name, "").replace("\0", "").strip()


def _act(
    request: HttpRequest, promise_id: str, act: Callable[..., Any], *args: Any
) -> HttpResponse:
    """Do it, and show the question as it is then, or why it could not be done."""
    try:
        act(promise_id, Actor.of(request), *args)
    except NoSuchQuestionError:
        raise Http404 from None
    except RefusedError as error:
        panel = panel_for(request, promise_id, refused=error.sentence)
        return respond(request, panel, status=REFUSED)
    if wants_fragment(request):
        return announce(respond(request, panel_for(request, promise_id)))
    return HttpResponseRedirect(next_page(request, promise_id), status=303)
