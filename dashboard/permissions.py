"""Who may see and answer which question: every page and act starts from ``visible_to``."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum, auto
from functools import reduce
from operator import or_
from typing import Any, Self

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser, Group
from django.db.models import Exists, OuterRef, Q, QuerySet, TextField, Value
from django.db.models.functions import Coalesce

from dashboard.delegations import active_delegations
from dashboard.models import Decider, Delegation, HumanTask
from dashboard.people import starter_of
from dashboard.shared_sets import SharedSets
from dashboard.statements import Moment
from durable.conf import database_alias
from durable.models import Promise
from durable.protocol.states import PromiseState

VIEW_EXECUTIONS = "signoff.view_executions"
SETTLE_ANY = "signoff.settle_any"
CANCEL_EXECUTIONS = "signoff.cancel_executions"
OVERRIDE_SEPARATION = "signoff.override_separation"
MANAGE_TASKS = "signoff.manage_tasks"
MAKE_LINKS = "signoff.make_links"
MANAGE_WEBHOOKS = "signoff.manage_webhooks"
MANAGE_DELEGATIONS = "signoff.manage_delegations"
REVEAL_SECRETS = "signoff.reveal_secrets"
DESCRIBE_TASKS = "signoff.describe_tasks"
VIEW_AUDIT = "signoff.view_auditentry"

type AnyUser = AbstractBaseUser | AnonymousUser


def has(user: AnyUser, permission: str) -> bool:
    """Whether somebody who is active has a permission."""
    return user.is_active and bool(getattr(user, "has_perm", lambda _: False)(permission))


def may_settle_any(user: AnyUser) -> bool:
    """Whether the user may answer whatever waits, for whomever."""
    return has(user, SETTLE_ANY)


class By(Enum):
    """How a question names somebody."""

    NAME = auto()
    GROUP = auto()
    ANY = auto()


@dataclass(frozen=True, slots=True)
class Sight:
    """All that decides what somebody sees: the statements of equal ones are the same."""

    key: Any
    name: str
    is_active: bool
    settles_any: bool
    permissions: frozenset[str]
    delegations: tuple[tuple[Any, Any, str], ...]
    user: AnyUser = field(compare=False, repr=False)

    @classmethod
    def of(cls, user: AnyUser) -> Self:
        """Return that of a user as it is now."""
        permissions: set[str] = getattr(user, "get_all_permissions", set)()
        active = active_delegations(user)
        return cls(
            user.pk,
            user.get_username(),
            user.is_authenticated and user.is_active,
            may_settle_any(user),
            frozenset(permissions),
            tuple((one.principal_id, one.group_id, one.task_type) for one in active),
            user,
        )


def visible_to(
    user: AnyUser,
    *,
    by: By | None = None,
    only_open: bool = False,
    sets: SharedSets | None = None,
) -> QuerySet[HumanTask]:
    """Return the questions that a user may see, and answer while they are open.

    ``by`` leaves those that name the user in this way, of which those who may settle any see more.
    ``only_open`` may be given by those who go on to ask for open ones: it decides nothing, but lets
    the indexes leave the history out. With ``sets`` the statement needs what these have made.
    """
    tasks = HumanTask.objects.using(database_alias())
    if not (user.is_authenticated and user.is_active):
        return tasks.none()
    if by is None and may_settle_any(user):
        return tasks
    named = names(user, by or By.ANY, only_open=only_open, sets=sets)
    # Whoever asked may see what became of it; to answer it takes more, see ``dashboard.rights``.
    return tasks.filter(named | Q(started_by=starter_of(user)) if by is None else named)


def names(
    user: AnyUser, by: By = By.ANY, *, only_open: bool = False, sets: SharedSets | None = None
) -> Q:
    """Match questions that name the user."""
    if only_open:
        # A set for each, made once from its own index and looked up in the order of the list.
        if sets is None:
            return reduce(or_, (Q(pk__in=ids) for ids in _sets(user, by)))
        parts = [By.NAME, By.GROUP] if by is By.ANY else [by]
        found = [ids for part in parts for ids in _shared(user, part, sets)]
        return reduce(or_, (Q(pk__in=ids) for ids in found), Q(pk__in=()))
    ways = _ways(user, by)
    return Q(Exists(Decider.objects.filter(reduce(or_, ways), task=OuterRef("pk"))))


def _sets(user: AnyUser, by: By) -> list[QuerySet[Any]]:
    open_ones = Decider.objects.filter(is_open=True)
    return [open_ones.filter(way).values("task") for way in _ways(user, by)]


def _shared(user: AnyUser, by: By, sets: SharedSets) -> list[Any]:
    return sets.share(f"named_by_{by.name.lower()}", lambda: _sets(user, by))


def ever_put_to(user: AnyUser, *, also: Iterable[QuerySet[Any, Any]] = ()) -> QuerySet[HumanTask]:
    """Return those of what is visible that ever named a user, for lists with an order of their own.

    ``also`` are ids that those who may settle any find among them.
    """
    tasks = HumanTask.objects.using(database_alias())
    if not (user.is_authenticated and user.is_active):
        return tasks.none()
    named = [Decider.objects.filter(way).values("task") for way in _ways(user, By.ANY)]
    # Sets, since PostgreSQL would read everybody's names for an "or" of anything else, and for a
    # join all that a group was ever asked; looked up by a key without an index, since SQLite would
    # begin with them and sort what it finds.
    key = Coalesce("pk", Value(""), output_field=TextField())
    is_theirs = reduce(or_, (Q(key__in=ids) for ids in (*named, *also)))
    return tasks.alias(key=key).filter(is_theirs)


def names_nobody() -> Q:
    """Match questions that reach nobody by name: for those who may settle any."""
    return Q(is_unassigned=True)


def is_open(now: Moment) -> Q:
    """Match questions that still wait at ``now``.

    The promise decides. ``settled_at`` of the task only lets an index leave most of the others out.
    """
    # Not a join: SQLite would begin with all that is pending and sort what it finds.
    waiting = Promise.objects.filter(
        pk=OuterRef("pk"), state=PromiseState.PENDING, timeout_at__gt=now
    )
    return Q(Exists(waiting), settled_at__isnull=True)


def own_ways(user: AnyUser) -> Q:
    """Match the deciders that are the user, in person or by group or permission."""
    return reduce(or_, _own_ways(user, By.ANY))


def ways_in_place_of(delegation: Delegation) -> Q:
    """Match the deciders that are whom somebody stands in for, as far as that goes."""
    return reduce(or_, _ways_in_place_of(delegation, By.ANY))


def held_for(user: AnyUser) -> Q:
    """Match what the user has taken on, or somebody for whom they answer it."""
    held = Q(claimed_by=user.pk)
    for one in active_delegations(user):
        in_place = Decider.objects.filter(ways_in_place_of(one), task=OuterRef("pk"))
        held |= Q(Exists(in_place), claimed_by=one.principal_id)
    return held


def delegations_to_end(user: AnyUser) -> QuerySet[Delegation]:
    """Return the delegations that a user may end: their own, or with the right anybody's."""
    found = Delegation.objects.using(database_alias())
    return found if has(user, MANAGE_DELEGATIONS) else found.filter(principal=user.pk)


