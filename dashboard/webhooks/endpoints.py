"""Makes and changes endpoints and their secrets; each change is in the audit trail."""

from collections.abc import Mapping
from typing import Any

from django.db import IntegrityError, transaction

from dashboard.answering import Actor
from dashboard.auditing import record
from dashboard.models import Action, TargetKind, WebhookEndpoint, WebhookSecret
from dashboard.webhooks.keys import add_secret, live_rows, retire_secret
from durable.clock import now_ms
from durable.conf import database_alias


class TakenError(ValueError):
    """Another endpoint has this address, since a moment ago."""


class RotatedError(ValueError):
    """Somebody has made another secret meanwhile."""


def make_endpoint(
    preset: str, action: str, columns: Mapping[str, Any], secret: str, actor: Actor
) -> WebhookEndpoint:
    """Make an endpoint with its first secret; raises ``TakenError``."""
    using = database_alias()
    now = now_ms()
    try:
        with transaction.atomic(using=using):
            endpoint = WebhookEndpoint.objects.using(using).create(
                preset=preset, action=action, made_at=now, changed_at=now, **columns
            )
            row = add_secret(endpoint, secret)
            details = {"after": {**columns, "preset": preset, "action": action, "secret": str(row)}}
            _record(Action.ADD, endpoint, actor, details)
    except IntegrityError:
        raise TakenError from None
    return endpoint


def change_endpoint(endpoint: WebhookEndpoint, columns: Mapping[str, Any], actor: Actor) -> None:
    """Change an endpoint, noting what was and is different; raises ``TakenError``."""
    using = database_alias()
    try:
        with transaction.atomic(using=using):
            rows = WebhookEndpoint.objects.using(using).select_for_update()
            before: Mapping[str, Any] = dict(rows.values().get(pk=endpoint.pk))
            changed = {name: value for name, value in columns.items() if before[name] != value}
            if not changed:
                return
            rows.filter(pk=endpoint.pk).update(**changed, changed_at=now_ms())
            was = {name: before[name] for name in changed}
            _record(Action.CHANGE, endpoint, actor, {"before": was, "after": changed})
    except IntegrityError:
        raise TakenError from None


def newest_secret(endpoint: WebhookEndpoint) -> int:
    """Return the id of the secret that was made last."""
    return max((one.pk for one in live_rows(endpoint)), default=0)


def rotate(endpoint: WebhookEndpoint, secret: str, newest: int, actor: Actor) -> WebhookSecret:
    """Add a secret; the one before stays live beside it. Raises ``RotatedError``.

    ``newest`` is the id of the last secret that the person knows of: a page that is loaded again
    makes none.
    """
    using = database_alias()
    with transaction.atomic(using=using):
        WebhookEndpoint.objects.using(using).select_for_update().get(pk=endpoint.pk)
        if newest_secret(endpoint) != newest:
            raise RotatedError
        before = [str(one) for one in live_rows(endpoint)]
        row = add_secret(endpoint, secret)
        after = [str(one) for one in live_rows(endpoint)]
        details = {"before": {"secrets": before}, "after": {"secrets": after}}
        _record(Action.CHANGE, endpoint, actor, details)
    return row


def retire(secret: WebhookSecret, actor: Actor) -> bool:
    """End a secret at once; whether that was done. The last one stays."""
    using = database_alias()
    with transaction.atomic(using=using):
        before = [str(one) for one in live_rows(secret.endpoint)]
        if not retire_secret(secret):
            return False
        after = [str(one) for one in live_rows(secret.endpoint)]
        details = {"before": {"secrets": before}, "after": {"secrets": after}}
        _record(Action.CHANGE, secret.endpoint, actor, details)
    return True


def _record(
    action: Action, endpoint: WebhookEndpoint, actor: Actor, details: Mapping[str, Any]
) -> None:
    record(action, endpoint.slug, actor, kind=TargetKind.WEBHOOK, details=details)
