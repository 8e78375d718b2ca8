"""When somebody gets what waits for them in one message, at hours that they chose.

Each digest is an execution of its own, ``signoff.digest``, that sleeps until its hour, sends, and
begins the next. A preference names the one that counts: another, begun before a change, sends
nothing.
"""

import datetime as dt
import logging
from collections.abc import Collection, Iterable
from contextlib import suppress
from uuid import uuid4

from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet

import durable
from dashboard.attendance import group
from dashboard.channels.base import Channel, ChannelError, Recipient, channels
from dashboard.channels.contents import speaking_to, zone_of
from dashboard.channels.digest_contents import read_digest
from dashboard.models import NotificationPreference
from dashboard.people import find_user
from durable.clock import now_ms
from durable.conf import database_alias
from durable.exceptions import PromiseNotFoundError
from durable.models import Promise
from durable.protocol.states import PromiseState

logger = logging.getLogger(__name__)

FUNCTION = "signoff.digest"
HOURS = range(24)
BATCH = 200


def choose(user: AbstractBaseUser, channel: str, hours: Collection[int]) -> None:
    """Let a user have digests at these hours of their day; none ends them."""
    using = database_alias()
    with transaction.atomic(using=using):
        rows = _preferences(using).select_for_update()
        row, _is_new = rows.get_or_create(user_id=user.pk, channel=channel)
        replaced = row.digest_execution
        row.digest_hours = sorted(set(hours))
        row.digest_execution = _begin(row, user) if row.digest_hours else ""
        row.save(using=using, update_fields=["digest_hours", "digest_execution"])
    if replaced:
        # After the commit, since it may be busy with this very row; it counts no more either way.
        transaction.on_commit(lambda: _end(replaced), using=using, robust=True)


def without_digests(channel: str, recipients: Iterable[Recipient]) -> list[Recipient]:
    """Leave out those who get a digest on a channel."""
    found = list(recipients)
    keys = [one.user.pk for one in found if one.user is not None]
    rows = _preferences(database_alias()).filter(channel=channel, user__in=keys)
    waiting = {one.user_id for one in rows.exclude(digest_execution="")}
    return [one for one in found if one.user is None or one.user.pk not in waiting]


def send(preference_id: int, execution: str) -> int:
    """Send a digest, and return of how many questions; a step of the execution that counts.

    Raises ``ChannelError`` when it is to be tried again.
    """
    preference = _current(preference_id, execution).first()
    if preference is None or preference.is_off:
        return 0
    user, channel = find_user(preference.user_id), _channel(preference.channel)
    if user is None or not user.is_active or channel is None:
        return 0
    with speaking_to(user):
        digest = read_digest(user, preference.muted_types)
        if digest is None:
            return 0
        try:
            channel.send_digest(user, digest, execution)
        except ChannelError as error:
            if not error.is_final:
                raise
            logger.warning("a digest was refused: %s", error, extra={"action": "digest"})
            return 0
    return digest.total


def go_on(preference_id: int, execution: str, after: int = 0) -> bool:
    """Begin the digest after one that is over; false when it is not wanted any more.

    ``after`` is the hour of that one, which this machine's clock may not have reached yet. To be
    called in a transaction.
    """
    row = _current(preference_id, execution).select_for_update().first()
    user = None if row is None else find_user(row.user_id)
    if row is None or user is None:
        return False
    row.digest_execution = _begin(row, user, after)
    row.save(update_fields=["digest_execution"])
    return True


def resume(*, using: str) -> None:
    """Begin those digests anew that nothing waits for any more; part of the housekeeping."""
    waiting = Promise.objects.filter(pk=OuterRef("digest_execution"), state=PromiseState.PENDING)
    lost = _preferences(using).exclude(digest_execution="").filter(~Exists(waiting))
    for preference_id, execution in list(lost.values_list("pk", "digest_execution")[:BATCH]):
        with transaction.atomic(using=using):
            go_on(preference_id, execution)


def next_at(hours: Collection[int], after: int, zone: dt.tzinfo) -> int:
    """Return the first of these hours of the day after an instant (epoch ms)."""
    today = dt.datetime.fromtimestamp(after / 1000, tz=zone).date()
    days = [today + dt.timedelta(days=number) for number in range(3)]
    moments = (dt.datetime.combine(day, dt.time(hour), zone) for day in days for hour in hours)
    instants = (int(moment.timestamp() * 1000) for moment in moments)
    return min(one for one in instants if one > after)


def _begin(preference: NotificationPreference, user: AbstractBaseUser, after: int = 0) -> str:
    execution = f"{FUNCTION}.{uuid4().hex}"
    at = next_at(preference.digest_hours, max(now_ms(), after), zone_of(user))
    durable.options(target=group()).start(execution, FUNCTION, preference.pk, at)
    return execution


def _end(execution: str) -> None:
    with suppress(PromiseNotFoundError):  # it was over, and was pruned
        durable.cancel(execution, "another digest takes its place")


def _channel(name: str) -> Channel | None:
    return next((one for one in channels() if one.name == name and one.can_digest), None)


def _current(preference_id: int, execution: str) -> QuerySet[NotificationPreference]:
    rows = _preferences(database_alias())
    return rows.filter(pk=preference_id, digest_execution=execution)


def _preferences(using: str) -> QuerySet[NotificationPreference]:
    return NotificationPreference.objects.using(using)
