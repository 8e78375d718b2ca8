"""The order of the inbox: by deadline in groups, in each by priority, then deadline, then age.

What waits for its requester is a group of its own, the last, since its deadline stands still. A
list is read in ranges of one index, a range for each group and priority. What a deadline means
changes with the time, so a cursor carries the moment at which its first page was made; who asks
back after that moves nothing in the list.
"""

import base64
import binascii
import json
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import NamedTuple, Self

from django.db import models
from django.utils.translation import gettext_lazy as _

from dashboard.descriptions.description import Priority
from dashboard.inbox_filters import end_of_day
from dashboard.models import NO_DUE, HumanTask
from dashboard.shared_sets import SharedSets
from dashboard.statements import NOW, Statement, compiled, filled
from durable.conf import database_alias
from durable.protocol.validation import find_text_error

_EARLIEST, _LATEST = -(2**62), 2**62
_END_OF_TIME = 2**42
"""No list was made after this, epoch ms."""
_TABLE = '"signoff_humantask"'
_SINCE = f'{_TABLE}."waits_for_requester_since"'
_KEYS = f'{_TABLE}."due_at", {_TABLE}."created_at", {_TABLE}."promise_id"'


class Bucket(models.TextChoices):
    """How urgent an open question is; the order of deadlines is the order of buckets."""

    OVERDUE = "overdue", _("Overdue")
    TODAY = "today", _("Due today")
    LATER = "later", _("Later")
    NONE = "none", _("No deadline")
    WAITING = "waiting", _("Waits for the requester")
    DONE = "done", ""


def bucket_of(due_at: int, now: int, *, waits: bool = False) -> Bucket:
    """Say where a deadline belongs, by the calendar of the current time zone.

    ``waits`` says that it stands still, see ``waits_at``.
    """
    if waits:
        return Bucket.WAITING
    if due_at >= NO_DUE:
        return Bucket.NONE
    if due_at <= now:
        return Bucket.OVERDUE
    return Bucket.TODAY if due_at < end_of_day(now) else Bucket.LATER


def waits_at(task: HumanTask, at: int) -> bool:
    """Whether a question waits for its requester, and did when a list was made."""
    since = task.waits_for_requester_since
    return since is not None and since <= at


class Cursor(NamedTuple):
    """Where a list goes on: when it was begun, and the sort keys of the last card shown.

    In the list of what is over ``at`` is when the last one ended, and the rest is zero.
    ``waits`` is 1 for one that waits for its requester.
    """

    at: int
    waits: int
    priority: int
    due_at: int
    created_at: int
    id: str

    @classmethod
    def after(cls, task: HumanTask, at: int) -> Self:
        """Return the place behind an open question."""
        waits = int(waits_at(task, at))
        return cls(at, waits, task.priority, task.due_at, task.created_at, task.pk)

    @property
    def keys(self) -> tuple[int, int, str]:
        """What a list is sorted by within a group and a priority."""
        return self.due_at, self.created_at, self.id

    @property
    def bucket(self) -> Bucket:
        """The group of that card."""
        return bucket_of(self.due_at, self.at, waits=bool(self.waits))

    def encode(self) -> str:
        """Return the cursor as it stands in a URL."""
        return base64.urlsafe_b64encode(json.dumps(self).encode()).decode().rstrip("=")

    @classmethod
    def decode(cls, text: str) -> Self | None:
        """Parse a cursor; None for one that is empty or was not made here."""
        try:
            raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
            *numbers, task_id = json.loads(raw)
            at, waits, priority, due_at, created_at = numbers
        except (binascii.Error, ValueError, TypeError, RecursionError):
            return None
        if not all(type(one) is int for one in numbers) or not _is_id(task_id):
            return None
        if find_text_error("id", task_id) is not None:
            return None
        is_near = 0 <= at < _END_OF_TIME and max(map(abs, numbers[1:])) < -_EARLIEST
        is_right = is_near and waits in {0, 1}
        return cls(at, waits, priority, due_at, created_at, task_id) if is_right else None


