"""How somebody likes the pages to behave."""

from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods

from dashboard.belongings import belongings_of
from dashboard.models import Preference
from dashboard.views.inbox import for_people
from durable.conf import database_alias

TEMPLATE = "dashboard/account/preferences.html"


class PreferenceForm(forms.Form):
    """What can be switched on and off."""

    has_single_keys = forms.BooleanField(
        label=gettext_lazy("Single-key shortcuts"),
        help_text=gettext_lazy(
            "One key does something, as listed below. Switch this off if you dictate to your "
            "computer: Ctrl+Enter and Esc go on working."
        ),
        required=False,
    )
    advances = forms.BooleanField(
        label=gettext_lazy("Open the next question by itself"),
        help_text=gettext_lazy("After an answer in the inbox the next question opens at once."),
        required=False,
    )
    is_compact = forms.BooleanField(
        label=gettext_lazy("Compact list"),
        help_text=gettext_lazy("The inbox shows more questions at once, with less of each."),
        required=False,
    )

    def save(self, user: Any) -> None:
        """Keep what was chosen."""
        Preference.objects.using(database_alias()).update_or_create(
            user_id=user.pk, defaults=self.cleaned_data
        )


@for_people
@require_http_methods(["GET", "HEAD", "POST"])
def show(request: HttpRequest) -> HttpResponse:
    """Show the preferences of who asks; with POST, change them."""
    own = belongings_of(request.user)
    now = {
        "has_single_keys": own.has_single_keys,
        "advances": own.advances,
        "is_compact": own.is_compact,
    }
    form = PreferenceForm(request.POST if request.method == "POST" else None, initial=now)
    if form.is_valid():
        form.save(request.user)
        messages.success(request, _("Saved."))
        return HttpResponseRedirect(reverse("signoff:preferences"), status=303)
    return render(request, TEMPLATE, {"form": form})
