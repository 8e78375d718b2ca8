"""Keep the rows for people in step with latent promises, inside the engine's own transactions."""

import logging
from collections.abc import Callable, Collection
from functools import partial
from typing import Any

from django.db import transaction
from django.dispatch import receiver

from dashboard import sweep
from dashboard.recording import record_settled, record_tasks
from durable.protocol.records import PromiseRecord
from durable.signals import Latent, promises_created, promises_settled

logger = logging.getLogger(__name__)


@receiver(promises_created, sender=Latent, dispatch_uid="signoff-created")
def describe_created(promises: Collection[PromiseRecord], using: str, **_kwargs: Any) -> None:
    """Make the rows of new questions."""
    _attempt(record_tasks, promises, using)


@receiver(promises_settled, sender=Latent, dispatch_uid="signoff-settled")
def note_settled(promises: Collection[PromiseRecord], using: str, **_kwargs: Any) -> None:
    """Take answered questions out of the indexes of open ones."""
    _attempt(_record_settled, promises, using)


def _record_settled(promises: Collection[PromiseRecord], *, using: str) -> None:
    record_settled({one.id: one.settled_at or one.timeout_at for one in promises}, using=using)


def _attempt(write: Callable[..., None], promises: Collection[PromiseRecord], using: str) -> None:
    """Write in a savepoint; what fails is undone and repaired after the engine's commit."""
    try:
        with transaction.atomic(using=using):
            write(promises, using=using)
    except Exception:
        logger.exception(
            "Rows for people could not be written", extra={"action": "signoff_rows_failed"}
        )
        ids = [promise.id for promise in promises]
        transaction.on_commit(partial(sweep.repair, ids, using=using), using=using, robust=True)
