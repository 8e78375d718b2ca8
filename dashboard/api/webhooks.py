"""Webhooks: endpoints without their secrets, and the log of what came in."""

import datetime as dt
from typing import Annotated, Any

from django.urls import reverse
from django.utils.translation import gettext as _
from msgspec import Meta, Struct

from dashboard.api.lookups import row_of
from dashboard.api.operations import Call, operation
from dashboard.api.problems import ProblemError, not_found
from dashboard.api.values import MAX_NUMBER, instant, moment
from dashboard.models import WebhookDelivery, WebhookEndpoint
from dashboard.permissions import MANAGE_WEBHOOKS
from dashboard.webhooks import logbook
from dashboard.webhooks.keys import live_rows
from dashboard.webhooks.receiving import redeliver
from durable.conf import database_alias


class EndpointLine(Struct):
    """An address that another system posts to, and when it last did."""

    slug: str
    name: str
    preset: str
    action: str
    is_active: bool
    made_at: dt.datetime
    changed_at: dt.datetime
    last_at: dt.datetime | None

    @classmethod
    def of(cls, one: WebhookEndpoint, last_at: int | None) -> "EndpointLine":
        """Return the line of an endpoint."""
        return cls(
            slug=one.slug,
            name=one.name,
            preset=one.preset,
            action=one.action,
            is_active=one.is_active,
            made_at=moment(one.made_at),
            changed_at=moment(one.changed_at),
            last_at=instant(last_at),
        )


class Endpoints(Struct):
    """All endpoints, by name."""

    items: list[EndpointLine]


class SecretLine(Struct):
    """A secret that counts, without itself; ``hint`` are its last characters."""

    id: int
    hint: str
    made_at: dt.datetime


class EndpointShown(Struct):
    """An endpoint with how its requests are signed and what is made of them; no secret."""

    slug: str
    address: str
    name: str
    preset: str
    action: str
    is_active: bool
    signature_header: str
    algorithm: str
    encoding: str
    signature_prefix: str
    signed: str
    timestamp: str
    tolerance_s: int
    event_id: str
    networks: list[str]
    max_bytes: int
    mapping: Any
    secrets: list[SecretLine]
    made_at: dt.datetime
    changed_at: dt.datetime

    @classmethod
    def of(cls, call: Call, one: WebhookEndpoint) -> "EndpointShown":
        """Return an endpoint."""
        path = reverse("signoff:hook", args=[one.slug])
        return cls(
            slug=one.slug,
            address=call.request.build_absolute_uri(path),
            name=one.name,
            preset=one.preset,
            action=one.action,
            is_active=one.is_active,
            signature_header=one.signature_header,
            algorithm=one.algorithm,
            encoding=one.encoding,
            signature_prefix=one.signature_prefix,
            signed=one.signed,
            timestamp=one.timestamp,
            tolerance_s=one.tolerance_s,
            event_id=one.event_id,
            networks=one.networks,
            max_bytes=one.max_bytes,
            mapping=one.mapping,
            secrets=[SecretLine(row.pk, row.hint, moment(row.made_at)) for row in live_rows(one)],
            made_at=moment(one.made_at),
            changed_at=moment(one.changed_at),
        )


class DeliveryQuery(Struct, forbid_unknown_fields=True):
    """Which deliveries to list. ``before`` is the ``older`` of the page before."""

    outcome: WebhookDelivery.Outcome | None = None
    before: Annotated[int, Meta(ge=1, le=MAX_NUMBER)] | None = None


class DeliveryLine(Struct):
    """One request and what became of it."""

    id: int
    received_at: dt.datetime
    ip: str | None
    size: int
    is_verified: bool
    event_id: str
    outcome: str
    status: int
    promise: str
    problem: str

    @classmethod
    def of(cls, one: WebhookDelivery) -> "DeliveryLine":
        """Return the line of a delivery."""
        return cls(
            id=one.pk,
            received_at=moment(one.received_at),
            ip=one.ip,
            size=one.size,
            is_verified=one.is_verified,
            event_id=one.event_id,
            outcome=one.outcome,
            status=one.status,
            promise=one.promise_id,
            problem=one.problem,
        )


class DeliveryPage(Struct):
    """A page of deliveries, newest first, and where the next begins."""

    items: list[DeliveryLine]
    older: int | None


class DeliveryShown(Struct):
    """One request with its headers and its body; what signs or signs in was never kept."""

    delivery: DeliveryLine
    headers: dict[str, str]
    body: str
    is_whole: bool
    redelivery_of: int | None

    @classmethod
    def of(cls, one: WebhookDelivery) -> "DeliveryShown":
        """Return a delivery."""
        return cls(
            delivery=DeliveryLine.of(one),
            headers=one.headers,
            body=one.raw.decode(errors="replace"),
            is_whole=one.is_whole,
            redelivery_of=one.redelivery_of_id,
        )


@operation("GET", "webhooks", result=Endpoints, permission=MANAGE_WEBHOOKS)
def list_webhooks(_call: Call) -> Endpoints:
    """List the addresses that other systems post to."""
    found = logbook.list_endpoints()
    return Endpoints([EndpointLine.of(one.endpoint, one.last_at) for one in found])


@operation("GET", "webhooks/{slug}", result=EndpointShown, permission=MANAGE_WEBHOOKS)
def read_webhook(call: Call, slug: str) -> EndpointShown:
    """Show one of these addresses."""
    return EndpointShown.of(call, endpoint_of(slug))


@operation(
    "GET",
    "webhooks/{slug}/deliveries",
    query=DeliveryQuery,
    result=DeliveryPage,
    permission=MANAGE_WEBHOOKS,
)
def list_deliveries(call: Call, slug: str) -> DeliveryPage:
    """List what came in at one address, newest first."""
    query: DeliveryQuery = call.query
    page = logbook.read_page(endpoint_of(slug), outcome=query.outcome or "", before=query.before)
    return DeliveryPage([DeliveryLine.of(one.delivery) for one in page.lines], page.older)


@operation(
    "GET",
    "webhooks/{slug}/deliveries/{delivery_id}",
    result=DeliveryShown,
    permission=MANAGE_WEBHOOKS,
)
def read_delivery(_call: Call, slug: str, delivery_id: int) -> DeliveryShown:
    """Show one request that came in."""
    return DeliveryShown.of(_delivery_of(slug, delivery_id))


@operation(
    "POST",
    "webhooks/{slug}/deliveries/{delivery_id}/again",
    result=DeliveryShown,
    statuses=(201,),
    permission=MANAGE_WEBHOOKS,
    refusals=(409,),
)
def deliver_again(call: Call, slug: str, delivery_id: int) -> DeliveryShown:
    """Act upon a request once more, under today's mapping."""
    try:
        answer = redeliver(_delivery_of(slug, delivery_id), call.actor)
    except ValueError:
        raise ProblemError(409, _("Nobody signed this: it cannot be delivered again.")) from None
    return DeliveryShown.of(_delivery_of(slug, answer.delivery_id))


def endpoint_of(slug: str) -> WebhookEndpoint:
    """Return an endpoint, or end the request."""
    found = WebhookEndpoint.objects.using(database_alias()).filter(slug=slug).first()
    if found is None:
        raise not_found()
    return found


def _delivery_of(slug: str, delivery_id: int) -> WebhookDelivery:
    rows = logbook.deliveries_of(endpoint_of(slug)).select_related("endpoint")
    found: WebhookDelivery = row_of(rows, delivery_id)
    return found
