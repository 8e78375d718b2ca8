"""Starts and ends the executions that watch the times of questions.

One watches a question while there is something to wait for, see ``dashboard.workflows``. It begins
in the transaction that asks and ends in the one that settles.
"""

import base64
import binascii
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from hashlib import sha256

from django.conf import settings
from django.db import transaction
from django.db.models import Q

import durable
from dashboard.descriptions import DescriptionError
from dashboard.descriptions.description import KEY, TAG, describes_itself
from dashboard.descriptions.reading import Source
from dashboard.descriptions.timing import (
    EXPIRY,
    Pause,
    Timing,
    delayed,
    has_times,
    plan,
    read_timing,
)
from dashboard.models import Attendance, Comment, HumanTask, TaskMoment
from dashboard.statements import Moment
from durable.clock import now_ms
from durable.conf import database_alias
from durable.protocol.records import PromiseRecord

FUNCTION = "signoff.attend"
ATTENDS = "signoff:attends"
"""Tag with the id of the question that an execution watches."""

_DIGEST = 20
_PAUSES = (Comment.Kind.ASKED, Comment.Kind.REPLIED)
_MARKS = (b'"expires"', b'"reminders"', b'"ladder"')

_at_work: ContextVar[str] = ContextVar("signoff_attendance", default="")


def timing_of(task: HumanTask) -> Timing:
    """Return the times of a question; one with a wrong description has none.

    Raises ``DescriptionError`` for times that only an earlier version took for right.
    """
    if task.problem or not has_times(task.description):
        return Timing()
    return read_timing(Source(task.description, KEY))


def attend(tasks: Iterable[HumanTask], *, using: str) -> None:
    """Watch those of these questions that are open and have times; in the caller's transaction."""
    timings = {task: timing_of(task) for task in tasks if task.settled_at is None}
    timed = {task: timing for task, timing in timings.items() if timing.needs_attendance}
    if not timed:
        return
    known = dict(
        Attendance.objects.using(using)
        .filter(pk__in=[task.pk for task in timed])
        .values_list("pk", "asked_at")
    )
    for task, timing in timed.items():
        if known.get(task.pk) != task.asked_at:
            _begin(task, timing, task.asked_at, using=using)


def release(promises: Collection[PromiseRecord], *, using: str) -> None:
    """End the watching over questions that are settled; in the transaction that settles them."""
    ids = [promise.id for promise in promises if _may_be_attended(promise)]
    if ids:
        stop(ids, "the question is over", using=using)


def stop(ids: Collection[str], reason: str, *, using: str) -> None:
    """End the watching over these questions; in the caller's transaction."""
    found = Attendance.objects.using(using).filter(pk__in=ids, is_over=False)
    executions = list(found.values_list("execution", flat=True))
    found.update(is_over=True)
    for execution in executions:
        if execution != _at_work.get():
            durable.cancel(execution, reason)


def restart(promise_id: str) -> bool:
    """Let reminders and ladder begin anew after a hand-over, if the question wants that.

    To be called in the transaction of the hand-over; returns whether they do.
    """
    using = database_alias()
    with transaction.atomic(using=using):
        found = Attendance.objects.using(using).filter(pk=promise_id, is_over=False)
        attendance = found.select_related("task").first()
        if attendance is None:
            return False
        now = max(now_ms(), attendance.started_at + 1)
        try:
            if not (timing := timing_of(attendance.task)).restart_on_reassign:
                return False
            _begin(attendance.task, timing, now, using=using)
        except DescriptionError:  # also when no working day is in sight, from here on
            return False
        durable.cancel(attendance.execution, "the times are counted anew")
        TaskMoment.objects.using(using).create(
            task=attendance.task, key=f"restart@{now}", kind=TaskMoment.Kind.RESTART, at=now
        )
    return True


def go_on(promise_id: str) -> None:
    """Let what waited for the requester come as much later; in the transaction of their reply.

    What has happened by then does not happen again, and the expiry stays.
    """
    using = database_alias()
    found = Attendance.objects.using(using).filter(pk=promise_id, is_over=False)
    attendance = found.select_related("task").first()
    if attendance is None:
        return
    task, started_at = attendance.task, attendance.started_at
    try:
        timing = timing_of(task)
    except DescriptionError:  # what watches it says so
        return
    durable.cancel(attendance.execution, "the times stood still for a while")
    pauses = pauses_of(task, now_ms())
    _begin(task, timing, started_at, using=using, pauses=pauses)


