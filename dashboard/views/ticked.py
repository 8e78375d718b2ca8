"""What is done at once with the questions that were ticked in a list, beside answering them."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_POST

from dashboard import claims
from dashboard.answering import Actor, NoSuchQuestionError
from dashboard.inbox_queries import PAGE_SIZE
from dashboard.rights import RefusedError
from dashboard.views.inbox import for_people

MOST = 4 * PAGE_SIZE


@for_people
@require_POST
def claim(request: HttpRequest) -> HttpResponse:
    """Take questions on, each by itself; say how many, and why not the others."""
    actor, taken, problems = Actor.of(request), 0, dict[str, int]()
    ids = list(dict.fromkeys(one.replace("\0", "") for one in request.POST.getlist("task")))
    for promise_id in ids[:MOST]:
        try:
            claims.claim(promise_id, actor)
            taken += 1
        except NoSuchQuestionError:
            _count(problems, _("It is not there any more."))
        except RefusedError as error:
            _count(problems, str(error.sentence))
    if taken:
        text = ngettext(
            "You took on %(count)d question.", "You took on %(count)d questions.", taken
        )
        messages.success(request, text % {"count": taken})
    elif not problems:
        messages.error(request, _("Tick some questions first."))
    if len(ids) > MOST:
        problems[_("Take on %(count)d at most at a time.") % {"count": MOST}] = len(ids) - MOST
    for sentence, number in problems.items():
        text = ngettext("%(count)d was left: %(why)s", "%(count)d were left: %(why)s", number)
        messages.error(request, text % {"count": number, "why": sentence})
    query = f"?{request.GET.urlencode()}" if request.GET else ""
    return HttpResponseRedirect(reverse("signoff:inbox") + query, status=303)


def _count(problems: dict[str, int], sentence: str) -> None:
    problems[sentence] = problems.get(sentence, 0) + 1
