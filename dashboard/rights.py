"""Whether somebody may answer a question that they see, and for whom the answer counts."""

from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

from django.contrib.auth import get_backends, get_user_model
from django.contrib.auth.models import AbstractBaseUser
from django.db.models import Q
from django.utils.functional import Promise as LazyText
from django.utils.translation import gettext_lazy as _

from dashboard import permissions
from dashboard.delegations import active_delegations, deputies_for
from dashboard.descriptions.answers import AnswerOption
from dashboard.held_answers import are_about_to_answer
from dashboard.models import ANSWERS, AuditEntry, Decider, Delegation, HumanTask
from dashboard.people import find_user, name_of, starter_id
from durable.conf import database_alias

type Sentence = str | LazyText

COUNTS_ONCE = _("You have answered this already for %(name)s: one person counts once.")
ANSWERED_THEMSELF = _("%(name)s has answered this themself.")
CHANGED = _("What this asks was changed meanwhile: read it again.")


NOT_KNOWN = _(
    "The description has a mistake, so nobody knows what a yes takes: it can only be rejected."
)
NOT_KNOWN_SO_WHY = _(
    "The description has a mistake, so nobody knows what a yes takes."
    " To give it all the same, say why."
)


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
    overrides: whether separation of duties has to be overridden, or a description's mistake.
    only_groups: of a deputy, the ids of the groups for which they take the place; None for all.
    """

    principal: AbstractBaseUser
    is_deputy: bool = False
    overrides: bool = False
    only_groups: frozenset[Any] | None = None


def capacity_of(task: HumanTask, user: AbstractBaseUser) -> Capacity:
    """Return how a user may answer a question; raises ``RefusedError`` when not at all."""
    return _capacity(task, user, minds_claim=True)


def could_answer(task: HumanTask, user: AbstractBaseUser) -> bool:
    """Whether a user may answer a question, or could if whoever has taken it on gave it back."""
    try:
        _capacity(task, user, minds_claim=False)
    except RefusedError:
        return False
    return True


def _capacity(task: HumanTask, user: AbstractBaseUser, *, minds_claim: bool) -> Capacity:
    allowed: list[Capacity] = []
    refusals: list[RefusedError] = []
    for place in _places(task, user):
        try:
            allowed.append(_checked(task, user, place, minds_claim=minds_claim))
        except RefusedError as error:
            refusals.append(error)
    if allowed:
        return min(allowed, key=lambda one: one.overrides)
    if refusals:
        raise refusals[0]
    raise RefusedError(_("You may read this, but it is for others to answer."))


def is_unclear(task: HumanTask, option: AnswerOption) -> bool:
    """Whether nobody knows what an answer takes, since the description cannot be read.

    It may have asked for several people, or to be confirmed. A no does no harm.
    """
    return bool(task.mistake) and option.settles == "resolve"


def may_choose(task: HumanTask, option: AnswerOption, user: permissions.AnyUser) -> bool:
    """Whether an answer is for somebody who may answer the question."""
    return not is_unclear(task, option) or permissions.has(user, permissions.OVERRIDE_SEPARATION)


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


def deputies_of(task: HumanTask, people: Collection[AbstractBaseUser]) -> list[AbstractBaseUser]:
    """Return the active people who may answer in the place of these now, sorted by name."""
    known = {one.pk for one in people}
    found: dict[object, AbstractBaseUser] = {}
    for deputy in deputies_for(known):
        places = [one for one in _places(task, deputy) if one.is_deputy]
        principals = {one.principal.pk for one in places} & known
        if deputy.pk in known:
            continue
        if any(not _conflict(task, {deputy.pk, one}) for one in principals):
            found[deputy.pk] = deputy
    return sorted(found.values(), key=lambda one: one.get_username())


def stands_in_for(task: HumanTask, user: AbstractBaseUser) -> AbstractBaseUser | None:
    """Return whose place a user takes; None when they answer for themself, or not at all."""
    place = next(iter(_places(task, user)), None)
    return place.principal if place is not None and place.is_deputy else None


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


def _places(task: HumanTask, user: AbstractBaseUser) -> list[Capacity]:
    """Return whom the user may answer for: themself, if named, else those they stand in for.

    Whoever is named stands in as well for who has taken the question on.
    """
    deciders = Decider.objects.using(database_alias()).filter(task=task.pk)
    is_named = deciders.filter(permissions.own_ways(user)).exists()
    found = [
        one
        for one in active_delegations(user)
        if (not is_named or one.principal_id == task.claimed_by_id)
        and deciders.filter(permissions.ways_in_place_of(one)).exists()
    ]
    principals = {one.principal_id: one.principal for one in found}
    places = [_in_place_of(principal, found) for principal in principals.values()]
    if is_named or (not places and permissions.may_settle_any(user)):
        return [Capacity(user), *places]
    return places


def _in_place_of(principal: AbstractBaseUser, delegations: Collection[Delegation]) -> Capacity:
    groups = frozenset(one.group_id for one in delegations if one.principal_id == principal.pk)
    return Capacity(principal, is_deputy=True, only_groups=None if None in groups else groups)


def _checked(
    task: HumanTask, user: AbstractBaseUser, place: Capacity, *, minds_claim: bool
) -> Capacity:
    """Return a place that may be taken, and how; raises ``RefusedError``."""
    people = {user.pk, place.principal.pk}
    if minds_claim:
        _check_claim(task, people)
    sentence = _conflict(task, people)
    if sentence and not permissions.has(user, permissions.OVERRIDE_SEPARATION):
        raise RefusedError(sentence)
    return place._replace(overrides=bool(sentence))


def _check_claim(task: HumanTask, people: Collection[object]) -> None:
    if task.claimed_by_id is None or task.claimed_by_id in people:
        return
    holder = find_user(task.claimed_by_id)
    if holder is not None and holder.is_active and could_answer(task, holder):
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
    if separation.others and _have_answered(separation.others, people):
        return _("You answered an earlier step of this: it takes another person here.")
    return None


def _have_answered(ids: Collection[str], people: Collection[Any]) -> bool:
    """Whether any of these people have answered one of these questions, or are about to."""
    said = AuditEntry.objects.using(database_alias()).filter(
        Q(actor__in=people) | Q(on_behalf_of__in=people),
        target__in=ids,
        action__in=ANSWERS,
        is_effective=True,
    )
    return said.exists() or are_about_to_answer(ids, people)