def pauses_of(task: HumanTask, now: int) -> list[Pause]:
    """Return when a question waited for its requester; until now, if it still does."""
    said = Comment.objects.using(database_alias()).filter(
        task=task.pk, kind__in=_PAUSES, written_at__gte=task.asked_at
    )
    pauses = []
    since = None
    for kind, at in said.order_by("written_at", "pk").values_list("kind", "written_at"):
        if kind == Comment.Kind.ASKED:
            since = at
        elif since is not None:
            pauses.append(Pause(since, at))
            since = None
    if task.waits_for_requester_since is not None:
        pauses.append(Pause(task.waits_for_requester_since, now))
    return pauses


def due_of(task: HumanTask, now: int) -> int | None:
    """Return when an answer is expected, if the requester replies by now where they are asked."""
    since = task.waits_for_requester_since
    if task.due is None or since is None:
        return task.due
    calendar = None if task.described is None else task.described.timing.calendar
    return delayed(task.due, [Pause(since, now)], start=since, calendar=calendar)


def is_overdue(now: Moment) -> Q:
    """Match questions whose deadline has passed; while the requester is asked it stands still."""
    return Q(due_at__lte=now, waits_for_requester_since__isnull=True)


@contextmanager
def at_work(execution: str) -> Iterator[None]:
    """Keep an execution that itself settles its question from being cancelled for that."""
    token = _at_work.set(execution)
    try:
        yield
    finally:
        _at_work.reset(token)


def execution_of(promise_id: str, asked_at: int, started_at: int) -> str:
    """Return the execution that watches a question whose times count from then; empty for none."""
    rows = Attendance.objects.using(database_alias()).filter(
        pk=promise_id, asked_at=asked_at, started_at=started_at
    )
    return rows.values_list("execution", flat=True).first() or ""


def _execution_id(promise_id: str, *parts: int) -> str:
    """Return the id of an execution that is to watch a question; ids of roots have no colon."""
    digest = sha256("\0".join([promise_id, *map(str, parts)]).encode()).hexdigest()
    return f"signoff.attend.{digest[:_DIGEST]}"


def key_of(task: HumanTask, key: str, started_at: int) -> str:
    """Return the key under which a moment is noted: another one for times counted anew."""
    return key if started_at == task.created_at else f"{key}@{started_at}"


def group() -> str:
    """Worker group that watches the times."""
    name: str = getattr(settings, "SIGNOFF_GROUP", "default")
    return name


def _begin(
    task: HumanTask,
    timing: Timing,
    started_at: int,
    *,
    using: str,
    pauses: Collection[Pause] = (),
) -> None:
    """Watch a question, after ``pauses`` for what has not happened yet."""
    moments = plan(timing, asked_at=task.asked_at, started_at=started_at, pauses=pauses)
    parts = [task.asked_at, started_at]
    if pauses:
        rows = TaskMoment.objects.using(using).filter(task=task.pk)
        done = set(rows.exclude(key=EXPIRY).values_list("key", flat=True))
        moments = tuple(one for one in moments if key_of(task, one.key, started_at) not in done)
        parts.append(len(pauses))
    execution = _execution_id(task.pk, *parts)
    if moments:
        durable.options(target=group(), tags={ATTENDS: task.pk}).start(
            execution,
            FUNCTION,
            task.pk,
            task.asked_at,
            started_at,
            [[moment.at, moment.key] for moment in moments],
        )
    Attendance.objects.using(using).update_or_create(
        pk=task.pk,
        defaults={
            "execution": execution,
            "asked_at": task.asked_at,
            "started_at": started_at,
            "expires_at": timing.expires_at,
            "is_over": not moments,
        },
    )


def _may_be_attended(promise: PromiseRecord) -> bool:
    """Whether to look for who watches: most questions have no times, and each decision waits.

    A promise that says nothing to people may have been described by the API.
    """
    if TAG in promise.tags and any(mark in promise.tags[TAG].encode() for mark in _MARKS):
        return True
    if not describes_itself(promise.param.data, promise.tags):
        return True
    try:
        described = base64.b64decode(promise.param.data or "")
    except (binascii.Error, ValueError):
        return False
    return any(mark in described for mark in _MARKS)
