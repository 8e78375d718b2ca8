"""What is done at the times of a question: people are reminded, others added, or it ends.

Instants are epoch ms. How the page speaks of it is in ``dashboard.timetables``.
"""

import logging
from enum import StrEnum
from typing import Any, NamedTuple

from django.db import transaction
from django.db.models import QuerySet

from dashboard.attendance import at_work, execution_of, key_of, pauses_of, timing_of
from dashboard.auditing import SYSTEM, acting, record
from dashboard.channels.executions import begin_telling
from dashboard.descriptions.timing import (
    EXPIRY,
    Ending,
    Moment,
    MomentKind,
    People,
    Rung,
    Timing,
    plan,
)
from dashboard.models import Action, Attendance, Decider, HumanTask, MessageEvent, TaskMoment
from dashboard.permissions import is_open
from dashboard.recording import bind_names
from durable import promises
from durable.clock import now_ms
from durable.conf import database_alias
from durable.protocol.states import PromiseState
from durable.workflow.decisions import EXPIRED
from durable.workflow.instants import to_text

logger = logging.getLogger(__name__)

GRACE_MS = 60_000
"""How late a timer may be before others end the question: there may be no worker for it.

And how far the clock of a worker may be behind.
"""
BATCH = 100


class Fired(StrEnum):
    """Whether there is more to wait for."""

    DONE = "done"
    OVER = "over"


class Ended(NamedTuple):
    """How a question ends that nobody answered: what its promise is settled to, and whether so."""

    is_resolved: bool
    value: Any


def fire(promise_id: str, asked_at: int, started_at: int, key: str) -> Fired:
    """Do what is to be done at a moment of a question; a step of the execution that watches it."""
    with at_work(execution_of(promise_id, asked_at, started_at)):
        return _perform(promise_id, asked_at, started_at, key)


def end_overdue(*, using: str, **_kwargs: object) -> None:
    """End what should have expired a while ago; a receiver of ``durable.signals.housekeeping``."""
    for one in list(overdue(using, now_ms() - GRACE_MS)):
        try:
            with transaction.atomic(using=using):
                _perform(one.task_id, one.asked_at, one.started_at, EXPIRY)
                # Also where the question is gone, or was over without anybody noticing.
                Attendance.objects.using(using).filter(pk=one.pk).update(is_over=True)
        except Exception:  # one that cannot end must not keep the others open
            logger.exception("cannot end a question", extra={"action": "expire", "task": one.pk})


def overdue(using: str, at: int) -> QuerySet[Attendance]:
    """Return some of those whose questions should have expired by then, the longest first."""
    late = Attendance.objects.using(using).filter(is_over=False, expires_at__lte=at)
    return late.order_by("expires_at")[:BATCH]


def add_deciders(task: HumanTask, people: People) -> None:
    """Let more users and groups answer a question; those who may already stay as they are."""
    using = database_alias()
    named = [
        *((Decider.Kind.USER, name) for name in people.users),
        *((Decider.Kind.GROUP, name) for name in people.groups),
    ]
    deciders = Decider.objects.using(using)
    deciders.bulk_create(
        [Decider(task=task, kind=kind, name=name, is_unknown=True) for kind, name in named],
        ignore_conflicts=True,
    )
    unbound = deciders.filter(task=task, is_unknown=True).exclude(kind=Decider.Kind.PERMISSION)
    bind_names(list(unbound), using=using)


def ending_of(timing: Timing) -> Ended:
    """Return what becomes of the promise of a question that nobody answered."""
    decision = {
        "approved": timing.on_expiry is Ending.APPROVE,
        "answer": "expired",
        "values": {},
        "comment": "",
        "by": "",
    }
    message = f"nobody answered until {to_text(timing.expires_at or 0)}"
    match timing.on_expiry:
        case Ending.APPROVE:
            return Ended(True, decision)
        case Ending.RESOLVE:
            return Ended(True, timing.value)
        case Ending.REJECT:
            rejection = {"__type": "error", "name": "Rejected", "message": message}
            return Ended(False, rejection | decision)
        case Ending.RAISE:
            return Ended(False, {"__type": "error", "name": EXPIRED, "message": message})


def _perform(promise_id: str, asked_at: int, started_at: int, key: str) -> Fired:
    """Do what is to be done, unless it was done; in the caller's transaction."""
    now = now_ms()
    open_tasks = HumanTask.objects.using(database_alias()).filter(is_open(now))
    task = open_tasks.filter(pk=promise_id).first()
    if task is None or task.asked_at != asked_at:
        return Fired.OVER
    timing = timing_of(task)
    pauses = pauses_of(task, now)
    moments = plan(timing, asked_at=asked_at, started_at=started_at, pauses=pauses)
    moment = next((one for one in moments if one.key == key), None)
    if moment is None:
        return Fired.DONE
    if moment.kind is MomentKind.EXPIRE:
        _expire(task, timing, moment, now)
        return Fired.OVER
    is_paused = task.waits_for_requester_since is not None
    if moment.can_wait and (is_paused or (pauses and moment.at > now + GRACE_MS)):
        return Fired.DONE  # the reply begins another execution, which does it at its time
    noted_as = key_of(task, key, started_at)
    if _note(task, moment, noted_as, now):
        if moment.payload is None:
            begin_telling(task, MessageEvent.REMINDED, noted_as)
        else:
            _climb(task, moment.payload, noted_as)
    return Fired.DONE


def _climb(task: HumanTask, rung: Rung, occasion: str) -> None:
    record(
        Action.ESCALATE,
        task.pk,
        SYSTEM,
        before=PromiseState.PENDING,
        after=PromiseState.PENDING,
        details=_people_of(rung),
    )
    if rung.add is not None:
        add_deciders(task, rung.add)
        begin_telling(task, MessageEvent.ESCALATED, occasion, rung.add._asdict())
    if rung.tell is not None:
        begin_telling(task, MessageEvent.ESCALATED, f"{occasion}/tell", rung.tell._asdict())


def _expire(task: HumanTask, timing: Timing, moment: Moment, now: int) -> None:
    ended = ending_of(timing)
    details = {"on_expiry": timing.on_expiry.value}
    with acting(SYSTEM, action=Action.EXPIRE, details=details):
        if ended.is_resolved:
            settlement = promises.resolve(task.pk, ended.value)
        else:
            settlement = promises.reject(task.pk, ended.value["message"], ended.value)
    if settlement.applied:
        _note(task, moment, moment.key, now)


def _note(task: HumanTask, moment: Moment, key: str, now: int) -> bool:
    """Note that something happens now; false when it has happened before."""
    people = {} if moment.payload is None else _people_of(moment.payload)
    _row, is_new = TaskMoment.objects.using(database_alias()).get_or_create(
        task=task,
        key=key,
        defaults={"kind": moment.kind.value, "at": now, **people},
    )
    return is_new


def _people_of(rung: Rung) -> dict[str, dict[str, tuple[str, ...]]]:
    return {"added": (rung.add or People())._asdict(), "told": (rung.tell or People())._asdict()}
