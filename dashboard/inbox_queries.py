"""What the inbox and the decision page show. Reads only; every query starts at ``visible_to``."""

import base64
import binascii
import datetime as dt
import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Any, NamedTuple, Self

from django.contrib.auth import get_user_model
from django.db import models
from django.db.models import Exists, F, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce, JSONObject
from django.utils.functional import Promise as LazyText
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from dashboard import delegations, wording
from dashboard.descriptions import Fact
from dashboard.descriptions.policy import Progress
from dashboard.inbox_filters import Filters, end_of_day
from dashboard.masking import mask_description
from dashboard.models import DECISIONS, NO_DUE, Action, AuditEntry, Decider, HumanTask, Vote
from dashboard.people import name_of, starter_of
from dashboard.permissions import (
    AnyUser,
    By,
    is_open,
    may_settle_any,
    named_ever,
    names,
    names_nobody,
    visible_to,
)
from dashboard.policies import progress_of_each
from dashboard.timetables import ending_of, expiries
from durable.conf import database_alias
from durable.protocol.states import PromiseState

PAGE_SIZE = 50
COUNT_LIMIT = 1000
CARD_FACTS = 3
NO_FILTERS = Filters()
NEWS_WINDOW_MS = 30_000
"""A question may become visible this long after the time at which it says it was asked."""


class Tab(models.TextChoices):
    """The lists of the inbox; two of them need the right to settle any."""

    ANSWER = "answer", _("To answer")
    MINE = "mine", _("Mine")
    GROUPS = "groups", _("My groups")
    UNCLAIMED = "unclaimed", _("Unclaimed")
    WAITING = "waiting", _("Waiting for others")
    UNASSIGNED = "unassigned", _("Unassigned")
    ALL = "all", _("All")
    DONE = "done", _("Done")


_PRIVILEGED = frozenset({Tab.UNASSIGNED, Tab.ALL})
_WAYS = {Tab.MINE: By.NAME, Tab.GROUPS: By.GROUP}


def tabs_of(user: AnyUser) -> list[Tab]:
    """Return the tabs that a user has."""
    privileged = may_settle_any(user)
    return [tab for tab in Tab if privileged or tab not in _PRIVILEGED]


class Bucket(models.TextChoices):
    """How urgent an open question is; the order of deadlines is the order of buckets."""

    OVERDUE = "overdue", _("Overdue")
    TODAY = "today", _("Due today")
    LATER = "later", _("Later")
    NONE = "none", _("No deadline")
    DONE = "done", ""


def bucket_of(due_at: int, now: int) -> Bucket:
    """Say where a deadline belongs, by the calendar of the current time zone."""
    if due_at >= NO_DUE:
        return Bucket.NONE
    if due_at <= now:
        return Bucket.OVERDUE
    return Bucket.TODAY if due_at < end_of_day(now) else Bucket.LATER


class Cursor(NamedTuple):
    """Where a list goes on: the sort keys of the last card shown."""

    first: int
    second: int
    id: str

    def encode(self) -> str:
        """Return the cursor as it stands in a URL."""
        return base64.urlsafe_b64encode(json.dumps(self).encode()).decode().rstrip("=")

    @classmethod
    def decode(cls, text: str) -> Self | None:
        """Parse a cursor; None for one that is empty or was not made here."""
        try:
            raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
            first, second, task_id = json.loads(raw)
        except (binascii.Error, ValueError, TypeError):
            return None
        if not (type(first) is type(second) is int and isinstance(task_id, str)):
            return None
        return cls(first, second, task_id) if max(abs(first), abs(second)) < 2**63 else None


