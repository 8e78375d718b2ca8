"""What is done at once with the questions that were ticked in a list, beside answering them."""

from collections import Counter

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_POST

from dashboard.answering import Actor
from dashboard.claims import claim_each
from dashboard.views.inbox import for_people


@for_people
@require_POST
def claim(request: HttpRequest) -> HttpResponse:
    """Take questions on, each by itself; say how many, and why not the others."""
    ids = [one.replace("\0", "") for one in request.POST.getlist("task")]
    problems = Counter(one.problem for one in claim_each(ids, Actor.of(request)))
    if taken := problems.pop("", 0):
        text = ngettext(
            "You took on %(count)d question.", "You took on %(count)d questions.", taken
        )
        messages.success(request, text % {"count": taken})
    elif not problems:
        messages.error(request, _("Tick some questions first."))
    for sentence, number in problems.items():
        text = ngettext("%(count)d was left: %(why)s", "%(count)d were left: %(why)s", number)
        messages.error(request, text % {"count": number, "why": sentence})
    query = f"?{request.GET.urlencode()}" if request.GET else ""
    return HttpResponseRedirect(reverse("signoff:inbox") + query, status=303)
