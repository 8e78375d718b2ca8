"""What the inbox and the decision page show. Reads only; every query starts at ``visible_to``."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from django.contrib.auth import get_user_model
from django.db import connections, models
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.db.models.expressions import RawSQL
from django.utils.functional import Promise as LazyText
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from dashboard import belongings, delegations, turns
from dashboard.attendance import due_of
from dashboard.descriptions import Fact
from dashboard.descriptions.policy import Progress
from dashboard.inbox_filters import Filters
from dashboard.inbox_order import Bucket, Cursor, Selection, bucket_of, read_in_order, waits_at
from dashboard.masking import mask_description
from dashboard.models import Decider, HumanTask, Vote
from dashboard.outcomes import Outcome, decisions, outcome_of, with_outcome
from dashboard.people import name_of, starter_of
from dashboard.permissions import (
    AnyUser,
    By,
    Sight,
    ever_put_to,
    held_for,
    is_open,
    may_settle_any,
    names,
    names_nobody,
    visible_to,
)
from dashboard.policies import Standing, standing_of_each
from dashboard.shared_sets import SharedSets
from dashboard.snoozing import is_snoozed, was_snoozed
from dashboard.statements import KEPT_STATEMENTS, NOW, SINCE, Moment, Statement, compiled, filled
from durable.conf import database_alias

PAGE_SIZE = 50
COUNT_LIMIT = 1000
CARD_FACTS = 3
NEXT_LIMIT = 10
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
    SNOOZED = "snoozed", _("Snoozed")
    UNASSIGNED = "unassigned", _("Unassigned")
    ALL = "all", _("All")
    DONE = "done", _("Done")


_PRIVILEGED = frozenset({Tab.UNASSIGNED, Tab.ALL})
_INDEXED = ("priority", "due_at", "created_at", "pk")
_WAYS = {Tab.MINE: By.NAME, Tab.GROUPS: By.GROUP}
_WIDE = frozenset({Tab.WAITING, Tab.SNOOZED})
"""Here is also what somebody sees and others answer."""
_ASIDE = frozenset({*_WIDE, Tab.DONE})
"""What stands here is not gone through to answer it."""
_LEFT = frozenset({Tab.ANSWER, Tab.UNCLAIMED})
"""All that stands here may be answered."""


def tabs_of(user: AnyUser) -> list[Tab]:
    """Return the tabs that a user has."""
    privileged = may_settle_any(user)
    return [tab for tab in Tab if privileged or tab not in _PRIVILEGED]


def tab_named(name: str, tabs: Sequence[Tab]) -> Tab:
    """Return one of the tabs by its name, or the first for one that is not among them."""
    return next((tab for tab in tabs if tab.value == name), tabs[0])


class Card(NamedTuple):
    """One question in a list; ``turn`` says it where it is not the reader's yet.

    asks_reader: whether the requester it waits for is the reader.
    """

    task: HumanTask
    bucket: Bucket
    facts: tuple[Fact, ...]
    deciders: str
    outcome: Outcome | None = None
    opens_bucket: bool = False
    progress: Progress | None = None
    turn: str = ""
    holder: str | LazyText = ""
    due: int | None = None
    asks_reader: bool = False

    @property
    def is_overdue(self) -> bool:
        """Whether its deadline has passed while it waits, and does not stand still."""
        return self.bucket is Bucket.OVERDUE and not self.stands_still

    @property
    def stands_still(self) -> bool:
        """Whether its deadline moves along while the requester is asked."""
        return self.due is not None and self.task.waits_for_requester_since is not None


class Page(NamedTuple):
    """Cards in order, and the cursor to the next ones."""

    cards: Sequence[Card]
    next: str = ""


@dataclass(frozen=True, slots=True)
class Counts:
    """Open questions per tab, none above ``COUNT_LIMIT``.

    recent: what came shortly before the count, for the next; ``news``: what came since the last.
    matching: what of the list shown the user may answer.
    """

    answer: int = 0
    mine: int = 0
    groups: int = 0
    unclaimed: int = 0
    waiting: int = 0
    snoozed: int = 0
    unassigned: int = 0
    all: int = 0
    recent: int = 0
    news: int = 0
    matching: int = 0


class Shown(NamedTuple):
    """The list that a page shows."""

    tab: Tab
    filters: Filters = NO_FILTERS

    @property
    def to_go_through(self) -> "Shown":
        """The list of which one question after the other is answered."""
        return self._replace(tab=Tab.ANSWER) if self.tab in _ASIDE else self


TO_ANSWER = Shown(Tab.ANSWER)


class Seen(NamedTuple):
    """What a page knows of the time at which it was made, and how many were recent then."""

    at: int
    recent: int


def open_tasks(
    user: AnyUser,
    tab: Tab,
    now: Moment,
    filters: Filters = NO_FILTERS,
    sets: SharedSets | None = None,
) -> QuerySet[HumanTask]:
    """Return the open questions of a tab, by deadline; of ``DONE`` none.

    With ``sets`` the statement needs what these have made.
    """
    tasks = _all_of(user, tab, only_open=True, sets=sets)
    is_hidden = is_snoozed(user, now, sets)
    tasks = tasks.filter(
        is_open(now), is_hidden if tab is Tab.SNOOZED else ~is_hidden, filters.condition(now)
    )
    tasks = tasks.order_by("due_at", "created_at", "pk")
    privileged = may_settle_any(user)
    match tab:
        case Tab.ANSWER | Tab.UNCLAIMED if privileged:
            named = names(user, only_open=True, sets=sets) | names_nobody()
            return tasks.filter(named, _left_to(user, tab, now))
        case Tab.ANSWER | Tab.UNCLAIMED:
            return tasks.filter(_left_to(user, tab, now))
        case Tab.MINE | Tab.GROUPS | Tab.WAITING | Tab.SNOOZED:
            return tasks
        case Tab.UNASSIGNED if privileged:
            return tasks.filter(names_nobody())
        case Tab.ALL if privileged:
            return tasks
        case _:
            return tasks.none()


def answerable(
    user: AnyUser,
    now: Moment,
    tab: Tab | None = None,
    filters: Filters = NO_FILTERS,
    sets: SharedSets | None = None,
) -> QuerySet[HumanTask]:
    """Return the open questions that are left to a user to answer: of a tab, or of all there are.

    Where others see to a question, or the user has voted, it is not among them. With ``sets`` the
    statement needs what these have made.
    """
    if tab is Tab.ANSWER:
        return open_tasks(user, tab, now, filters, sets)
    privileged = may_settle_any(user)
    if tab is None:
        tasks = visible_to(user, by=None if privileged else By.ANY, only_open=True)
        tasks = tasks.filter(is_open(now)).order_by("due_at", "created_at", "pk")
    else:
        tasks = open_tasks(user, tab, now, filters, sets)
        if tab in _WIDE and not privileged:
            tasks = tasks.filter(names(user, only_open=True, sets=sets))
    return tasks.filter(_left_to(user, Tab.ANSWER, now))


def _all_of(
    user: AnyUser, tab: Tab, *, only_open: bool = False, sets: SharedSets | None = None
) -> QuerySet[HumanTask]:
    """Return what a tab may show, also what is over.

    Whoever asked sees a question, but does not find it among what they have to answer.
    """
    by = _WAYS.get(tab)
    if tab not in _WIDE and not may_settle_any(user):
        by = by or By.ANY
    tasks = visible_to(user, by=by, only_open=only_open, sets=sets)
    return tasks.filter(_is_asked_by(user) | _is_voted_on_by(user)) if tab is Tab.WAITING else tasks


def _left_to(user: AnyUser, tab: Tab, now: Moment) -> Q:
    """Match what the user can do something about: not taken by others, not voted on, not asked.

    What somebody has taken on is their deputy's to answer as well. What has expired is left out,
    though it may take a moment until that ends it.
    """
    free = Q(claimed_by__isnull=True)
    if tab is Tab.ANSWER:
        free |= held_for(user)
    voted = Vote.objects.filter(task=OuterRef("pk"), user=user.pk)
    asked = Q(excludes_starter=True, started_by=starter_of(user))
    in_time = Q(expires_at__isnull=True) | Q(expires_at__gt=now)
    return free & in_time & ~asked & Q(~Exists(voted))


def _is_asked_by(user: AnyUser) -> Q:
    return Q(started_by=starter_of(user))


def _is_voted_on_by(user: AnyUser) -> Q:
    return Q(pk__in=Vote.objects.filter(user=user.pk).values("task"))


def count_open(
    user: AnyUser,
    now: int,
    tabs: Collection[Tab],
    *,
    shown: Shown | None = None,
    seen: Seen | None = None,
) -> Counts:
    """Count the open questions of some tabs, and what came lately to the list shown.

    ``seen`` is what a page of that list knows, and asks for what is new to it. Reads the user's
    belongings along with it. One query; for those who stand in for somebody, three.
    """
    is_assumed = delegations.assume_none(user)
    counts, is_deputy = _count_open(user, now, tabs, shown, seen)
    if is_assumed and is_deputy:
        delegations.forget(user)
        counts, _is_deputy = _count_open(user, now, tabs, shown, seen)
    return counts


def _count_open(
    user: AnyUser, now: int, tabs: Collection[Tab], shown: Shown | None, seen: Seen | None
) -> tuple[Counts, bool]:
    names, statement = _counting(Sight.of(user), tuple(tabs), shown, seen is not None, now)
    sql, params = filled(statement, {NOW: now, SINCE: seen.at if seen else now})
    # Named apart from the columns that a user model may have.
    values = {
        "own_numbers": RawSQL(sql, params, output_field=models.JSONField()),  # noqa: S611
        "own_is_deputy": delegations.is_deputy(user),
        **belongings.columns(user),
    }
    users: QuerySet[Any] = get_user_model()._default_manager.using(database_alias())
    for row in users.filter(pk=user.pk).values(**values):
        belongings.remember(user, row)
        found: dict[str, int] = dict(zip(names, row["own_numbers"], strict=True))
        if Tab.ANSWER in tabs:
            found["answer"] = min(found["unclaimed"] + found.pop("held"), COUNT_LIMIT)
        if Tab.WAITING in tabs:
            found["waiting"] = min(found.pop("asked") + found.pop("voted"), COUNT_LIMIT)
        if shown is not None and "matching" not in found:
            found["matching"] = found.get(shown.tab.value, 0)
        if seen is not None:
            # What is asked before a page and committed after it is news as well.
            late = max(0, found.get("recent", 0) - seen.recent)
            found["news"] = found.pop("newer", 0) + found.pop("awake", 0) + late
        return Counts(**found), row["own_is_deputy"]
    return Counts(), False


type _Counting = tuple[Sequence[str], Statement]
"""What is counted, and the statement that returns the numbers as one list."""


def _counting(
    sight: Sight, tabs: Sequence[Tab], shown: Shown | None, is_again: bool, now: int
) -> _Counting:
    """Return how to count, with slots for ``NOW`` and ``SINCE``."""
    if shown is not None and shown.filters:
        return _make_counting(sight, tabs, shown, is_again, now)
    return _kept_counting(sight, tabs, shown, is_again)


@lru_cache(maxsize=KEPT_STATEMENTS)
def _kept_counting(
    sight: Sight, tabs: Sequence[Tab], shown: Shown | None, is_again: bool
) -> _Counting:
    return _make_counting(sight, tabs, shown, is_again, NOW)


def _make_counting(
    sight: Sight, tabs: Sequence[Tab], shown: Shown | None, is_again: bool, now: Moment
) -> _Counting:
    sets = SharedSets()
    counted: dict[str, QuerySet[HumanTask]] = {}
    for tab in tabs:
        if tab.value not in counted:
            counted |= _parts_of(sight.user, tab, now, sets)
    if shown is not None:
        counted |= _parts_shown(sight.user, shown, is_again, now, sets)
    return list(counted), _numbers_of(counted, sets)


def _parts_shown(
    user: AnyUser, shown: Shown, is_again: bool, now: Moment, sets: SharedSets
) -> dict[str, QuerySet[HumanTask]]:
    """Return what is counted of the list shown: what came lately, and what else is asked of it."""
    counted = {"recent": _stragglers(user, shown.tab).filter(shown.filters.condition(now))}
    if is_again:
        tasks = open_tasks(user, shown.tab, now, shown.filters, sets).order_by(*_INDEXED)
        counted["newer"] = tasks.filter(created_at__gt=SINCE)
        counted["awake"] = tasks.filter(was_snoozed(user, SINCE), created_at__lte=SINCE)
    elif shown.tab not in _ASIDE and (shown.filters or shown.tab not in _LEFT):
        counted["matching"] = answerable(user, now, *shown, sets).order_by(*_INDEXED)
    return counted


def _parts_of(
    user: AnyUser, tab: Tab, now: Moment, sets: SharedSets
) -> dict[str, QuerySet[HumanTask]]:
    """Return what is counted for a tab, in parts that each have an index or that tabs share."""
    match tab:
        case Tab.DONE:
            return {}
        case Tab.ANSWER:
            held = open_tasks(user, tab, now, sets=sets).filter(held_for(user))
            return _parts_of(user, Tab.UNCLAIMED, now, sets) | {"held": held.order_by()}
        case Tab.WAITING:
            tasks, asked = open_tasks(user, tab, now, sets=sets).order_by(), _is_asked_by(user)
            return {
                "asked": tasks.filter(asked),
                "voted": tasks.filter(~asked, _is_voted_on_by(user)),
            }
        case _:
            # In the order of an index: that keeps the planner on the one of what is open.
            in_order = open_tasks(user, tab, now, sets=sets).order_by(*_INDEXED)
            return {tab.value: in_order}


def _numbers_of(counted: Mapping[str, QuerySet[HumanTask]], sets: SharedSets) -> Statement:
    """Return how many each finds, as one list.

    The statements are put together as text: one that holds the others costs Django more time than
    the database takes to count.
    """
    numbers: list[str] = []
    params: list[Any] = []
    for tasks in counted.values():
        found = compiled(tasks.values("pk")[:COUNT_LIMIT])
        if found is None:
            numbers.append("0")
        else:
            numbers.append(f"(SELECT COUNT(*) FROM ({found[0]}) counted)")  # noqa: S608 - Django's
            params += found[1]
    prefix, made = sets.prefix()
    vendor = connections[database_alias()].vendor
    array = "jsonb_build_array" if vendor == "postgresql" else "json_array"
    return f"{prefix}SELECT {array}({', '.join(numbers)})", (*made, *params)


def _stragglers(user: AnyUser, tab: Tab) -> QuerySet[HumanTask]:
    """Return what a tab was asked shortly before ``SINCE``, whether it still waits or not."""
    asked = _all_of(user, tab).filter(created_at__gt=SINCE - NEWS_WINDOW_MS, created_at__lte=SINCE)
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
    """Read the cards of a tab that follow a cursor. One query, and five more for votes on them."""
    if tab is Tab.DONE:
        return _read_done(user, now, filters, after, limit)
    at = after.at if after else now
    selection = _selection(Sight.of(user), tab, now, filters)
    found = read_in_order(selection, now, at, limit + 1, after)
    shown = found[:limit]
    more = Cursor.after(shown[-1], at).encode() if len(found) > limit else ""
    before = after.bucket if after else None
    return Page(list(_cards(shown, user, now, at, before)), more)


def _selection(sight: Sight, tab: Tab, now: int, filters: Filters) -> Selection | None:
    if filters:
        return _make_selection(sight, tab, now, filters)
    return _kept_selection(sight, tab)


@lru_cache(maxsize=KEPT_STATEMENTS)
def _kept_selection(sight: Sight, tab: Tab) -> Selection | None:
    return _make_selection(sight, tab, NOW, NO_FILTERS)


def _make_selection(sight: Sight, tab: Tab, now: Moment, filters: Filters) -> Selection | None:
    sets = SharedSets()
    return Selection.of(_listed(open_tasks(sight.user, tab, now, filters, sets)), sets)


def _read_done(user: AnyUser, now: int, filters: Filters, after: Cursor | None, limit: int) -> Page:
    tasks = done_tasks(user).filter(filters.condition(now)).order_by("-settled_at", "-pk")
    if after is not None:
        tasks = tasks.filter(
            Q(settled_at__lte=after.at) & (Q(settled_at__lt=after.at) | Q(pk__lt=after.id))
        )
    found = list(with_outcome(_listed(tasks))[: limit + 1])
    shown = found[:limit]
    more = ""
    if len(found) > limit:
        more = Cursor(shown[-1].settled_at or 0, 0, 0, 0, 0, shown[-1].pk).encode()
    cards = [done_card(task, user, now) for task in shown]
    return Page(cards, more)


def done_tasks(user: AnyUser) -> QuerySet[HumanTask]:
    """Return what is over and was a person's to answer, or was answered by them."""
    answered = [decisions().filter(actor=user.pk).values("target")]
    tasks = ever_put_to(user, also=answered if may_settle_any(user) else ())
    return tasks.filter(settled_at__isnull=False)