class Outcome(NamedTuple):
    """How a question ended. ``by`` is empty unless a person answered on these pages."""

    kind: str
    at: int
    by: str = ""
    is_mine: bool = False
    comment: str = ""
    ending: str | LazyText = ""
    answer: str = ""
    label: str = ""

    @property
    def icon(self) -> str:
        """Name of the icon that goes with it."""
        return {"approved": "check", "rejected": "x", "expired": "clock", "withdrawn": "ban"}.get(
            self.kind, "circle-dot"
        )

    @property
    def sentence(self) -> str | LazyText:
        """Say it in a few words, without the time."""
        if self.by:
            return wording.outcome_of(self.answer, self.label, by=self.by, is_mine=self.is_mine)
        match self.kind:
            case "expired":
                return self.ending or _("Expired without an answer")
            case "withdrawn":
                return _("Withdrawn")
            case "rejected":
                return _("Rejected elsewhere")
            case _:
                return _("Answered elsewhere")


class Card(NamedTuple):
    """One question in a list."""

    task: HumanTask
    bucket: Bucket
    facts: tuple[Fact, ...]
    deciders: str
    outcome: Outcome | None = None
    opens_bucket: bool = False
    progress: Progress | None = None

    @property
    def is_overdue(self) -> bool:
        """Whether its deadline has passed while it waits."""
        return self.bucket is Bucket.OVERDUE


class Page(NamedTuple):
    """Cards in order, and the cursor to the next ones."""

    cards: Sequence[Card]
    next: str = ""


@dataclass(frozen=True, slots=True)
class Counts:
    """Open questions per tab, none above ``COUNT_LIMIT``; ``recent`` is for ``count_news``."""

    answer: int = 0
    mine: int = 0
    groups: int = 0
    unclaimed: int = 0
    waiting: int = 0
    unassigned: int = 0
    all: int = 0
    recent: int = 0


class _CountOf(Subquery):
    """The number of rows of a query, as a value in another."""

    template = "(SELECT COUNT(*) FROM (%(subquery)s) counted)"
    output_field = models.IntegerField()


def open_tasks(
    user: AnyUser, tab: Tab, now: int, filters: Filters = NO_FILTERS
) -> QuerySet[HumanTask]:
    """Return the open questions of a tab; of ``DONE`` none."""
    if tab is Tab.WAITING:
        tasks = _waiting_for_others(user)
    else:
        tasks = visible_to(user, by=_WAYS.get(tab), only_open=True)
    # Counts are in order as well: that keeps the planner on the index of what is open.
    tasks = tasks.filter(is_open(now), filters.condition(now))
    tasks = tasks.order_by("due_at", "created_at", "pk")
    privileged = may_settle_any(user)
    match tab:
        case Tab.ANSWER | Tab.UNCLAIMED if privileged:
            named = names(user, only_open=True) | names_nobody()
            return tasks.filter(named, _left_to(user, tab))
        case Tab.ANSWER | Tab.UNCLAIMED:
            return tasks.filter(_left_to(user, tab))
        case Tab.MINE | Tab.GROUPS | Tab.WAITING:
            return tasks
        case Tab.UNASSIGNED if privileged:
            return tasks.filter(names_nobody())
        case Tab.ALL if privileged:
            return tasks
        case _:
            return tasks.none()


def _left_to(user: AnyUser, tab: Tab) -> Q:
    """Match what the user can do something about: not taken by others, not voted on, not asked."""
    free = Q(claimed_by__isnull=True)
    if tab is Tab.ANSWER:
        free |= Q(claimed_by=user.pk)
    voted = Vote.objects.filter(task=OuterRef("pk"), user=user.pk)
    asked = Q(excludes_starter=True, started_by=starter_of(user))
    return free & ~asked & Q(~Exists(voted))


def _waiting_for_others(user: AnyUser) -> QuerySet[HumanTask]:
    """Return what the user asked for, or has voted on."""
    voted = Vote.objects.filter(user=user.pk).values("task")
    tasks = HumanTask.objects.using(database_alias())
    if not user.is_authenticated:
        return tasks.none()
    return tasks.filter(Q(started_by=starter_of(user)) | Q(pk__in=voted))


