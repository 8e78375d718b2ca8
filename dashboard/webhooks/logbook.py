"""Reads endpoints and their deliveries for the pages."""

from collections.abc import Sequence
from typing import NamedTuple

from django.db.models import OuterRef, QuerySet, Subquery

from dashboard.models import WebhookDelivery, WebhookEndpoint
from dashboard.wording import Text
from durable.conf import database_alias

PAGE_SIZE = 50

Outcome = WebhookDelivery.Outcome

_GOOD = frozenset({Outcome.RESOLVED, Outcome.REJECTED, Outcome.STARTED, Outcome.CHALLENGE})
_IDLE = frozenset({Outcome.REPEATED, Outcome.RUNNING, Outcome.IGNORED})
_WARN = frozenset({Outcome.LATE, Outcome.UNKNOWN, Outcome.INACTIVE})


class Shown(NamedTuple):
    """An outcome as the pages show it."""

    label: Text
    hue: str
    icon: str


class Line(NamedTuple):
    """A delivery and how its outcome looks."""

    delivery: WebhookDelivery
    shown: Shown


class Page(NamedTuple):
    """Deliveries, newest first; ``older`` is where the next page begins."""

    lines: Sequence[Line]
    older: int | None


class Listed(NamedTuple):
    """An endpoint with the last thing that came in."""

    endpoint: WebhookEndpoint
    last_at: int | None
    last: Shown | None


def show(outcome: str) -> Shown:
    """Return how an outcome looks."""
    one = Outcome(outcome)
    if one in _GOOD:
        return Shown(one.label, "good", "check")
    if one in _IDLE:
        return Shown(one.label, "idle", "circle")
    if one in _WARN:
        return Shown(one.label, "warn", "clock")
    return Shown(one.label, "bad", "x")


def list_endpoints() -> list[Listed]:
    """Return all endpoints by name. One query."""
    last = WebhookDelivery.objects.filter(endpoint=OuterRef("pk")).order_by("-pk")
    found = WebhookEndpoint.objects.using(database_alias()).order_by("name", "pk")
    rows = found.annotate(
        last_at=Subquery(last.values("received_at")[:1]),
        last_outcome=Subquery(last.values("outcome")[:1]),
    )
    return [
        Listed(one, one.last_at, None if one.last_outcome is None else show(one.last_outcome))
        for one in rows
    ]


def deliveries_of(endpoint: WebhookEndpoint) -> QuerySet[WebhookDelivery]:
    """Return the log of an endpoint, newest first."""
    rows = WebhookDelivery.objects.using(database_alias()).filter(endpoint=endpoint)
    return rows.order_by("-pk")


def read_page(endpoint: WebhookEndpoint, *, outcome: str = "", before: int | None = None) -> Page:
    """Return a page of the log. One query; bodies and headers are left out."""
    rows = deliveries_of(endpoint).defer("body", "headers")
    if outcome:
        rows = rows.filter(outcome=outcome)
    if before is not None:
        rows = rows.filter(pk__lt=before)
    found = list(rows[: PAGE_SIZE + 1])
    shown = found[:PAGE_SIZE]
    older = shown[-1].pk if len(found) > PAGE_SIZE else None
    return Page([Line(one, show(one.outcome)) for one in shown], older)
