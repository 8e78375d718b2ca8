"""Whether somebody may answer a question that they see, and for whom the answer counts."""

from collections.abc import Collection, Iterator
from typing import NamedTuple

from django.contrib.auth import get_backends, get_user_model
from django.contrib.auth.models import AbstractBaseUser
from django.db.models import Q
from django.utils.functional import Promise as LazyText
from django.utils.translation import gettext_lazy as _

from dashboard import permissions
from dashboard.delegations import active_delegations
from dashboard.models import ANSWERS, AuditEntry, Decider, HumanTask
from dashboard.people import find_user, name_of, starter_id
from durable.conf import database_alias

type Sentence = str | LazyText


class RefusedError(Exception):
    """Somebody may see a question, but not answer it so; ``sentence`` says why, to them."""

    def __init__(self, sentence: Sentence) -> None:
        """``sentence`` is shown as it is."""
        super().__init__(str(sentence))
        self.sentence = sentence


class Capacity(NamedTuple):
    """How somebody answers.

    principal: whom the answer counts for.
    is_deputy: whether that is somebody else.
    overrides: whether separation of duties has to be overridden.
    """

    principal: AbstractBaseUser
    is_deputy: bool = False
    overrides: bool = False


def capacity_of(task: HumanTask, user: AbstractBaseUser) -> Capacity:
    """Return how a user may answer a question; raises ``RefusedError`` when not at all."""
    principal = _principal(task, user)
    if principal is None:
        raise RefusedError(_("You may read this, but it is for others to answer."))
    _check_claim(task, user)
    overrides = False
    if sentence := _conflict(task, {user.pk, principal.pk}):
        if not permissions.has(user, permissions.OVERRIDE_SEPARATION):
            raise RefusedError(sentence)
        overrides = True
    return Capacity(principal, principal.pk != user.pk, overrides)


def recipients_of(task: HumanTask) -> list[AbstractBaseUser]:
    """Return the active people who are named and may answer, sorted by name."""
    users = get_user_model()._default_manager.using(database_alias())
    named = Decider.objects.filter(task=task.pk)
    found = users.filter(
        Q(pk__in=named.filter(user__isnull=False).values("user"))
        | Q(groups__in=named.filter(group__isnull=False).values("group"))
    ).distinct()
    people = [*found, *_with_permissions(task, {one.pk for one in found})]
    allowed = [one for one in people if one.is_active]
    left = [one for one in allowed if not _conflict(task, {one.pk})]
    return sorted(left, key=lambda one: one.get_username())


def _with_permissions(task: HumanTask, known: Collection[object]) -> Iterator[AbstractBaseUser]:
    names = Decider.objects.using(database_alias()).filter(
        task=task.pk, kind=Decider.Kind.PERMISSION
    )
    backends = [one for one in get_backends() if hasattr(one, "with_perm")]
    seen = set(known)
    for name in names.values_list("name", flat=True):
        for backend in backends:
            for user in backend.with_perm(name, include_superusers=False):
                if user.pk not in seen:
                    seen.add(user.pk)
                    yield user


def _principal(task: HumanTask, user: AbstractBaseUser) -> AbstractBaseUser | None:
    """Return whom the user answers for: themself, if named, else whom they stand in for."""
    deciders = Decider.objects.using(database_alias()).filter(task=task.pk)
    if deciders.filter(permissions.own_ways(user)).exists():
        return user
    for one in active_delegations(user):
        if deciders.filter(permissions.ways_in_place_of(one)).exists():
            return one.principal
    return user if permissions.may_settle_any(user) else None


def _check_claim(task: HumanTask, user: AbstractBaseUser) -> None:
    if task.claimed_by_id in {None, user.pk}:
        return
    holder = find_user(task.claimed_by_id)
    if holder is not None and holder.is_active:
        raise RefusedError(
            _("%(name)s has taken this on. Ask them to release it, or take it over.")
            % {"name": name_of(holder)}
        )


def _conflict(task: HumanTask, people: Collection[object]) -> Sentence | None:
    """Say why separation of duties keeps these people from answering; None when it does not."""
    if task.described is None:
        return None
    separation = task.described.separation
    starter = starter_id(task.started_by)
    if separation.starter and starter is not None and starter in map(str, people):
        return _("Whoever asked for this may not answer it: it takes a second person.")
    others = separation.others
    if (
        others
        and AuditEntry.objects.using(database_alias())
        .filter(
            Q(actor__in=people) | Q(on_behalf_of__in=people),
            target__in=others,
            action__in=ANSWERS,
            is_effective=True,
        )
        .exists()
    ):
        return _("You answered an earlier step of this: it takes another person here.")
    return None
