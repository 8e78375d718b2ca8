"""Makes, finds and revokes the tokens with which programs act in somebody's name."""

import hashlib
import secrets

from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils.translation import gettext_lazy as _

from dashboard import auditing
from dashboard.answering import Actor
from dashboard.auditing import Author
from dashboard.models import Action, ApiToken, TargetKind
from dashboard.permissions import has
from dashboard.rights import RefusedError
from durable.clock import now_ms
from durable.conf import database_alias

PREFIX = "signoff_"
"""Tells what it is to whoever finds one, and to scanners of repositories."""

MANAGE = "signoff.manage_tokens"
HINT_LENGTH = 4
_SECRET_BYTES = 32
_MINUTE_MS = 60_000


def make(
    owner: AbstractBaseUser,
    name: str,
    by: Actor | Author,
    *,
    expires_at: int | None,
    is_read_only: bool = False,
) -> str:
    """Make a token, and return it: it is not kept, and cannot be shown again."""
    token = PREFIX + secrets.token_urlsafe(_SECRET_BYTES)
    with transaction.atomic(using=database_alias()):
        row = ApiToken.objects.using(database_alias()).create(
            owner_id=owner.pk,
            name=name,
            digest=_digest_of(token),
            hint=token[-HINT_LENGTH:],
            is_read_only=is_read_only,
            made_at=now_ms(),
            expires_at=expires_at,
        )
        _record(Action.ADD, row, by)
    return token


def revoke(row: ApiToken, by: Actor | Author) -> bool:
    """Revoke a token; return whether it had not been revoked before."""
    with transaction.atomic(using=database_alias()):
        live = ApiToken.objects.using(database_alias()).filter(pk=row.pk, revoked_at__isnull=True)
        if not live.update(revoked_at=now_ms()):
            return False
        _record(Action.REMOVE, row, by)
    return True


def tokens_of(owner: AbstractBaseUser) -> QuerySet[ApiToken]:
    """Return the tokens of a person that were not revoked, the newest first."""
    rows = ApiToken.objects.using(database_alias())
    return rows.filter(owner=owner.pk, revoked_at__isnull=True).order_by("-pk")


def tokens_to_revoke(user: AbstractBaseUser) -> QuerySet[ApiToken]:
    """Return the tokens that somebody may revoke: their own, or with the right anybody's."""
    if not has(user, MANAGE):
        return tokens_of(user)
    rows = ApiToken.objects.using(database_alias())
    return rows.filter(revoked_at__isnull=True).order_by("-pk")


def find(token: str) -> ApiToken | None:
    """Return a token that counts now, and note that it was used; None for all others.

    One of somebody who can no longer sign in does not count.
    """
    now = now_ms()
    rows = ApiToken.objects.using(database_alias())
    live = rows.filter(Q(expires_at__isnull=True) | Q(expires_at__gt=now), revoked_at__isnull=True)
    row = live.filter(digest=_digest_of(token)).select_related("owner").first()
    if row is None or not row.owner.is_active:
        return None
    if row.last_used_at is None or row.last_used_at < now - _MINUTE_MS:
        rows.filter(pk=row.pk).update(last_used_at=now)
    return row


def hold(key: int) -> None:
    """Keep a token as it is until the caller's transaction ends; raises ``RefusedError``.

    Whoever revokes it meanwhile waits, so that nothing is answered by it after that. What came in
    time counts although the token has run out since.
    """
    rows = ApiToken.objects.using(database_alias()).select_for_update(of=("self",), no_key=True)
    if rows.filter(pk=key, revoked_at__isnull=True).first() is None:
        raise RefusedError(_("The token with which this was answered was revoked."))


def _digest_of(token: str) -> str:
    """Return what is kept of a token: it is long and random, so a plain hash is enough."""
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()


def _record(action: Action, row: ApiToken, by: Actor | Author) -> None:
    details = {
        "owner": row.owner.get_username(),
        "name": row.name,
        "token": f"…{row.hint}",
        "expires_at": row.expires_at,
        "is_read_only": row.is_read_only,
    }
    auditing.record(action, str(row.pk), by, kind=TargetKind.TOKEN, details=details)