def _ways(user: AnyUser, by: By) -> list[Q]:
    ways = _own_ways(user, by)
    for one in active_delegations(user):
        ways += _ways_in_place_of(one, by)
    return ways


def _own_ways(user: AnyUser, by: By) -> list[Q]:
    ways = []
    if by is not By.GROUP:
        name = user.get_username()
        ways += [Q(user=user.pk), Q(kind=Decider.Kind.USER, name=name, is_unknown=True)]
    if by is not By.NAME:
        names_of_groups = Group.objects.filter(user=user.pk).values("name")
        unknown = Q(kind=Decider.Kind.GROUP, name__in=names_of_groups, is_unknown=True)
        ways += [Q(group__user=user.pk), unknown]
        permissions: set[str] = getattr(user, "get_all_permissions", set)()
        if permissions:
            ways.append(
                Q(kind=Decider.Kind.PERMISSION, name__in=sorted(permissions), is_unknown=True)
            )
    return ways


def _ways_in_place_of(delegation: Delegation, by: By) -> list[Q]:
    ways = []
    if by is not By.GROUP and delegation.group_id is None:
        ways.append(Q(user=delegation.principal_id))
    if by is not By.NAME:
        of_groups = Q(group__user=delegation.principal_id)
        if delegation.group_id is not None:
            of_groups &= Q(group=delegation.group_id)
        ways.append(of_groups)
    if delegation.task_type:
        ways = [way & Q(task__type=delegation.task_type) for way in ways]
    return ways
