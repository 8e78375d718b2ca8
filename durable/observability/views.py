"""``/metrics``: for a token, or for who asks from an allowed address."""

import ipaddress

from django.http import HttpRequest, HttpResponse
from django.utils.crypto import constant_time_compare
from django.views.decorators.http import require_safe

from durable import conf
from durable.observability import metrics

_BEARER = "Bearer "
_FORWARDED = ("X-Forwarded-For", "Forwarded", "X-Real-IP")


@require_safe
def metrics_page(request: HttpRequest) -> HttpResponse:
    """Return all metrics as text."""
    if not is_allowed(request):
        return HttpResponse("Forbidden", status=403, content_type="text/plain; charset=utf-8")
    return HttpResponse(
        metrics.render(), content_type=metrics.CONTENT_TYPE, headers={"Cache-Control": "no-store"}
    )


def is_allowed(request: HttpRequest) -> bool:
    """Whether the caller may read metrics.

    What a proxy passes on comes from the proxy's address, which says nothing of who asks.
    """
    given, token = request.headers.get("Authorization", ""), conf.metrics_token()
    if token and given.startswith(_BEARER):
        return constant_time_compare(given.removeprefix(_BEARER), token)
    if any(name in request.headers for name in _FORWARDED):
        return False
    try:
        address = ipaddress.ip_address(request.META.get("REMOTE_ADDR", ""))
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return any(
        address in ipaddress.ip_network(network, strict=False) for network in conf.metrics_allowed()
    )
