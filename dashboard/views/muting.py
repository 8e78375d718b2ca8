"""The page behind "No more mails about such questions": its link is signed, GET only shows."""

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods

from dashboard.channels.muting import EVERY_KIND, Muting, change, is_muted, is_off
from dashboard.people import find_user


# The link itself is the proof of who may press: mail programs post without cookies (RFC 8058).
@csrf_exempt
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def mute(request: HttpRequest, token: str) -> HttpResponse:
    """Show what is muted, or change it: ``act`` is mute, unmute, off or on."""
    muting = Muting.decode(token)
    if muting is None:
        raise Http404
    if request.method == "POST":
        act = request.POST.get("act", "mute")
        everything = act in {"off", "on"} or muting.kind == EVERY_KIND
        change(muting, is_muted=act in {"mute", "off"}, everything=everything)
    context = {
        "muting": muting,
        "is_about_all": muting.kind == EVERY_KIND,
        "reader": find_user(muting.user_key),
        "is_muted": is_muted(muting),
        "is_off": is_off(muting),
        "is_changed": request.method == "POST",
    }
    response = render(request, "dashboard/mail/mute.html", context)
    response["Referrer-Policy"] = "no-referrer"
    response["X-Robots-Tag"] = "noindex"
    return response