def settled_since(user: AnyUser, now: int, since: int) -> list[Card]:
    """Return what ended after a page was made, newest first."""
    tasks = visible_to(user).filter(settled_at__gt=since - NEWS_WINDOW_MS)
    found = with_outcome(_listed(tasks)).order_by("-settled_at", "-pk")[:PAGE_SIZE]
    return [done_card(task, user, now) for task in found]


def next_task(
    user: AnyUser, now: int, after: HumanTask, shown: Shown = TO_ANSWER
) -> HumanTask | None:
    """Return the question that follows one in a list and is left to answer, or else the first.

    Not those that others answer first, of which some are looked through.
    """
    sets = SharedSets()
    tasks = answerable(user, now, *shown.to_go_through, sets)
    selection = Selection.of(_listed(tasks).exclude(pk=after.pk), sets)
    place = Cursor.after(after, now)
    for start in (place, None):
        found = read_in_order(selection, now, now, NEXT_LIMIT, start)
        waiting = not_in_turn(found, user, now)
        if left := [one for one in found if one.pk not in waiting]:
            return left[0]
    return None


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


def _listed(tasks: QuerySet[HumanTask]) -> QuerySet[HumanTask]:
    return tasks.defer("question", "origin").fetch_mode(models.FETCH_RAISE)