def count_open(user: AnyUser, now: int, tabs: Collection[Tab], *, shown: Tab = Tab.DONE) -> Counts:
    """Count the open questions of some tabs, and what came lately to the one shown.

    One query; for those who stand in for somebody, three.
    """
    is_assumed = delegations.assume_none(user)
    counts, is_deputy = _count_open(user, now, tabs, shown)
    if is_assumed and is_deputy:
        delegations.forget(user)
        counts, _is_deputy = _count_open(user, now, tabs, shown)
    return counts


def _count_open(user: AnyUser, now: int, tabs: Collection[Tab], shown: Tab) -> tuple[Counts, bool]:
    counted = {tab.value: open_tasks(user, tab, now) for tab in tabs if tab is not Tab.DONE}
    counted["recent"] = _stragglers(user, shown, now)
    # One query for all; named apart from the columns that a user model may have.
    values = {
        f"count_{name}": _CountOf(tasks.values("pk")[:COUNT_LIMIT])
        for name, tasks in counted.items()
    }
    is_deputy = delegations.is_deputy(user)
    users: QuerySet[Any] = get_user_model()._default_manager.using(database_alias())
    for row in users.filter(pk=user.pk).values(**values, count_deputy=is_deputy):
        return Counts(**{name: row[f"count_{name}"] for name in counted}), row["count_deputy"]
    return Counts(), False


def _stragglers(user: AnyUser, tab: Tab, since: int) -> QuerySet[HumanTask]:
    """Return what a tab was asked shortly before a page was made, whether it still waits or not."""
    asked = visible_to(user, by=_WAYS.get(tab)).filter(
        created_at__gt=since - NEWS_WINDOW_MS, created_at__lte=since
    )
    if tab is Tab.WAITING:
        return asked.filter(pk__in=_waiting_for_others(user).values("pk"))
    if tab is Tab.UNASSIGNED:
        return asked.filter(names_nobody())
    if tab in {Tab.ANSWER, Tab.UNCLAIMED} and may_settle_any(user):
        return asked.filter(names(user) | names_nobody())
    return asked


def read_page(
    user: AnyUser,
    tab: Tab,
    now: int,
    filters: Filters = NO_FILTERS,
    *,
    after: Cursor | None = None,
    limit: int = PAGE_SIZE,
) -> Page:
    """Read the cards of a tab that follow a cursor. One query, and three more for votes on them."""
    if tab is Tab.DONE:
        return _read_done(user, now, filters, after, limit)
    tasks = open_tasks(user, tab, now, filters)
    if after is not None:
        tasks = tasks.filter(_follows(after))
    found = list(_listed(tasks)[: limit + 1])
    shown = found[:limit]
    more = ""
    if len(found) > limit:
        last = shown[-1]
        more = Cursor(last.due_at, last.created_at, last.pk).encode()
    before = bucket_of(after.first, now) if after else None
    return Page(list(_cards(shown, user, now, before)), more)


def _follows(cursor: Cursor) -> Q:
    return Q(due_at__gte=cursor.first) & (
        Q(due_at__gt=cursor.first)
        | Q(created_at__gt=cursor.second)
        | Q(created_at=cursor.second, pk__gt=cursor.id)
    )


def _read_done(user: AnyUser, now: int, filters: Filters, after: Cursor | None, limit: int) -> Page:
    tasks = done_tasks(user).filter(filters.condition(now)).order_by("-settled_at", "-pk")
    if after is not None:
        tasks = tasks.filter(
            Q(settled_at__lte=after.first) & (Q(settled_at__lt=after.first) | Q(pk__lt=after.id))
        )
    found = list(with_outcome(_listed(tasks))[: limit + 1])
    shown = found[:limit]
    more = ""
    if len(found) > limit:
        more = Cursor(shown[-1].settled_at or 0, 0, shown[-1].pk).encode()
    cards = [done_card(task, user, now) for task in shown]
    return Page(cards, more)


