"""Keep the rows for people in step with latent promises, inside the engine's own transactions."""

from collections.abc import Collection
from functools import partial
from typing import Any

from django.db import transaction
from django.dispatch import receiver

from dashboard import sweep
from dashboard.recording import record_settled, record_tasks
from durable.protocol.records import PromiseRecord
from durable.signals import Latent, promises_created, promises_missed, promises_settled


@receiver(promises_created, sender=Latent, dispatch_uid="signoff-created")
def describe_created(promises: Collection[PromiseRecord], using: str, **_kwargs: Any) -> None:
    """Make the rows of new questions."""
    record_tasks(promises, using=using)


@receiver(promises_settled, sender=Latent, dispatch_uid="signoff-settled")
def note_settled(promises: Collection[PromiseRecord], using: str, **_kwargs: Any) -> None:
    """Take answered questions out of the indexes of open ones."""
    record_settled({one.id: one.settled_at or one.timeout_at for one in promises}, using=using)


@receiver(promises_missed, sender=Latent, dispatch_uid="signoff-missed")
def repair_missed(promises: Collection[PromiseRecord], using: str, **_kwargs: Any) -> None:
    """Write after the engine's commit what could not be written in its transaction."""
    ids = [promise.id for promise in promises]
    transaction.on_commit(partial(sweep.repair, ids, using=using), using=using, robust=True)
