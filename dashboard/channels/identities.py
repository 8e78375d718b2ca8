"""Which user an account in a chat belongs to: they link it, through an address sent there."""

import secrets
from typing import NamedTuple, Self

from django.contrib.auth.models import AbstractBaseUser
from django.core import signing
from django.db import transaction
from django.db.models import QuerySet

from dashboard import auditing
from dashboard.answering import Actor
from dashboard.channels.contents import page_url
from dashboard.models import Action, ChatIdentity, TargetKind
from durable.clock import now_ms
from durable.conf import database_alias

LINK_SECONDS = 900
_SALT = "signoff.chat-identity"


class LinkToken(NamedTuple):
    """Which identity a link confirms; each may be used once, and only the newest."""

    identity_id: int
    nonce: str

    def encode(self) -> str:
        """Return it signed."""
        return signing.dumps(list(self), salt=_SALT)

    @classmethod
    def decode(cls, text: str) -> Self | None:
        """Read a link; None for one that was not made here, or is too old."""
        try:
            return cls(*signing.loads(text, salt=_SALT, max_age=LINK_SECONDS))
        except (signing.BadSignature, TypeError):
            return None


def user_of(channel: str, external_id: str) -> AbstractBaseUser | None:
    """Return the active user whom an account was linked to."""
    found = _identities().filter(channel=channel, external_id=external_id, user__isnull=False)
    identity = found.select_related("user").first()
    if identity is None or identity.user is None or not identity.user.is_active:
        return None
    return identity.user


def identities_of(user: AbstractBaseUser) -> QuerySet[ChatIdentity]:
    """Return what a user has linked."""
    return _identities().filter(user=user.pk).order_by("linked_at")


def make_link(channel: str, external_id: str, name: str) -> str:
    """Return the address at which a signed-in user may link an account to themself."""
    nonce = secrets.token_urlsafe(16)
    identity, _is_new = _identities().update_or_create(
        channel=channel,
        external_id=external_id,
        defaults={"name": name, "nonce": nonce, "user": None, "linked_at": None},
    )
    return page_url("slack_account", token=LinkToken(identity.pk, nonce).encode())


def find_linkable(token: LinkToken) -> ChatIdentity | None:
    """Return the account that a link is about; None once it was used."""
    return _linkable(token).first()


def link(token: LinkToken, actor: Actor) -> bool:
    """Link an account to whoever acts, who can answer from there now; False for a used link."""
    with transaction.atomic(using=database_alias()):
        identity = find_linkable(token)
        linked = _linkable(token).update(user=actor.user.pk, linked_at=now_ms(), nonce="")
        if identity is None or not linked:
            return False
        _record(Action.ADD, identity, actor)
    return True


def unlink(identity_id: int, actor: Actor) -> bool:
    """Take back what whoever acts has linked; False when it is none of theirs."""
    with transaction.atomic(using=database_alias()):
        own = identities_of(actor.user).filter(pk=identity_id)
        identity = own.first()
        if identity is None or not own.delete()[0]:
            return False
        _record(Action.REMOVE, identity, actor)
    return True


def _record(action: Action, identity: ChatIdentity, actor: Actor) -> None:
    target = f"{identity.channel}:{identity.external_id}"
    details = {"account": identity.name} if identity.name else None
    auditing.record(action, target, actor, kind=TargetKind.LINK, details=details)


def _linkable(token: LinkToken) -> QuerySet[ChatIdentity]:
    return _identities().filter(pk=token.identity_id, nonce=token.nonce, user__isnull=True)


def _identities() -> QuerySet[ChatIdentity]:
    return ChatIdentity.objects.using(database_alias())
