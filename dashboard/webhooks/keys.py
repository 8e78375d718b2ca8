"""Secrets at rest: sealed with the project's ``SECRET_KEY``, and with its fallbacks while it turns.

Whoever reads the database alone, or a copy of it, cannot sign requests.
"""

import base64
import hashlib
import secrets
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import transaction

from dashboard.models import WebhookEndpoint, WebhookSecret
from durable.clock import now_ms
from durable.conf import database_alias

if TYPE_CHECKING:
    from cryptography.fernet import MultiFernet

LIVE = 2
HINT_LENGTH = 4
_PURPOSE = b"signoff.webhook.secret:"


class SealedError(ValueError):
    """A secret was sealed with a key that this project no longer has."""


def make_secret() -> str:
    """Return a new secret."""
    return secrets.token_urlsafe(32)


def seal(secret: str) -> str:
    """Return a secret as it is stored."""
    return _box().encrypt(secret.encode()).decode()


def unseal(sealed: str) -> str:
    """Return a stored secret; raises ``SealedError``."""
    from cryptography.fernet import InvalidToken  # noqa: PLC0415 - takes long to load

    try:
        return _box().decrypt(sealed).decode()
    except InvalidToken:
        raise SealedError from None


def live_rows(endpoint: WebhookEndpoint) -> list[WebhookSecret]:
    """Return the secrets that count, the newest first."""
    found = WebhookSecret.objects.using(database_alias()).filter(endpoint=endpoint)
    return list(found.filter(retired_at=None).order_by("-pk"))


def live_secrets(endpoint: WebhookEndpoint) -> list[str]:
    """Return the plain secrets that count; those that cannot be read any more are left out."""
    found = []
    for row in live_rows(endpoint):
        try:
            found.append(unseal(row.sealed))
        except SealedError:
            continue
    return found


def add_secret(endpoint: WebhookEndpoint, secret: str) -> WebhookSecret:
    """Make a secret count beside the newest one; older ones are retired."""
    using = database_alias()
    with transaction.atomic(using=using):
        WebhookEndpoint.objects.using(using).select_for_update().get(pk=endpoint.pk)
        now = now_ms()
        kept = [one.pk for one in live_rows(endpoint)[: LIVE - 1]]
        others = WebhookSecret.objects.using(using).filter(endpoint=endpoint, retired_at=None)
        others.exclude(pk__in=kept).update(retired_at=now)
        return WebhookSecret.objects.using(using).create(
            endpoint=endpoint, sealed=seal(secret), hint=secret[-HINT_LENGTH:], made_at=now
        )


def retire_secret(secret: WebhookSecret) -> bool:
    """End a secret; whether it counted until now. The last live one stays."""
    using = database_alias()
    with transaction.atomic(using=using):
        WebhookEndpoint.objects.using(using).select_for_update().get(pk=secret.endpoint_id)
        live = [one.pk for one in live_rows(secret.endpoint)]
        if secret.pk not in live or len(live) < LIVE:
            return False
        rows = WebhookSecret.objects.using(using).filter(pk=secret.pk)
        return rows.update(retired_at=now_ms()) == 1


def _box() -> "MultiFernet":
    from cryptography.fernet import Fernet, MultiFernet  # noqa: PLC0415 - takes long to load

    keys = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    digests = [hashlib.sha256(_PURPOSE + str(key).encode()).digest() for key in keys]
    return MultiFernet([Fernet(base64.urlsafe_b64encode(digest)) for digest in digests])
