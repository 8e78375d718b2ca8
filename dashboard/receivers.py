"""Keep the rows for people in step with latent promises, inside the engine's own transactions."""

from collections.abc import Collection, Mapping
from functools import partial
from typing import Any

from django.db import transaction
from django.dispatch import receiver

from dashboard import attendance, auditing, sweep
from dashboard.recording import record_settled, record_tasks
from durable.protocol.annotations import Settler
from durable.protocol.records import PromiseRecord
from durable.signals import Latent, promises_created, promises_missed, promises_settled


@receiver(promises_created, sender=Latent, dispatch_uid="signoff-created")
def describe_created(promises: Collection[PromiseRecord], using: str, **_kwargs: Any) -> None:
    """Make the rows of new questions."""
    record_tasks(promises, using=using)


@receiver(promises_settled, sender=Latent, dispatch_uid="signoff-settled")
def note_settled(
    promises: Collection[PromiseRecord], settlers: Mapping[str, Settler], using: str, **_kwargs: Any
) -> None:
    """Take answered questions out of the indexes of open ones, and say who settled them."""
    settled_at = {one.id: one.settled_at or one.timeout_at for one in promises}
    record_settled(settled_at, auditing.entries_of(promises, settlers), using=using)
    attendance.release(promises, using=using)


@receiver(promises_missed, sender=Latent, dispatch_uid="signoff-missed")
def repair_missed(
    promises: Collection[PromiseRecord], settlers: Mapping[str, Settler], using: str, **_kwargs: Any
) -> None:
    """Write after the engine's commit what could not be written in its transaction."""
    settled = [promise for promise in promises if not promise.is_pending]
    entries = list(auditing.entries_of(settled, settlers).values())
    ids = [promise.id for promise in promises]
    for repair in (partial(auditing.add, entries), partial(sweep.repair, ids)):
        transaction.on_commit(partial(repair, using=using), using=using, robust=True)
