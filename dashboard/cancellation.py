"""Cancels an execution in the name of a person, and says beforehand what that would end."""

from collections import Counter
from typing import NamedTuple

from django.db import transaction

import durable
from dashboard.answering import Actor
from dashboard.auditing import acting, record
from dashboard.models import Action, TargetKind
from dashboard.queries import Tag, rows
from durable.conf import database_alias
from durable.models import Promise
from durable.protocol import tags
from durable.protocol.states import PromiseState, TaskState
from durable.workflow.ids import is_detached

MAX_COUNTED = 10_000


class Effects(NamedTuple):
    """What below an execution is open: what ends with it, and what does not."""

    functions: int = 0
    running: int = 0
    questions: int = 0
    timers: int = 0
    detached: int = 0
    is_more: bool = False


def foresee(root: Promise, now: int) -> Effects:
    """Count what cancelling would end. One query."""
    found = (
        rows(Promise)
        .filter(origin=root.id, state=PromiseState.PENDING.value, timeout_at__gt=now)
        .filter(is_external=True)
        .annotate(timer=Tag(tags.TIMER))
        .values_list("id", "task__state", "timer")[: MAX_COUNTED + 1]
    )
    counts = Counter[str]()
    for promise_id, state, timer in found:
        if is_detached(root.id, promise_id):
            counts["detached"] += 1
            continue
        counts["running"] += state == TaskState.ACQUIRED
        if promise_id != root.id:
            counts["functions" if state else "timers" if timer else "questions"] += 1
    return Effects(
        functions=counts["functions"],
        running=counts["running"],
        questions=counts["questions"],
        timers=counts["timers"],
        detached=counts["detached"],
        is_more=len(found) > MAX_COUNTED,
    )


def cancel(root: Promise, actor: Actor, reason: str) -> bool:
    """Cancel an execution and all below it but detached calls; false when it was over already."""
    with transaction.atomic(using=database_alias()):
        with acting(actor, reason=reason):
            settlement = durable.cancel(root.id, reason)
        record(
            Action.CANCEL,
            root.id,
            actor,
            kind=TargetKind.EXECUTION,
            reason=reason,
            before=PromiseState.PENDING if settlement.applied else settlement.promise.state,
            after=settlement.promise.state,
            is_effective=settlement.applied,
        )
    return bool(settlement.applied)
