"""``POST /demo/orders``: start one more purchase. Only from this machine, only in the demo."""

import ipaddress
import json
from http import HTTPStatus
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

import durable
from examples.orders import OrderError, parse_order
from examples.workflows import purchase

MAX_BODY = 10_000


@csrf_exempt  # no session is used; only loopback may post
@require_POST
def orders(request: HttpRequest) -> HttpResponse:
    """Start a purchase from JSON: order_id, item, supplier, amount, currency, requester."""
    if not is_loopback(request.META.get("REMOTE_ADDR", "")):
        return _refusal("only this machine may post orders", HTTPStatus.FORBIDDEN)
    if len(request.body) > MAX_BODY:
        return _refusal("the body is too large", HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    try:
        order = parse_order(_parse_object(request.body))
    except OrderError as error:
        return JsonResponse(
            {"error": str(error), "field": error.field}, status=HTTPStatus.BAD_REQUEST
        )
    except ValueError as error:
        return _refusal(f"the body is no JSON object: {error}", HTTPStatus.BAD_REQUEST)
    handle = durable.start(f"purchase-{order.order_id}", purchase, order)
    return JsonResponse({"execution": handle.id}, status=HTTPStatus.CREATED)


def is_loopback(address: str) -> bool:
    """Whether a request came from this machine."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def _parse_object(body: bytes) -> dict[str, Any]:
    given = json.loads(body)
    if not isinstance(given, dict):
        message = f"it is a {type(given).__name__}"
        raise ValueError(message)  # noqa: TRY004 - all that is wrong with a body is one error
    return given


def _refusal(text: str, status: HTTPStatus) -> JsonResponse:
    return JsonResponse({"error": text}, status=status)
