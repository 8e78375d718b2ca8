"""What belongs to no page in particular: the way in, the theme, the search."""

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme, urlencode
from django.views.decorators.http import require_POST, require_safe

from dashboard.looks import keep_theme
from dashboard.queries import find_root
from dashboard.views.executions import for_operators


@require_safe
def home(_request: HttpRequest) -> HttpResponse:
    """Lead to the inbox."""
    return redirect("signoff:inbox")


@require_safe
def live(_request: HttpRequest) -> HttpResponse:
    """Stand in for the event stream where it is not served, under WSGI: pages poll instead."""
    return HttpResponse(status=204)


@require_POST
def theme(request: HttpRequest) -> HttpResponse:
    """Keep the theme in a cookie, so that pages come in it; anything unknown follows the system."""
    response = HttpResponseRedirect(_back(request), status=303)
    keep_theme(request, response, request.POST.get("theme", ""))
    return response


@for_operators
@require_safe
def search(request: HttpRequest) -> HttpResponse:
    """Lead to the execution with an id or, when there is none, to those whose id begins so."""
    wanted = request.GET.get("q", "").strip()
    if wanted and find_root(wanted) is not None:
        return redirect("signoff:execution", wanted)
    query = f"?{urlencode({'prefix': wanted})}" if wanted else ""
    return redirect(reverse("signoff:executions") + query)


def _back(request: HttpRequest) -> str:
    wanted = request.POST.get("next", "")
    if url_has_allowed_host_and_scheme(
        wanted, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    ):
        return wanted
    return reverse("signoff:home")