def _cards(
    tasks: Sequence[HumanTask], user: AnyUser, now: int, at: int, before: Bucket | None
) -> Iterator[Card]:
    standings = _standings(tasks, user, now)
    holders = _holders_of(tasks, user)
    for task in tasks:
        bucket = bucket_of(task.due_at, at, waits=waits_at(task, at))
        standing = standings.get(task.pk)
        wait = None if standing is None else standing.wait
        yield Card(
            task,
            bucket,
            facts_on_card(task),
            _names_on_card(task, user),
            opens_bucket=bucket is not before,
            progress=None if standing is None else standing.progress,
            turn="" if wait is None else turns.in_list(wait, now),
            holder=holders.get(task.claimed_by_id, ""),
            due=due_of(task, now),
            asks_reader=waits_at(task, now) and task.started_by == starter_of(user),
        )
        before = bucket


def not_in_turn(tasks: Iterable[HumanTask], user: AnyUser, now: int) -> set[str]:
    """Return the ids of those of some questions that others answer before the user."""
    found = _standings(tasks, user, now)
    return {pk for pk, standing in found.items() if standing.wait is not None}


def _standings(tasks: Iterable[HumanTask], user: AnyUser, now: int) -> Mapping[str, Standing]:
    """Return how far those are that several answer. Five queries if there are any."""
    asked = [one for one in tasks if one.description.get("policy")]
    return standing_of_each(asked, user, now)  # type: ignore[arg-type]


def _holders_of(tasks: Sequence[HumanTask], user: AnyUser) -> dict[Any, str | LazyText]:
    """Return what those are called who have taken some of these on; a query if there are others."""
    keys = {task.claimed_by_id for task in tasks} - {None, user.pk}
    users: QuerySet[Any] = get_user_model()._default_manager.using(database_alias())
    others = users.filter(pk__in=keys) if keys else ()
    names: dict[Any, str | LazyText] = {one.pk: name_of(one) for one in others}
    return {user.pk: _("you"), **names}


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
