"""Forgets old deliveries, and events once nothing of the same id can come any more."""

from django.conf import settings
from django.db.models import QuerySet

from dashboard.models import WebhookDelivery, WebhookEndpoint, WebhookEvent
from durable.clock import now_ms
from durable.conf import database_alias

BATCH = 500
KEPT_REFUSED = 1000
"""How many requests that nobody signed are kept for an endpoint: anybody can send them."""
REPEATED_DAYS = 7
"""For how long at least: what senders send again, some for days, they sign anew."""
_DAY_MS = 86_400_000
_DEFAULT_DAYS = 30


def kept_days() -> int:
    """How long deliveries are kept, ``settings.SIGNOFF_WEBHOOK_DAYS``."""
    days: int = getattr(settings, "SIGNOFF_WEBHOOK_DAYS", _DEFAULT_DAYS)
    return days


def forget_old(**_kwargs: object) -> None:
    """Remove what is too old; a receiver of ``durable.signals.housekeeping``."""
    using = database_alias()
    before = now_ms() - kept_days() * _DAY_MS
    _remove(WebhookDelivery.objects.using(using).filter(received_at__lt=before))
    for endpoint in WebhookEndpoint.objects.using(using):
        refused = WebhookDelivery.objects.using(using).filter(endpoint=endpoint, is_verified=False)
        limit = refused.order_by("-pk").values_list("pk", flat=True)[KEPT_REFUSED - 1 :].first()
        if limit is not None:
            _remove(refused.filter(pk__lt=limit))
        if endpoint.timestamp:
            # What was signed so long ago is refused; without a signed time it could come back.
            days = max(kept_days(), REPEATED_DAYS)
            window = max(days * _DAY_MS, 2 * endpoint.tolerance_s * 1000)
            events = WebhookEvent.objects.using(using).filter(endpoint=endpoint)
            _remove(events.filter(seen_at__lt=now_ms() - window))


def _remove(rows: QuerySet[WebhookDelivery] | QuerySet[WebhookEvent]) -> None:
    """Delete rows in batches, each its own transaction."""
    while True:
        ids = list(rows.order_by("pk").values_list("pk", flat=True)[:BATCH])
        rows.model._base_manager.using(rows.db).filter(pk__in=ids).delete()
        if len(ids) < BATCH:
            return
