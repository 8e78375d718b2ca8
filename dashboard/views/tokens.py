"""The tokens with which programs act in one's name: make one, see it once, revoke it."""

from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_http_methods, require_POST

from dashboard.answering import Actor
from dashboard.api import tokens
from dashboard.views.inbox import for_people
from durable.clock import now_ms

TEMPLATE = "dashboard/account/tokens.html"
MOST = 200
"""How many tokens of others are shown, the newest."""
_DAY_MS = 86_400_000


class TokenForm(forms.Form):
    """What a token is for, how long it counts, and whether it may change anything."""

    name = forms.CharField(
        label=_("What is it for?"),
        max_length=100,
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )
    days = forms.TypedChoiceField(
        label=_("Valid for"),
        coerce=int,
        initial=90,
        choices=[(30, _("30 days")), (90, _("90 days")), (365, _("a year")), (0, _("no end"))],
    )
    is_read_only = forms.BooleanField(
        label=_("Read only"), required=False, help_text=_("It can answer and change nothing.")
    )

    def save(self, actor: Actor) -> str:
        """Make the token, and return it."""
        given = self.cleaned_data
        return tokens.make(
            actor.user,
            given["name"],
            actor,
            expires_at=now_ms() + given["days"] * _DAY_MS if given["days"] else None,
            is_read_only=given["is_read_only"],
        )


@for_people
@require_http_methods(["GET", "HEAD", "POST"])
def index(request: HttpRequest) -> HttpResponse:
    """Show one's tokens, and others that one may revoke; with POST, make one and show it once."""
    form = TokenForm(request.POST or None)
    made, status = "", 200
    if request.method == "POST":
        if form.is_valid():
            made, status = form.save(Actor.of(request)), 201
            form = TokenForm()
        else:
            status = 422
    user: Any = request.user
    others = tokens.tokens_to_revoke(user).exclude(owner=user.pk).select_related("owner")
    context = {
        "form": form,
        "made": made,
        "tokens": tokens.tokens_of(user),
        "others": others[:MOST],
        "now": now_ms(),
    }
    return render(request, TEMPLATE, context, status=status)


@for_people
@require_POST
def revoke(request: HttpRequest, token_id: int) -> HttpResponse:
    """Revoke a token: one's own, or with the right anybody's."""
    user: Any = request.user
    tokens.revoke(get_object_or_404(tokens.tokens_to_revoke(user), pk=token_id), Actor.of(request))
    messages.success(request, _("It does not count any more."))
    return HttpResponseRedirect(reverse("signoff:tokens"), status=303)
