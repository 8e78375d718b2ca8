"""Where other systems post to: no session, no cookie, a signature under the raw body instead."""

import ipaddress

from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from dashboard.models import WebhookEndpoint
from dashboard.webhooks.receiving import WORDS, Answer, Incoming, receive
from durable.conf import database_alias

_CHUNK = 65_536


@csrf_exempt
@never_cache
@require_POST
def hook(request: HttpRequest, slug: str) -> JsonResponse:
    """Take a request for an endpoint; its sender is told what became of it."""
    endpoint = WebhookEndpoint.objects.using(database_alias()).filter(slug=slug).first()
    if endpoint is None:
        return JsonResponse({"status": "not found"}, status=404)
    return _say(receive(endpoint, _incoming(request, endpoint.max_bytes)))


def _say(answer: Answer) -> JsonResponse:
    if answer.challenge:
        return JsonResponse({"challenge": answer.challenge})
    said = {"status": WORDS[answer.outcome]}
    if answer.state:
        said["state"] = answer.state
    # What is wrong with a signature is for the log: it would help whoever tries to forge one.
    if answer.problem and answer.status in {400, 422}:
        said["problem"] = answer.problem
    return JsonResponse(said, status=answer.status)


def _incoming(request: HttpRequest, limit: int) -> Incoming:
    announced = request.META.get("CONTENT_LENGTH") or "0"
    size = int(announced) if announced.isascii() and announced.isdigit() else 0
    body = None if size > limit else _read(request, limit)
    return Incoming(
        headers=dict(request.headers),
        body=body,
        size=max(size, limit + 1) if body is None else len(body),
        ip=_address(request.META.get("REMOTE_ADDR", "")),
    )


def _read(request: HttpRequest, limit: int) -> bytes | None:
    """Read the body, never more of it than is allowed; None when there is more."""
    chunks: list[bytes] = []
    left = limit + 1
    while left and (chunk := request.read(min(left, _CHUNK))):
        chunks.append(chunk)
        left -= len(chunk)
    return b"".join(chunks) if left else None


def _address(text: str) -> str | None:
    try:
        return str(ipaddress.ip_address(text.partition("%")[0]))
    except ValueError:
        return None