def done_tasks(user: AnyUser) -> QuerySet[HumanTask]:
    """Return what is over and was a person's to answer, or was answered by them."""
    tasks = visible_to(user, by=None if may_settle_any(user) else By.ANY)
    tasks = tasks.filter(settled_at__isnull=False)
    if not may_settle_any(user):
        return tasks
    answered = _decisions().filter(actor=user.pk).values("target")
    # Sets, since PostgreSQL would read everybody's names for an "or" of anything else; looked up by
    # a key without an index, since SQLite would begin with them and sort what it finds.
    sets = [*named_ever(user), answered]
    is_theirs = reduce(or_, (Q(key__in=one) for one in sets))
    key = Coalesce("pk", models.Value(""), output_field=models.TextField())
    return tasks.alias(key=key).filter(is_theirs)


def with_outcome(tasks: QuerySet[HumanTask]) -> QuerySet[HumanTask]:
    """Add what ``outcome_of`` needs: the promise's columns and the decision, if there was one."""
    decision = (
        _decisions()
        .filter(target=OuterRef("pk"))
        .order_by("-pk")
        .values(
            found=JSONObject(
                actor="actor_id",
                name="actor_name",
                action="action",
                answer="answer",
                comment="reason",
            )
        )[:1]
    )
    return tasks.annotate(
        promise_state=F("promise__state"),
        closes_at=F("promise__timeout_at"),
        closed_at=F("promise__settled_at"),
        decision=Subquery(decision),
        has_expired=Exists(expiries()),
    )


def outcome_of(task: Any, user: AnyUser, now: int) -> Outcome | None:
    """Say how a task from ``with_outcome`` ended; None while it waits."""
    if task.promise_state == PromiseState.PENDING:
        return Outcome("expired", task.closes_at) if task.closes_at <= now else None
    if task.promise_state == PromiseState.REJECTED_TIMEDOUT:
        return Outcome("expired", task.closed_at)
    if task.promise_state == PromiseState.REJECTED_CANCELED:
        return Outcome("withdrawn", task.closed_at)
    if task.has_expired:
        return Outcome("expired", task.closed_at, ending=ending_of(task))
    is_resolved = task.promise_state == PromiseState.RESOLVED
    if decision := task.decision:
        return _outcome_of_decision(task, decision, user)
    return Outcome("answered" if is_resolved else "rejected", task.closed_at)


def _outcome_of_decision(task: Any, decision: dict[str, Any], user: AnyUser) -> Outcome:
    kinds = {Action.APPROVE.value: "approved", Action.REJECT.value: "rejected"}
    answer, label = decision["answer"], ""
    if task.described is not None and (option := task.described.answer(answer)) is not None:
        label = option.label
    return Outcome(
        kinds.get(decision["action"], "answered"),
        task.closed_at,
        by=decision["name"],
        is_mine=str(decision["actor"]) == str(user.pk),
        comment=decision["comment"],
        answer=answer or decision["action"],
        label=label,
    )


def count_news(user: AnyUser, tab: Tab, now: int, since: int, known: int) -> int:
    """Count what came to a tab since its page was made, when ``count_open`` found ``known`` recent.

    What is asked before and committed after that moment is news as well.
    """
    newer = open_tasks(user, tab, now).filter(created_at__gt=since)
    late = _stragglers(user, tab, since).values("pk")[:COUNT_LIMIT].count() - known
    return newer.values("pk")[:COUNT_LIMIT].count() + max(0, late)


def settled_since(user: AnyUser, now: int, since: int) -> list[Card]:
    """Return what ended after a page was made, newest first."""
    tasks = visible_to(user).filter(settled_at__gt=since - NEWS_WINDOW_MS)
    found = with_outcome(_listed(tasks)).order_by("-settled_at", "-pk")[:PAGE_SIZE]
    return [done_card(task, user, now) for task in found]


