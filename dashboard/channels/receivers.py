"""Starts messages in the engine's own transactions, and later what was missed."""

from collections.abc import Collection
from functools import partial
from typing import Any

from django.db import transaction
from django.dispatch import receiver

from dashboard.channels import digests
from dashboard.channels.base import channels, is_any_configured
from dashboard.channels.executions import begin_announcing, begin_concluding
from dashboard.models import Message
from durable.clock import now_ms
from durable.protocol.records import PromiseRecord
from durable.protocol.states import PromiseState
from durable.signals import (
    Latent,
    housekeeping,
    promises_created,
    promises_missed,
    promises_settled,
)

BATCH = 200
AGAIN_MS = 600_000


@receiver(promises_created, sender=Latent, dispatch_uid="signoff-announce")
def announce_created(promises: Collection[PromiseRecord], using: str, **_kwargs: Any) -> None:
    """Tell people of new questions."""
    begin_announcing([one.id for one in promises], using=using)


@receiver(promises_settled, sender=Latent, dispatch_uid="signoff-conclude")
def conclude_settled(promises: Collection[PromiseRecord], using: str, **_kwargs: Any) -> None:
    """Tell people of questions that are over."""
    begin_concluding([one.id for one in promises], using=using)


@receiver(promises_missed, sender=Latent, dispatch_uid="signoff-channels-missed")
def begin_missed(promises: Collection[PromiseRecord], using: str, **_kwargs: Any) -> None:
    """Begin after the engine's commit what could not be begun in its transaction.

    New questions are told by the repair that describes them, see ``dashboard.sweep``.
    """
    begin = partial(begin_concluding, [one.id for one in promises], using=using)
    transaction.on_commit(begin, using=using, robust=True)


@receiver(housekeeping, dispatch_uid="signoff-channels-house")
def conclude_forgotten(using: str, **_kwargs: Any) -> None:
    """Tell people of ends that nobody told them of: a settlement and a message may cross."""
    if not is_any_configured():
        return
    told = Message.objects.using(using).filter(
        # Where a channel was closed nobody can be told: it must not keep the others waiting.
        channel__in=[one.name for one in channels()],
        sent_at__isnull=False,
        outcome_shown_at__isnull=True,
        given_up_at__isnull=True,
    )
    over = told.filter(task__promise__state__in=set(PromiseState) - {PromiseState.PENDING})
    ids = list(over.values_list("task", flat=True).distinct()[:BATCH])
    begin_concluding(ids, using=using, again=now_ms() // AGAIN_MS)


@receiver(housekeeping, dispatch_uid="signoff-digests")
def resume_digests(using: str, **_kwargs: Any) -> None:
    """Begin those digests anew whose executions were ended by somebody else."""
    digests.resume(using=using)