def _is_id(given: object) -> bool:
    """Whether a database takes it: neither half a character nor none at all."""
    if not isinstance(given, str) or "\0" in given:
        return False
    return given.encode(errors="ignore").decode() == given


class _Range(NamedTuple):
    """The deadlines of a group, ``end`` excluded, at one priority."""

    priority: int
    begin: int
    end: int


class Selection(NamedTuple):
    """A statement that selects questions, and what makes the sets that it looks into.

    Both may have a slot for ``NOW``.
    """

    statement: Statement
    prefix: Statement

    @classmethod
    def of(cls, tasks: models.QuerySet[HumanTask], sets: SharedSets) -> Self | None:
        """Return that of a queryset, filtered and not sliced; None when it finds nothing."""
        statement = compiled(tasks.order_by())
        return None if statement is None else cls(statement, sets.prefix())


def read_in_order(
    selection: Selection | None, now: int, at: int, limit: int, after: Cursor | None = None
) -> list[HumanTask]:
    """Return some of what is selected in order, from a cursor on if there is one. One query.

    ``at`` is the time to which the groups belong; all times are epoch ms.
    """
    if selection is None:
        return []
    base = filled(selection.statement, {NOW: now})
    prefix, params = filled(selection.prefix, {NOW: now})
    ranges = [one for one in _ranges(at) if after is None or not _is_before(one, after)]
    parts: list[str] = []
    for sql, more in (*_parts(base, ranges, at, after), _last_part(base, at, after)):
        parts.append(f"SELECT * FROM ({sql} LIMIT {limit}) part{len(parts)}")  # noqa: S608 - Django's, and ours
        params += more
    # Both databases go through the parts one by one, and stop when they have enough: a part with a
    # limit of its own is never run beside others.
    statement = f"{prefix}{' UNION ALL '.join(parts)} LIMIT {limit}"
    found = HumanTask.objects.using(database_alias()).fetch_mode(models.FETCH_RAISE)
    return list(found.raw(statement, params))


def _parts(
    base: Statement, ranges: Iterable[_Range], at: int, after: Cursor | None
) -> Iterator[Statement]:
    sql, params = base
    for one in ranges:
        part = (
            f'{sql} AND {_TABLE}."priority" = %s AND {_TABLE}."due_at" >= %s'
            f' AND {_TABLE}."due_at" < %s AND ({_SINCE} IS NULL OR {_SINCE} > %s)'
        )
        more = (*params, *one, at)
        if after is not None and _holds(one, after):
            part += f" AND ({_KEYS}) > (%s, %s, %s)"
            more += after.keys
        yield f"{part} ORDER BY {_KEYS}", more


def _last_part(base: Statement, at: int, after: Cursor | None) -> Statement:
    """Return the statement of what waits for its requester: little, so it may be sorted."""
    sql, params = base
    part, more = f"{sql} AND {_SINCE} <= %s", (*params, at)
    if after is not None and after.waits:
        same = f'{_TABLE}."priority" = %s AND ({_KEYS}) > (%s, %s, %s)'
        part += f' AND ({_TABLE}."priority" < %s OR {same})'
        more += (after.priority, after.priority, *after.keys)
    return f'{part} ORDER BY {_TABLE}."priority" DESC, {_KEYS}', more


def _ranges(at: int) -> Iterator[_Range]:
    ends = (_EARLIEST, at + 1, end_of_day(at), NO_DUE, _LATEST)
    for begin, end in pairwise(ends):
        for priority in sorted(Priority, reverse=True):
            yield _Range(priority, begin, end)


def _holds(one: _Range, place: Cursor) -> bool:
    return one.priority == place.priority and one.begin <= place.due_at < one.end


def _is_before(one: _Range, place: Cursor) -> bool:
    if place.waits:
        return True
    if one.begin <= place.due_at < one.end:
        return one.priority > place.priority
    return one.end <= place.due_at