def next_task(user: AnyUser, now: int, after: HumanTask) -> HumanTask | None:
    """Return the open question that follows one in the list, or else the first."""
    tasks = open_tasks(user, Tab.ANSWER, now).exclude(pk=after.pk).only("pk", "title")
    following = tasks.filter(_follows(Cursor(after.due_at, after.created_at, after.pk)))
    return following.first() or tasks.first()


def deciders_of(promise_ids: Collection[str]) -> dict[str, str]:
    """Return who may answer each question, as "Mia or Finance"; ids that name nobody are absent."""
    rows = (
        Decider.objects.using(database_alias())
        .filter(task__in=promise_ids)
        .select_related("user", "group")
        .order_by("task", "-kind", "pk")
    )
    found: dict[str, list[str]] = {}
    for row in rows:
        found.setdefault(row.task_id, []).append(_decider_name(row))
    return {task_id: join_names(people) for task_id, people in found.items()}


def join_names(people: Sequence[str], *, limit: int = 3) -> str:
    """Return names as one phrase: "Mia, Jon or Finance"; long lists are cut."""
    if len(people) > limit:
        rest = len(people) - limit + 1
        shown = ", ".join(people[: limit - 1])
        return ngettext("%(names)s or %(count)d other", "%(names)s or %(count)d others", rest) % {
            "names": shown,
            "count": rest,
        }
    if len(people) < 2:
        return "".join(people)
    return str(_("%(names)s or %(last)s")) % {
        "names": ", ".join(people[:-1]),
        "last": people[-1],
    }


def facts_of(description: dict[str, Any], *, reveal: bool = False) -> tuple[Fact, ...]:
    """Return the facts of a checked description; secret ones are masked, unless told otherwise."""
    shown = description if reveal else mask_description(description)
    facts = shown.get("facts") or ()
    pairs = facts.items() if isinstance(facts, dict) else facts
    return tuple(Fact(label, value) for label, value in pairs)


def facts_on_card(task: HumanTask) -> tuple[Fact, ...]:
    """Return the facts that the author chose for the list, or the first ones."""
    facts = facts_of(task.description)
    chosen = task.description.get("summary") or ()
    if chosen:
        by_label = {fact.label: fact for fact in facts}
        facts = tuple(by_label[label] for label in chosen if label in by_label)
    return facts[:CARD_FACTS]


def _decider_name(row: Decider) -> str:
    if row.user is not None:
        return name_of(row.user)
    return row.group.name if row.group is not None else row.name


def _decisions() -> QuerySet[AuditEntry]:
    return AuditEntry.objects.using(database_alias()).filter(
        is_effective=True, action__in=DECISIONS
    )


def _listed(tasks: QuerySet[HumanTask]) -> QuerySet[HumanTask]:
    return tasks.defer("question", "origin").fetch_mode(models.FETCH_RAISE)


def _cards(
    tasks: Sequence[HumanTask], user: AnyUser, now: int, before: Bucket | None
) -> Iterator[Card]:
    progress = progress_of_each([one for one in tasks if one.description.get("policy")], now)
    for task in tasks:
        bucket = bucket_of(task.due_at, now)
        yield Card(
            task,
            bucket,
            facts_on_card(task),
            _names_on_card(task, user),
            opens_bucket=bucket is not before,
            progress=progress.get(task.pk),
        )
        before = bucket


def done_card(task: HumanTask, user: AnyUser, now: int) -> Card:
    """Return the card of a question that is over, from ``with_outcome``."""
    return Card(
        task,
        Bucket.DONE,
        facts_on_card(task),
        _names_on_card(task, user),
        outcome_of(task, user, now),
    )


def _names_on_card(task: HumanTask, user: AnyUser) -> str:
    """Return the names as described: a list of cards takes no query to look them up."""
    described = task.description
    people = [
        str(_("you")) if name == user.get_username() else name
        for name in described.get("users") or ()
    ]
    return join_names([*people, *(described.get("groups") or ())])


def _moment(instant_ms: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(instant_ms / 1000, tz=dt.UTC)
