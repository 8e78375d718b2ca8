"""What a personal link opens: one question, for one person, and nothing around it."""

from dataclasses import replace
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.models import AbstractBaseUser
from django.contrib.auth.views import redirect_to_login
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render, resolve_url
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.http import require_http_methods, require_POST

from dashboard import holding, links, shared_links
from dashboard.answering import Actor, NoSuchQuestionError, Verdict
from dashboard.decisions import OutdatedError
from dashboard.drafts import drop_draft
from dashboard.forms import form_for
from dashboard.models import SignIn
from dashboard.panels import Panel, read_panel
from dashboard.people import name_of
from dashboard.permissions import MAKE_LINKS, has, visible_to
from dashboard.rights import RefusedError
from dashboard.views.inbox import for_people
from durable.clock import now_ms

TEMPLATE = "dashboard/inbox/link.html"
BAD_REQUEST = 400
FORBIDDEN = 403
CONFLICT = 409
GONE = 410
UNPROCESSABLE = 422
NOT_FOR_YOU = gettext_lazy("This question is no longer for you.")


@csrf_protect
@require_http_methods(["GET", "HEAD", "POST"])
def follow(request: HttpRequest, token: str) -> HttpResponse:
    """Show the question of a link, or with POST answer it; headers keep the link to itself."""
    response = _follow(request, token)
    # Other sites learn nothing of it. With "no-referrer" browsers would say "Origin: null" when the
    # form is sent, and the check against forgery would refuse every answer.
    response["Referrer-Policy"] = "same-origin"
    response["Cache-Control"] = "no-store, private"
    response["X-Robots-Tag"] = "noindex, nofollow"
    return response


def _follow(request: HttpRequest, token: str) -> HttpResponse:
    if links.mode() is None:
        raise Http404
    try:
        link = links.open_link(token)
    except links.BadLinkError as error:
        return _say(request, error.sentence, BAD_REQUEST)
    except links.DeadLinkError as error:
        return _say(request, error.sentence, GONE)
    if request.user.is_authenticated and request.user.pk != link.recipient.pk:
        sentence = _("This link is for %(name)s.") % {"name": name_of(link.recipient)}
        return _say(request, sentence, FORBIDDEN, may_sign_out=True)
    if link.needs_login and not request.user.is_authenticated:
        if request.method == "POST":  # the session has ended meanwhile
            sentence = _("You are not signed in any more: your answer was not sent.")
            return _say(request, sentence, FORBIDDEN)
        return redirect_to_login(request.get_full_path(), resolve_url(settings.LOGIN_URL))
    if request.method == "POST":
        return (_take_back if "take_back" in request.POST else _answer)(request, link)
    return _show(request, link)


def _answer(request: HttpRequest, link: links.OpenLink) -> HttpResponse:
    task = visible_to(link.recipient).filter(pk=link.task_id).first()
    if task is None:
        return _say(request, NOT_FOR_YOU, GONE)
    form = form_for(task, request.POST, request.FILES)
    if form.is_again:  # one more row, or one less
        return _show(request, link, form=form)
    chosen = request.POST.get("answer", "")
    if chosen and link.answers and chosen not in link.answers:
        return _say(request, _("This link does not offer this answer."), BAD_REQUEST)
    if not form.is_valid():
        return _show(request, link, status=UNPROCESSABLE, form=form)
    actor = Actor.at(request, link.recipient, SignIn.LINK, link=link.key)
    try:
        sent = form.to_give_back(request.POST)
        verdict = holding.decide_or_hold(link.task_id, actor, form.to_answer(), sent)
    except links.DeadLinkError as error:  # it has ended since it was opened
        return _say(request, error.sentence, GONE)
    except NoSuchQuestionError:
        return _say(request, NOT_FOR_YOU, GONE)
    except RefusedError as error:
        # What was filled in belongs to the form that was read.
        kept = None if isinstance(error, OutdatedError) else form
        return _show(request, link, status=FORBIDDEN, form=kept, refused=error.sentence)
    if verdict is Verdict.LATE:
        return _show(request, link, status=CONFLICT, late=form)
    if verdict is not Verdict.HELD:
        drop_draft(task, link.recipient)
    return HttpResponseRedirect(request.path, status=303)


def _take_back(request: HttpRequest, link: links.OpenLink) -> HttpResponse:
    try:
        holding.take_back(link.task_id, Actor.at(request, link.recipient, SignIn.LINK))
    except NoSuchQuestionError:
        return _say(request, NOT_FOR_YOU, GONE)
    except RefusedError as error:
        return _show(request, link, status=CONFLICT, refused=error.sentence)
    return HttpResponseRedirect(request.path, status=303)


def _show(
    request: HttpRequest, link: links.OpenLink, *, status: int = 200, **shown: Any
) -> HttpResponse:
    panel: Panel | None = read_panel(
        link.task_id, link.recipient, now_ms(), action=request.path, offered=link.answers, **shown
    )
    if panel is None:
        return _say(request, NOT_FOR_YOU, GONE)
    if status == UNPROCESSABLE and not panel.is_open:
        # What is wrong with an answer no longer matters.
        panel, status = replace(panel, late=shown["form"]), CONFLICT
    context = {
        "panel": panel,
        "recipient": getattr(link.recipient, "email", "") or link.recipient.get_username(),
        "now": now_ms(),
    }
    return render(request, TEMPLATE, context, status=status)


def _say(
    request: HttpRequest, sentence: Any, status: int, *, may_sign_out: bool = False
) -> HttpResponse:
    """Say why there is nothing to answer; what was written is given back."""
    context = {
        "sentence": sentence,
        "written": request.POST.get("comment", "").strip(),
        "may_sign_out": may_sign_out,
    }
    return render(request, TEMPLATE, context, status=status)


@for_people
@require_POST
def make(request: HttpRequest, promise_id: str) -> HttpResponse:
    """Make a link to a question for a person who may answer it."""
    if links.mode() is None or not has(request.user, MAKE_LINKS):
        raise Http404
    task = get_object_or_404(visible_to(request.user), pk=promise_id)
    recipient = shared_links.find_recipient(task, request.POST.get("to", "").strip())
    if recipient is None:
        messages.error(request, _("There is nobody of this name who may answer this."))
    else:
        url = shared_links.share(task, recipient, Actor.of(request))
        messages.success(request, _as_copy(url, recipient))
    return HttpResponseRedirect(reverse("signoff:task", args=[promise_id]), status=303)


@for_people
@require_POST
def revoke(request: HttpRequest, promise_id: str) -> HttpResponse:
    """Take back all links to a question."""
    if not has(request.user, MAKE_LINKS):
        raise Http404
    task = get_object_or_404(visible_to(request.user), pk=promise_id)
    shared_links.take_back(task, Actor.of(request))
    return HttpResponseRedirect(reverse("signoff:task", args=[promise_id]), status=303)


def _as_copy(url: str, recipient: AbstractBaseUser) -> SafeString:
    return format_html(
        '{} <code class="link-made">{}</code> '
        '<button type="button" class="secondary outline small" data-copy-text="{}" hidden>{}'
        "</button>",
        _("A link for %(name)s, who signs in to use it:") % {"name": name_of(recipient)},
        url,
        url,
        _("Copy"),
    )
