"""Who sends a request: the owner of a token, or whoever is signed in."""

from typing import Any, NamedTuple

from django.core.exceptions import SuspiciousOperation
from django.http import HttpRequest, HttpResponse
from django.http.multipartparser import MultiPartParserError
from django.middleware.csrf import CsrfViewMiddleware
from django.utils.translation import gettext_lazy as _

from dashboard.answering import Actor
from dashboard.api import tokens
from dashboard.api.problems import ProblemError
from dashboard.models import SignIn

SAFE = frozenset({"GET", "HEAD"})
_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="signoff"'}


class _Csrf(CsrfViewMiddleware):
    """Django's own check, whose refusal is a sentence and not a page."""

    def _reject(self, request: HttpRequest, reason: str) -> Any:  # noqa: ARG002 - its signature
        return reason


class Sender(NamedTuple):
    """Who acts, and whether they may only read."""

    actor: Actor
    is_read_only: bool = False


def sender_of(request: HttpRequest) -> Sender:
    """Return who sent a request; raises ``ProblemError``.

    A token is taken for itself: a session beside it counts for nothing.
    """
    given = request.headers.get("Authorization", "")
    if given:
        return _owner_of(given, request)
    if not (request.user.is_authenticated and request.user.is_active):
        raise ProblemError(401, _("Send a token, or sign in."), headers=_CHALLENGE)
    if request.method not in SAFE and (refusal := _csrf_refusal(request)):
        raise ProblemError(403, refusal)
    return Sender(Actor.of(request))


def _owner_of(given: str, request: HttpRequest) -> Sender:
    scheme, _space, token = given.partition(" ")
    found = tokens.find(token.strip()) if scheme.lower() == "bearer" else None
    if found is None:
        challenge = {"WWW-Authenticate": f'{_CHALLENGE["WWW-Authenticate"]}, error="invalid_token"'}
        sentence = _("This token does not count: it is not known, has run out or was revoked.")
        raise ProblemError(401, sentence, headers=challenge)
    return Sender(Actor.at(request, found.owner, SignIn.TOKEN, token=found.pk), found.is_read_only)


def _csrf_refusal(request: HttpRequest) -> Any:
    check = _Csrf(_nothing)
    check.process_request(request)
    try:
        refusal: Any = check.process_view(request, _nothing, (), {})
    except (MultiPartParserError, SuspiciousOperation):  # it looks into forms, which may be none
        return _("Send JSON, with the content type application/json.")
    return refusal or ""


def _nothing(_request: HttpRequest) -> HttpResponse:
    """Stand in for a view, which the check wants to see: one that is not exempt."""
    return HttpResponse()
