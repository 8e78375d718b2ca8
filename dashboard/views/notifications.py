"""What people want to hear of, channel by channel, and when."""

from collections.abc import Iterable
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_http_methods

from dashboard.channels import digests, muting
from dashboard.channels.base import Channel, channels
from dashboard.channels.contents import zone_of
from dashboard.channels.mail import address_of
from dashboard.channels.muting import Muting
from dashboard.views.inbox import for_people
from durable.conf import database_alias

TEMPLATE = "dashboard/account/notifications.html"
EACH, DIGEST, NONE = "each", "digest", "none"
UNPROCESSABLE = 422


class NotificationForm(forms.Form):
    """When to send messages on one channel, and about which questions not to."""

    way = forms.ChoiceField(
        label=_("When"),
        widget=forms.RadioSelect,
        choices=[
            (EACH, _("A message for each question, at once")),
            (DIGEST, _("One message for all that waits, at set hours")),
            (NONE, _("No messages")),
        ],
    )
    hours = forms.TypedMultipleChoiceField(
        label=_("Hours"),
        widget=forms.CheckboxSelectMultiple,
        coerce=int,
        required=False,
        choices=[(hour, f"{hour:02}:00") for hour in digests.HOURS],
    )
    muted = forms.MultipleChoiceField(
        label=_("Never about these kinds of questions"),
        widget=forms.CheckboxSelectMultiple,
        required=False,
    )

    def __init__(
        self, user: Any, channel: Channel, data: Any = None, *, more_kinds: Iterable[str] = ()
    ) -> None:
        """Take the form of a user for a channel, filled with what holds so far.

        more_kinds: kinds that may be muted besides those that are.
        """
        self.user, self.channel = user, channel
        found = muting.preference_of(user, channel.name)
        self.kinds: list[str] = found.muted_types
        way = NONE if found.is_off else DIGEST if found.digest_hours else EACH
        super().__init__(
            data,
            prefix=channel.name,
            initial={"way": way, "hours": found.digest_hours, "muted": self.kinds},
        )
        self.fields["muted"].choices = [  # type: ignore[attr-defined]
            (kind, kind or _("Without a type"))
            for kind in dict.fromkeys([*self.kinds, *more_kinds])
        ]

    @property
    def address(self) -> str:
        """Where the messages go."""
        return address_of(self.user)

    def clean(self) -> dict[str, Any]:
        """Check that there is an hour for a digest."""
        given: dict[str, Any] = super().clean() or {}
        if given.get("way") == DIGEST and not given.get("hours") and "hours" not in self.errors:
            raise ValidationError({"hours": _("Choose at least one hour.")})
        return given

    def save(self) -> None:
        """Keep what was chosen; the next digest begins to wait in the same transaction."""
        given, key, name = self.cleaned_data, str(self.user.pk), self.channel.name
        with transaction.atomic(using=database_alias()):
            for kind in set(self.kinds) ^ set(given["muted"]):
                muting.change(Muting(key, name, kind), is_muted=kind in given["muted"])
            everything = Muting(key, name, muting.EVERY_KIND)
            muting.change(everything, is_muted=given["way"] == NONE, everything=True)
            digests.choose(self.user, name, given["hours"] if given["way"] == DIGEST else ())


@for_people
@require_http_methods(["GET", "HEAD", "POST"])
def notifications(request: HttpRequest) -> HttpResponse:
    """Show what one is told of and when; with POST, change it for the channel named."""
    chosen = request.POST.get("channel", "")
    shown = []
    for channel in channels():
        if channel.can_digest:
            data = request.POST if channel.name == chosen and request.method == "POST" else None
            shown.append(NotificationForm(request.user, channel, data))
    sent = next((form for form in shown if form.is_bound), None)
    if request.method == "POST":
        if sent is None:
            raise Http404
        if sent.is_valid():
            sent.save()
            return HttpResponseRedirect(f"{reverse('signoff:notifications')}?saved=1", status=303)
    context = {
        "forms": shown,
        "zone": zone_of(request.user),  # type: ignore[arg-type]
        "is_saved": "saved" in request.GET,
    }
    return render(request, TEMPLATE, context, status=200 if sent is None else UNPROCESSABLE)
