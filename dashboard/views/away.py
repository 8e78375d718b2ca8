"""Being away: who answers in one's place, and when."""

import datetime as dt
from typing import Any

from django import forms
from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_http_methods, require_POST

from dashboard.answering import Actor
from dashboard.delegations import delegate, delegations_of, revoke
from dashboard.models import Delegation
from dashboard.people import find_by_name
from dashboard.permissions import delegations_to_end
from dashboard.views.inbox import for_people
from durable.clock import now_ms

TEMPLATE = "dashboard/inbox/away.html"


class AwayForm(forms.Form):
    """Whom to let answer, from when until when, and for what."""

    deputy = forms.CharField(label=_("Who answers for you"), help_text=_("A user name."))
    starts = forms.DateTimeField(
        label=_("From"), widget=forms.DateTimeInput(attrs={"type": "datetime-local"})
    )
    ends = forms.DateTimeField(
        label=_("Until"), widget=forms.DateTimeInput(attrs={"type": "datetime-local"})
    )
    group = forms.ModelChoiceField(
        Group.objects.none(),
        label=_("Only what this group is asked"),
        required=False,
        empty_label=_("Everything that is for me"),
    )
    task_type = forms.CharField(
        label=_("Only questions of this type"), required=False, max_length=100
    )

    def __init__(self, user: Any, *args: Any, **kwargs: Any) -> None:
        """``user`` is who goes away."""
        super().__init__(*args, **kwargs)
        self.fields["group"].queryset = Group.objects.filter(user=user.pk)  # type: ignore[attr-defined]

    def clean_deputy(self) -> Any:
        """Find the person."""
        if (found := find_by_name(self.cleaned_data["deputy"].strip())) is None:
            raise ValidationError(_("There is nobody of this name."))
        return found

    def save(self, actor: Actor) -> Delegation | None:
        """Make the delegation; what forbids it becomes an error of the form."""
        given = self.cleaned_data
        try:
            return delegate(
                actor,
                given["deputy"],
                starts_at=_epoch_ms(given["starts"]),
                ends_at=_epoch_ms(given["ends"]),
                group=given["group"],
                task_type=given["task_type"].strip(),
            )
        except ValidationError as error:
            self.add_error(None, error)
            return None


@for_people
@require_http_methods(["GET", "HEAD", "POST"])
def away(request: HttpRequest) -> HttpResponse:
    """Show who stands in for whom; with POST, go away."""
    form = AwayForm(request.user, request.POST or None)
    status = 200
    if request.method == "POST":
        if form.is_valid() and form.save(Actor.of(request)) is not None:
            return HttpResponseRedirect(reverse("signoff:away"), status=303)
        status = 422
    context = {
        "section": "inbox",
        "form": form,
        "delegations": delegations_of(request.user),  # type: ignore[arg-type]
        "now": now_ms(),
    }
    return render(request, TEMPLATE, context, status=status)


@for_people
@require_POST
def end(request: HttpRequest, delegation_id: int) -> HttpResponse:
    """End a delegation: one's own, or with the right to anybody's."""
    delegation = get_object_or_404(delegations_to_end(request.user), pk=delegation_id)
    revoke(delegation, Actor.of(request))
    return HttpResponseRedirect(reverse("signoff:away"), status=303)


def _epoch_ms(moment: dt.datetime) -> int:
    return int(moment.timestamp() * 1000)
