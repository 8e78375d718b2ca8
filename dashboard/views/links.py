"""What a personal link opens: one question, for one person, and nothing around it."""

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.views import redirect_to_login
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render, resolve_url
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.http import require_http_methods, require_POST

from dashboard import auditing, links
from dashboard.answering import Actor, NoSuchQuestionError, Verdict
from dashboard.decisions import decide
from dashboard.forms import form_for
from dashboard.models import Action, HumanTask, SignIn, TargetKind
from dashboard.panels import Panel, read_panel
from dashboard.people import find_by_name, name_of
from dashboard.permissions import MAKE_LINKS, has, visible_to
from dashboard.rights import RefusedError
from dashboard.views.inbox import for_people
from durable.clock import now_ms

TEMPLATE = "dashboard/inbox/link.html"


@csrf_protect
@require_http_methods(["GET", "HEAD", "POST"])
def follow(request: HttpRequest, token: str) -> HttpResponse:
    """Show the question of a link, or with POST answer it; headers keep the link to itself."""
    response = _follow(request, token)
    response["Referrer-Policy"] = "no-referrer"
    response["Cache-Control"] = "no-store, private"
    response["X-Robots-Tag"] = "noindex, nofollow"
    return response


def _follow(request: HttpRequest, token: str) -> HttpResponse:
    if links.mode() is None:
        raise Http404
    try:
        link = links.open_link(token)
    except links.BadLinkError:
        return _say(request, _("This link is not complete, or was changed on the way."), 400)
    except links.DeadLinkError:
        return _say(request, _("This link has run out, or was taken back."), 410)
    if request.user.is_authenticated and request.user.pk != link.recipient.pk:
        sentence = _("This link is for %(name)s. Sign out first, if that is you.")
        return _say(request, sentence % {"name": name_of(link.recipient)}, 403)
    if link.needs_login and not request.user.is_authenticated:
        return redirect_to_login(request.get_full_path(), resolve_url(settings.LOGIN_URL))
    if request.method == "POST":
        return _answer(request, link)
    return _show(request, link)


def _answer(request: HttpRequest, link: links.OpenLink) -> HttpResponse:
    task = visible_to(link.recipient).filter(pk=link.task_id).first()
    if task is None:
        return _say(request, _("This question is no longer for you."), 410)
    form = form_for(task, request.POST, request.FILES)
    if form.is_again:
        return _show(request, link, form=form)
    chosen = request.POST.get("answer", "")
    if link.answers and chosen not in link.answers:
        return _say(request, _("This link does not offer this answer."), 400)
    if not form.is_valid():
        return _show(request, link, status=422, form=form)
    actor = Actor.at(request, link.recipient, SignIn.LINK)
    try:
        verdict = decide(link.task_id, actor, form.to_answer())
    except NoSuchQuestionError:
        return _say(request, _("This question is no longer for you."), 410)
    except RefusedError as error:
        return _show(request, link, status=403, form=form, refused=error.sentence)
    if verdict is Verdict.LATE:
        return _show(request, link, status=409, late=form)
    return HttpResponseRedirect(request.path, status=303)


def _show(
    request: HttpRequest, link: links.OpenLink, *, status: int = 200, **shown: Any
) -> HttpResponse:
    panel: Panel | None = read_panel(
        link.task_id, link.recipient, now_ms(), action=request.path, offered=link.answers, **shown
    )
    if panel is None:
        return _say(request, _("This question is no longer for you."), 410)
    context = {
        "panel": panel,
        "recipient": getattr(link.recipient, "email", "") or link.recipient.get_username(),
        "now": now_ms(),
    }
    return render(request, TEMPLATE, context, status=status)


def _say(request: HttpRequest, sentence: str, status: int) -> HttpResponse:
    return render(request, TEMPLATE, {"sentence": sentence}, status=status)


@for_people
@require_POST
def make(request: HttpRequest, promise_id: str) -> HttpResponse:
    """Make a link to a question for a person who may see it."""
    if links.mode() is None or not has(request.user, MAKE_LINKS):
        raise Http404
    task = get_object_or_404(visible_to(request.user), pk=promise_id)
    recipient = find_by_name(request.POST.get("to", "").strip())
    if recipient is None or not visible_to(recipient).filter(pk=promise_id).exists():
        messages.error(request, _("There is nobody of this name who may answer this."))
    else:
        url = links.make_link(task, recipient)
        _record(request, Action.LINK, task, recipient.get_username())
        messages.success(request, url)
    return HttpResponseRedirect(reverse("signoff:task", args=[promise_id]), status=303)


@for_people
@require_POST
def revoke(request: HttpRequest, promise_id: str) -> HttpResponse:
    """Take back all links to a question."""
    if not has(request.user, MAKE_LINKS):
        raise Http404
    task = get_object_or_404(visible_to(request.user), pk=promise_id)
    if links.revoke(links.links_to(task)):
        _record(request, Action.UNLINK, task, "")
    return HttpResponseRedirect(reverse("signoff:task", args=[promise_id]), status=303)


def _record(request: HttpRequest, action: Action, task: HumanTask, name: str) -> None:
    auditing.record(
        action,
        task.pk,
        Actor.of(request),
        kind=TargetKind.LINK,
        details={"recipient": name} if name else None,
    )
