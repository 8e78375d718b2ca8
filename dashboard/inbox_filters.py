"""What narrows the inbox: text, type, deadline, priority, workflow; all of it in the address."""

import datetime as dt
from collections.abc import Iterator, Mapping
from typing import NamedTuple, Self
from urllib.parse import urlencode

from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.functional import Promise as LazyText
from django.utils.translation import gettext_lazy as _

from dashboard.attendance import is_overdue
from dashboard.descriptions.description import Priority
from dashboard.statements import Moment, Slot

MAX_TEXT = 200


class Due(models.TextChoices):
    """By when an answer is expected."""

    OVERDUE = "overdue", _("Overdue")
    TODAY = "today", _("Due today")
    WEEK = "week", _("Due within a week")


PRIORITIES: Mapping[str, tuple[int, LazyText]] = {
    "urgent": (Priority.URGENT, _("Urgent")),
    "high": (Priority.HIGH, _("High or urgent")),
}


class FollowUp(models.TextChoices):
    """Whether it is time to look at a question again."""

    REACHED = "reached", _("Follow-up reached")


class Chip(NamedTuple):
    """One filter that is on: its words, and the address without it."""

    label: str | LazyText
    value: str | LazyText
    without: str


class Filters(NamedTuple):
    """What a list is narrowed to; empty words narrow nothing."""

    text: str = ""
    type: str = ""
    due: str = ""
    priority: str = ""
    workflow: str = ""
    follow_up: str = ""

    @classmethod
    def read(cls, query: Mapping[str, str]) -> Self:
        """Read them from a query string; what means nothing narrows nothing."""
        due = query.get("due", "")
        priority = query.get("priority", "")
        follow_up = query.get("follow_up", "")
        return cls(
            text=query.get("q", "").strip()[:MAX_TEXT],
            type=query.get("type", "")[:MAX_TEXT],
            due=due if due in Due.values else "",
            priority=priority if priority in PRIORITIES else "",
            workflow=query.get("workflow", "")[:MAX_TEXT],
            follow_up=follow_up if follow_up in FollowUp.values else "",
        )

    def __bool__(self) -> bool:
        return any(self)

    @property
    def words(self) -> dict[str, str]:
        """Return the filters that are on, by the names they have in an address."""
        return {name: value for name, value in zip(self.names(), self, strict=True) if value}

    @classmethod
    def names(cls) -> list[str]:
        """Return the names that filters have in an address."""
        return ["q" if name == "text" else name for name in cls._fields]

    @property
    def query(self) -> str:
        """Return them as a part of an address."""
        return urlencode(self.words)

    def condition(self, now: Moment) -> Q:
        """Match the questions that pass; a day of the calendar needs a time as a number."""
        wanted = Q()
        if self.text:
            wanted &= Q(title__icontains=self.text) | Q(question__icontains=self.text)
        if self.type:
            wanted &= Q(type=self.type)
        if self.workflow:
            named = self.workflow.lower().replace(" ", "_")  # lists show it in words
            wanted &= Q(function__in=[self.workflow, named])
        if self.priority:
            wanted &= Q(priority__gte=PRIORITIES[self.priority][0])
        if self.follow_up:
            wanted &= Q(follow_up_at__lte=now)
        if self.due:
            wanted &= _due(Due(self.due), now)
        return wanted

    def chips(self) -> Iterator[Chip]:
        """Return what is on, each with the address of the list without it."""
        shown: dict[str, tuple[str | LazyText, str | LazyText]] = {
            "text": (_("Text"), self.text),
            "type": (_("Type"), self.type),
            "due": (_("Due"), Due(self.due).label if self.due else ""),
            "priority": (_("Priority"), PRIORITIES[self.priority][1] if self.priority else ""),
            "workflow": (_("Workflow"), self.workflow),
            "follow_up": (_("Follow-up"), _("reached") if self.follow_up else ""),
        }
        for name, (label, value) in shown.items():
            if value:
                yield Chip(label, value, self._replace(**{name: ""}).query)


def _due(due: Due, now: Moment) -> Q:
    """Match what is due; not what waits for its requester, whose deadline stands still."""
    if due is Due.OVERDUE:
        return is_overdue(now)
    if isinstance(now, Slot):
        msg = "No calendar knows the day of a slot."
        raise TypeError(msg)
    match due:
        case Due.TODAY:
            return is_overdue(end_of_day(now) - 1)
        case Due.WEEK:
            return is_overdue(end_of_day(now, days=7) - 1)


def end_of_day(now: int, *, days: int = 1) -> int:
    """Return when the last of so many days of the current time zone ends, today first; epoch ms."""
    moment = timezone.localtime(dt.datetime.fromtimestamp(now / 1000, tz=dt.UTC))
    midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    # By the calendar: a day on which the clocks are changed is longer or shorter than others.
    return int((midnight + dt.timedelta(days=days)).timestamp() * 1000)
