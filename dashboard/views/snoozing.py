"""Putting a question off, and having it back."""

from typing import Any

from django import forms
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from dashboard import snoozing
from dashboard.answering import Actor, NoSuchQuestionError
from dashboard.clocks import local, near_text
from dashboard.rights import RefusedError
from dashboard.snoozing import Pause
from dashboard.views.handling import REFUSED
from dashboard.views.inbox import for_people, list_suffix
from dashboard.views.tasks import next_page, panel_for, respond
from durable.clock import now_ms

BY_DATE = "date"


class SnoozeForm(forms.Form):
    """One of the pauses, or a date."""

    pause = forms.ChoiceField(choices=[*Pause.choices, (BY_DATE, BY_DATE)])
    date = forms.DateField(required=False)

    def clean(self) -> dict[str, Any]:
        """Ask for the date where it counts."""
        given: dict[str, Any] = super().clean() or {}
        if given.get("pause") == BY_DATE and not given.get("date"):
            self.add_error("date", _("Choose a date."))
        return given

    def until(self, now: int) -> int:
        """Return when the pause ends, epoch ms."""
        pause = self.cleaned_data["pause"]
        if pause != BY_DATE:
            return snoozing.end_of(Pause(pause), now)
        return snoozing.morning_of(self.cleaned_data["date"])


@for_people
@require_POST
def snooze(request: HttpRequest, promise_id: str) -> HttpResponse:
    """Hide a question from the lists of who asks until a time, and go back to the list."""
    form = SnoozeForm(request.POST)
    now = now_ms()
    # Without a choice there is no time to come, and the refusal says what to choose.
    until = form.until(now) if form.is_valid() else now
    try:
        task = snoozing.snooze(promise_id, Actor.of(request), until)
    except NoSuchQuestionError:
        raise Http404 from None
    except RefusedError as error:
        panel = panel_for(request, promise_id, refused=error.sentence)
        return respond(request, panel, status=REFUSED)
    back = near_text(local(until), local(now).date())
    sentence = _("“%(question)s” is snoozed. It comes back: %(time)s.")
    messages.success(request, sentence % {"question": task, "time": back})
    elsewhere = next_page(request, promise_id) if request.POST.get("next") else ""
    back_to = f"{reverse('signoff:inbox')}{list_suffix(request)}"
    return HttpResponseRedirect(elsewhere or back_to, status=303)


@for_people
@require_POST
def wake(request: HttpRequest, promise_id: str) -> HttpResponse:
    """Have a question back in one's lists."""
    try:
        snoozing.wake(promise_id, Actor.of(request))
    except NoSuchQuestionError:
        raise Http404 from None
    return HttpResponseRedirect(next_page(request, promise_id), status=303)
