"""What Slack posts here, and the page on which people link their account there."""

import logging
import time

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods, require_POST

from dashboard.answering import Actor
from dashboard.channels import identities
from dashboard.channels.base import ChannelError
from dashboard.channels.identities import LinkToken
from dashboard.channels.slack import SlackChannel, slack_channels
from dashboard.channels.slack_requests import read_interaction, respond
from dashboard.views.inbox import for_people
from dashboard.webhooks.presets import PRESETS
from dashboard.webhooks.signatures import Verdict, check

logger = logging.getLogger(__name__)

TEMPLATE = "dashboard/account/slack.html"

_MAX_DIGITS = 18


@csrf_exempt
@require_POST
def interact(request: HttpRequest) -> HttpResponse:
    """Take what somebody did in Slack, which signs for it: 401 for anybody else."""
    channel = _sender(request)
    if channel is None:
        return HttpResponse(status=401)
    interaction = read_interaction(request.body)
    if interaction is None:
        return HttpResponse(status=400)
    try:
        answer = respond(channel, interaction)
    except ChannelError:
        logger.exception("Slack cannot be spoken to", extra={"action": "slack"})
        return HttpResponse(status=502)
    return HttpResponse(status=200) if answer is None else JsonResponse(answer)


@for_people
@require_http_methods(["GET", "HEAD", "POST"])
def account(request: HttpRequest) -> HttpResponse:
    """Show what is linked, and link what a link from Slack is about once that is confirmed."""
    if request.method == "POST":
        return _change(request)
    text = request.GET.get("token", "")
    token = LinkToken.decode(text) if text else None
    identity = identities.find_linkable(token) if token else None
    context = {
        "identities": identities.identities_of(request.user),  # type: ignore[arg-type]
        "identity": identity,
        "token": text,
        "is_stale": bool(text) and identity is None,
    }
    return render(request, TEMPLATE, context, status=410 if context["is_stale"] else 200)


def _change(request: HttpRequest) -> HttpResponse:
    unlinked = request.POST.get("unlink", "")
    if unlinked:
        is_number = unlinked.isdecimal() and len(unlinked) <= _MAX_DIGITS
        if is_number and identities.unlink(int(unlinked), Actor.of(request)):
            messages.success(request, _("The account is not linked any more."))
        return redirect("signoff:slack_account")
    token = LinkToken.decode(request.POST.get("token", ""))
    if token is None or not identities.link(token, Actor.of(request)):
        stale = {"identities": identities.identities_of(request.user), "is_stale": True}  # type: ignore[arg-type]
        return render(request, TEMPLATE, stale, status=410)
    messages.success(request, _("The account is linked. Press the button in Slack again."))
    return redirect("signoff:slack_account")


def _sender(request: HttpRequest) -> SlackChannel | None:
    """Return the app whose secret the request is signed with."""
    scheme = PRESETS["slack"].scheme
    for channel in slack_channels():
        secrets = [channel.options["signing_secret"]]
        verdict = check(scheme, secrets, request.headers, request.body, time.time())
        if verdict is Verdict.GENUINE:
            return channel
    return None
