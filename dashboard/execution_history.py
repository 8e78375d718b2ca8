"""What happened in an execution, newest first: to its promises and to its tasks.

Only as much is read as a page shows, so that a long history opens as fast as a short one.
"""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Self

from django.db.models import Case, F, Q, QuerySet, When
from django.db.models.functions import Coalesce, Substr
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from dashboard.masking import secrets_of
from dashboard.payloads import PREVIEW_SOURCE, preview
from dashboard.queries import rows, titles_of
from dashboard.states import Status, projected, settled_status
from durable.models import HistoryEvent, Promise, TaskEvent
from durable.models.fields import IsTargeted
from durable.protocol import tags
from durable.protocol.states import PromiseState

PAGE = 100
MAX_TASKS = 1000
"""More than these are looked for by the database as it likes."""

MADE, TASK, SETTLED = range(3)
"""Sources of events; of two at the same time the one with the higher number happened later."""


_NUMBER = re.compile(r"\d{1,18}", re.ASCII)


class Place(NamedTuple):
    """Where an event is in the history: time, source, and its key in that source."""

    at: int
    source: int
    key: str

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Read what ``str`` wrote; None for anything else."""
        match = re.fullmatch(r"(\d{1,18})~([0-2])~(.+)", text, re.DOTALL | re.ASCII)
        if match is None or (match[2] == str(TASK) and not _NUMBER.fullmatch(match[3])):
            return None
        return cls(int(match[1]), int(match[2]), match[3])

    def __str__(self) -> str:
        return f"{self.at}~{self.source}~{self.key}"

    def before(self, source: int, at: str, key: str) -> Q:
        """Match what a source has before this place; the last two are names of columns."""
        earlier = Q(**{f"{at}__lt": self.at})
        if source < self.source:
            return Q(**{f"{at}__lte": self.at})
        if source > self.source:
            return earlier
        value = int(self.key) if source == TASK else self.key
        return earlier | Q(**{at: self.at, f"{key}__lt": value})


@dataclass(frozen=True)
class Event:
    """A line of the history."""

    place: Place
    promise_id: str
    suffix: str
    name: str
    mark: str
    hue: str
    text: str
    detail: str = ""

    @property
    def at(self) -> int:
        """Return when it happened."""
        return self.place.at


@dataclass(frozen=True)
class Page:
    """A page of the history, and where the next begins; None on the last."""

    events: list[Event]
    older: Place | None


def read_history(root: Promise, now: int, *, step: str = "", before: Place | None = None) -> Page:
    """Return the newest events before a place, of all or of one step. Five queries."""
    source = _Source(root, now, step, before)
    found = sorted([*source.made(), *source.tasks(), *source.settled()], key=_place, reverse=True)
    events = found[:PAGE]
    titles = titles_of({event.promise_id for event in events if event.place.source != TASK})
    return Page(
        [
            replace(event, name=title) if (title := titles.get(event.promise_id)) else event
            for event in events
        ],
        events[-1].place if len(found) > PAGE else None,
    )


def _place(event: Event) -> Place:
    return event.place


class _Source:
    def __init__(self, root: Promise, now: int, step: str, before: Place | None) -> None:
        self._root = root
        self._now = now
        self._step = step
        self._before = before

    def _promises(self) -> QuerySet[Promise]:
        # A root may say that it belongs to another lineage; the others are found by one index.
        alone = Q() if self._root.origin == self._root.id else Q(id=self._root.id)
        found = rows(Promise).filter(Q(origin=self._root.id) | alone)
        return found.filter(id=self._step) if self._step else found

    def _suffix(self, promise_id: str) -> str:
        return promise_id.removeprefix(self._root.id)

    def _task_ids(self) -> Collection[str] | QuerySet[Any]:
        """Return which promises have tasks: as values, so that their events are looked up."""
        ids = self._promises().filter(IsTargeted("tags")).values_list("id", flat=True)
        # In the order of an index, so that no more than the lineage is read.
        few = list(ids.order_by("origin", "replayed_by")[: MAX_TASKS + 1])
        return few if len(few) <= MAX_TASKS else ids

    def made(self) -> Iterator[Event]:
        """Promises that were made; steps that are stored when they end were not seen being made."""
        found = self._promises().exclude(created_at=Coalesce("settled_at", -1))
        if self._before is not None:
            found = found.filter(self._before.before(MADE, "created_at", "id"))
        columns = ("id", "function", "tags", "created_at", "timeout_at")
        for row in found.order_by("-created_at", "-id").values(*columns)[: PAGE + 1]:
            yield Event(
                Place(row["created_at"], MADE, row["id"]),
                row["id"],
                self._suffix(row["id"]),
                row["function"] or "",
                *_made(row),
            )

    def tasks(self) -> Iterator[Event]:
        """What happened to tasks."""
        found = rows(HistoryEvent).filter(task_id__in=self._task_ids())
        if self._before is not None:
            found = found.filter(self._before.before(TASK, "at", "id"))
        for event in found.order_by("-at", "-id")[: PAGE + 1]:
            mark, hue, text = _TASK_TEXTS[TaskEvent(event.event)]
            yield Event(
                Place(event.at, TASK, str(event.id)),
                event.task_id,
                self._suffix(event.task_id),
                "",
                mark,
                hue,
                str(text),
                event.pid or "",
            )

    def settled(self) -> Iterator[Event]:
        """Promises that were settled, by whomever or by their deadline."""
        overdue = When(timeout_at__lte=self._now, then=F("timeout_at"))
        found = self._promises().annotate(
            ended=Coalesce("settled_at", Case(overdue)),
            beginning=Substr("value_data", 1, PREVIEW_SOURCE),
        )
        found = found.filter(ended__isnull=False)
        if self._before is not None:
            found = found.filter(self._before.before(SETTLED, "ended", "id"))
        columns = (
            *("id", "function", "tags", "state", "timeout_at", "ended", "attempts"),
            *("beginning", "human_task__description__secrets"),
        )
        for row in found.order_by("-ended", "-id").values(*columns)[: PAGE + 1]:
            yield self._settled(row)

    def _settled(self, row: dict[str, Any]) -> Event:
        is_timer = tags.is_timer(row["tags"])
        seen = projected(row["state"], row["timeout_at"], self._now, is_timer=is_timer)
        status = settled_status(seen) or Status.SUCCEEDED
        text = str(status.label)
        if (attempts := row["attempts"] or 1) > 1:
            text += " " + ngettext(
                "after %(count)d attempt", "after %(count)d attempts", attempts
            ) % {"count": attempts}
        is_error = seen is not PromiseState.RESOLVED
        secrets = secrets_of({"secrets": row["human_task__description__secrets"]})
        return Event(
            Place(row["ended"], SETTLED, row["id"]),
            row["id"],
            self._suffix(row["id"]),
            row["function"] or "",
            status.mark,
            status.hue,
            text,
            preview(row["beginning"], secrets, is_error=is_error),
        )


def _made(row: dict[str, Any]) -> tuple[str, str, str, str]:
    """Return mark, hue, text and detail of a promise that was made."""
    if target := row["tags"].get(tags.TARGET, ""):
        return "queued", "idle", _("Called"), target
    if tags.is_timer(row["tags"]):
        return "sleeping", "rest", _("Timer set"), ""
    if row["tags"].get(tags.SCOPE) == tags.SCOPE_LOCAL:
        return "running", "active", _("Begun"), ""
    return "human", "human", _("Asked for an answer"), ""


_TASK_TEXTS = {
    TaskEvent.ACQUIRED: ("running", "active", gettext_lazy("Taken by a worker")),
    TaskEvent.SUSPENDED: ("waiting", "rest", gettext_lazy("Suspended until something settles")),
    TaskEvent.RESUMED: ("queued", "idle", gettext_lazy("Woken")),
    TaskEvent.RELEASED: ("queued", "warn", gettext_lazy("Given back by its worker")),
    TaskEvent.LEASE_EXPIRED: ("stuck", "warn", gettext_lazy("Worker lost: lease expired")),
    TaskEvent.HALTED: ("stuck", "warn", gettext_lazy("Halted")),
    TaskEvent.CONTINUED: ("queued", "idle", gettext_lazy("Continued")),
}
