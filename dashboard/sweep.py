"""Repairs what the receivers missed, and withdraws what nobody waits for any more.

A background loop of the engine calls ``keep_house`` now and then; a receiver that failed calls
``repair``.
"""

import logging
from collections.abc import Collection

from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet

from dashboard import auditing
from dashboard.channels.executions import begin_announcing
from dashboard.decisions import recount
from dashboard.models import Decider, HumanTask, Vote
from dashboard.permissions import is_open
from dashboard.policies import progress_of_each
from dashboard.recording import bind_names, record_settled, record_tasks
from durable import promises
from durable.clock import now_ms
from durable.conf import database_alias
from durable.models import Promise
from durable.protocol import tags
from durable.protocol.records import PromiseRecord, Value
from durable.protocol.states import PromiseState

logger = logging.getLogger(__name__)

BATCH = 500


def keep_house(**_kwargs: object) -> None:
    """Repair what there is; a receiver of ``durable.signals.housekeeping``."""
    while run_once() >= BATCH:
        pass


def run_once(*, limit: int = BATCH) -> int:
    """Repair up to ``limit`` rows of each kind; return how many, so that the caller may go on."""
    using = database_alias()
    return (
        _describe_missing(limit, using=using)
        + _note_settled(limit, using=using)
        + _bind_known_names(limit, using=using)
        + _note_unassigned(limit, using=using)
        + _recount_votes(limit, using=using)
        + _withdraw_abandoned(limit, using=using)
    )


def repair(ids: Collection[str], *, using: str) -> None:
    """Write the rows of these promises from what the database says; one bad apart from the rest."""
    for promise in records_of(latent_promises(using).filter(pk__in=ids)):
        try:
            with transaction.atomic(using=using):
                record_tasks([promise], using=using)
                begin_announcing([promise.id], using=using)
        except Exception:
            logger.exception(
                "A question could not be written", extra={"action": "signoff_repair_failed"}
            )


def latent_promises(using: str) -> QuerySet[Promise]:
    """Promises that only the outside settles, in any state."""
    # Where a key is absent, comparing it is neither true nor false.
    is_no_timer = ~Q(tags__has_key=tags.TIMER) | ~Q(**{f"tags__{tags.TIMER}": tags.TRUE})
    return Promise.objects.using(using).filter(
        is_no_timer, ~Q(tags__has_key=tags.TARGET), is_external=True
    )


def records_of(found: QuerySet[Promise]) -> list[PromiseRecord]:
    """Return rows of the engine as its signals bring them."""
    return [
        PromiseRecord(
            id=promise.pk,
            state=PromiseState(promise.state),
            param=Value(data=promise.param_data),
            value=Value(data=promise.value_data),
            tags=promise.tags,
            timeout_at=promise.timeout_at,
            created_at=promise.created_at,
            settled_at=promise.settled_at,
        )
        for promise in found
    ]


def _describe_missing(limit: int, *, using: str) -> int:
    missing = latent_promises(using).filter(
        ~Exists(HumanTask.objects.filter(pk=OuterRef("pk"))), state=PromiseState.PENDING
    )
    ids = list(missing.values_list("pk", flat=True)[:limit])
    repair(ids, using=using)
    return len(ids)


def _note_settled(limit: int, *, using: str) -> int:
    late = (
        HumanTask.objects.using(using)
        .filter(settled_at__isnull=True)
        .exclude(promise__state=PromiseState.PENDING)
    )
    ids = list(late.values_list("pk", flat=True)[:limit])
    records = records_of(Promise.objects.using(using).filter(pk__in=ids))
    with transaction.atomic(using=using):
        record_settled({one.id: one.settled_at or 0 for one in records}, {}, using=using)
        auditing.add_missing(records, using=using)
    return len(records)


def _bind_known_names(limit: int, *, using: str) -> int:
    return bind_names(
        list(
            Decider.objects.using(using)
            .filter(is_unknown=True, is_open=True)
            .exclude(kind=Decider.Kind.PERMISSION)[:limit]
        ),
        using=using,
    )


def _note_unassigned(limit: int, *, using: str) -> int:
    """Give questions whose users and groups were deleted to those who may settle any."""
    gone = Q(user__isnull=True, group__isnull=True) & ~Q(kind=Decider.Kind.PERMISSION)
    orphans = Decider.objects.filter(gone, is_unknown=False).values("task")
    someone = Decider.objects.filter(~gone, task=OuterRef("pk"))
    tasks = HumanTask.objects.using(using).filter(
        ~Exists(someone), pk__in=orphans, is_unassigned=False
    )
    ids = list(tasks.values_list("pk", flat=True)[:limit])
    return HumanTask.objects.using(using).filter(pk__in=ids).update(is_unassigned=True)


def _recount_votes(limit: int, *, using: str) -> int:
    """Settle questions whose policies have opened a part that the votes given fill."""
    voted = HumanTask.objects.using(using).filter(
        is_open(now_ms()), pk__in=Vote.objects.using(using).values("task")
    )
    count, last = 0, ""
    # All of them: most do not change, so the first ones would keep the others from their turn.
    while some := list(voted.filter(pk__gt=last).order_by("pk")[:limit]):
        last = some[-1].pk
        progress = progress_of_each(some, now_ms())
        decided = [one for one in some if one.pk in progress and progress[one.pk].verdict]
        count += sum(recount(one) for one in decided)
    return count


def _withdraw_abandoned(limit: int, *, using: str) -> int:
    """Cancel questions of calls that have ended: an answer would reach nobody."""
    now = now_ms()
    waiting = Promise.objects.filter(
        pk=OuterRef("promise__replayed_by"), state=PromiseState.PENDING, timeout_at__gt=now
    )
    abandoned = HumanTask.objects.using(using).filter(
        is_open(now), ~Exists(waiting), promise__replayed_by__isnull=False
    )
    ids = list(abandoned.values_list("pk", flat=True)[:limit])
    return sum(promises.cancel(one, "the call that asked has ended").applied for one in ids)
