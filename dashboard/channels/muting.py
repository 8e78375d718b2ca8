"""What people do not want to hear of: kept by channel and kind of question, changed by a link."""

from collections.abc import Collection
from typing import Any, NamedTuple, Self

from django.contrib.auth.models import AbstractBaseUser
from django.core import signing
from django.db import models, transaction

from dashboard.models import HumanTask, NotificationPreference
from dashboard.people import find_user
from durable.conf import database_alias

EVERY_KIND = "*"
"""In a link that is about all questions: that of a digest."""
_SALT = "signoff.mute"


class Muting(NamedTuple):
    """Whose messages of which kind on which channel; in a link, signed, it needs no sign-in."""

    user_key: str
    channel: str
    kind: str

    def encode(self) -> str:
        """Return it signed, as it stands in a link; it does not end."""
        return signing.dumps(list(self), salt=_SALT)

    @classmethod
    def decode(cls, token: str) -> Self | None:
        """Read a link; None for one that was not made here, or is of nobody any more."""
        try:
            muting = cls(*signing.loads(token, salt=_SALT))
        except (signing.BadSignature, TypeError):
            return None
        return None if find_user(muting.user_key) is None else muting


def preference_of(user: AbstractBaseUser, channel: str) -> NotificationPreference:
    """Return what a user wants; what is not in the database yet wants everything."""
    found = _preferences(channel).filter(user=user.pk).first()
    return found or NotificationPreference(user_id=user.pk, channel=channel)


def kind_of(task: HumanTask) -> str:
    """Return what kind of question it is: its type, or the workflow that asks."""
    return task.type or task.function


def is_muted(muting: Muting) -> bool:
    """Whether somebody wants to hear nothing of a kind."""
    found = _of(muting).first()
    return found is not None and _mutes(found, muting.kind)


def is_off(muting: Muting) -> bool:
    """Whether somebody wants to hear nothing at all on a channel."""
    return _of(muting).filter(is_off=True).exists()


def muted_among(user_keys: Collection[Any], channel: str, task: HumanTask) -> set[object]:
    """Return which of these users do not want to hear of a question."""
    found = _preferences(channel).filter(user__in=user_keys)
    return {one.user_id for one in found if _mutes(one, kind_of(task))}


def change(muting: Muting, *, is_muted: bool, everything: bool = False) -> None:
    """Mute a kind, or all of a channel, or take that back."""
    using = database_alias()
    with transaction.atomic(using=using):
        rows = NotificationPreference.objects.using(using).select_for_update()
        row, _is_new = rows.get_or_create(user_id=muting.user_key, channel=muting.channel)
        if everything:
            row.is_off = is_muted
        else:
            kinds = (
                {*row.muted_types, muting.kind} if is_muted else {*row.muted_types} - {muting.kind}
            )
            row.muted_types = sorted(kinds)
            row.is_off = row.is_off and is_muted
        row.save(using=using)


def _preferences(channel: str) -> models.QuerySet[NotificationPreference]:
    return NotificationPreference.objects.using(database_alias()).filter(channel=channel)


def _of(muting: Muting) -> models.QuerySet[NotificationPreference]:
    key: Any = muting.user_key
    return _preferences(muting.channel).filter(user=key)


def _mutes(preference: NotificationPreference, kind: str) -> bool:
    return preference.is_off or kind in preference.muted_types
