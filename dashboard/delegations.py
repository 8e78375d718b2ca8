"""Standing in for others: who answers in whose place, and since when."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import Any

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser, Group
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Exists, Q, QuerySet
from django.utils.translation import gettext as _

from dashboard import auditing
from dashboard.answering import Actor
from dashboard.locks import hold_names
from dashboard.models import Action, Delegation, TargetKind
from durable.clock import now_ms
from durable.conf import database_alias

_MEMO = "_signoff_delegations"
"""On the user object, which lives as long as a request."""
_LOCK = "signoff delegations"
"""Held by whoever makes one, so that none is made that the check of another has not seen."""
_NOBODY: Sequence[Delegation] = []


def active_delegations(user: AbstractBaseUser | AnonymousUser) -> Sequence[Delegation]:
    """Return the delegations that make the user a deputy now. One query a user object.

    Only the person named stands in: a deputy's deputy has no part in it.
    """
    known: Sequence[Delegation] | None = user.__dict__.get(_MEMO)
    if known is None:
        mine = _active(now_ms()).filter(deputy=user.pk).order_by("pk")
        found = mine if user.pk is not None else ()
        known = [one for one in found if one.principal.is_active]
        user.__dict__[_MEMO] = known
    return known


def assume_none(user: AbstractBaseUser | AnonymousUser) -> bool:
    """Go on as if the user stood in for nobody, if that is not known yet; return whether so.

    Nearly nobody does. Who assumes it asks with ``is_deputy`` in the next query, and forgets the
    assumption when it was wrong: so it costs no query of its own.
    """
    return user.__dict__.setdefault(_MEMO, _NOBODY) is _NOBODY


def forget(user: AbstractBaseUser | AnonymousUser) -> None:
    """Look again at the next question."""
    user.__dict__.pop(_MEMO, None)


def is_deputy(user: AbstractBaseUser | AnonymousUser) -> Exists:
    """Whether the user stands in for somebody now, as a part of a query."""
    return Exists(_active(now_ms()).filter(deputy=user.pk))


def deputies_for(principals: Collection[object]) -> list[AbstractBaseUser]:
    """Return the active people who stand in for any of these now, for whatever it is."""
    found = _active(now_ms()).filter(principal__in=principals).select_related("deputy")
    return [one.deputy for one in found if one.deputy.is_active]


def delegations_of(user: AbstractBaseUser) -> QuerySet[Delegation]:
    """Return what a user gave away or took on that is not over, the newest first."""
    return (
        Delegation.objects.using(database_alias())
        .filter(Q(principal=user.pk) | Q(deputy=user.pk))
        .filter(revoked_at__isnull=True, ends_at__gt=now_ms())
        .select_related("principal", "deputy", "group")
        .order_by("-starts_at", "-pk")
    )


def delegate(
    actor: Actor,
    deputy: AbstractBaseUser,
    *,
    starts_at: int,
    ends_at: int,
    group: Group | None = None,
    task_type: str = "",
) -> Delegation:
    """Let another answer in the actor's place from ``starts_at`` until ``ends_at`` (epoch ms).

    Raises ``ValidationError`` when the deputy is not active, is the same person, is away then while
    those who stand in for them lead back to the principal, or when the time is not a time to come.
    """
    now, principal = now_ms(), actor.user
    if not deputy.is_active:
        raise ValidationError(_("This person can no longer sign in."))
    if deputy.pk == principal.pk:
        raise ValidationError(_("Choose somebody else than yourself."))
    if ends_at <= starts_at or ends_at <= now:
        raise ValidationError(_("The end must come after the beginning, and after now."))
    if group is not None and not Group.objects.filter(pk=group.pk, user=principal.pk).exists():
        raise ValidationError(_("You are not a member of this group."))
    with transaction.atomic(using=database_alias()):
        hold_names([_LOCK])
        _check_no_circle(principal, deputy, starts_at, ends_at)
        made = Delegation.objects.using(database_alias()).create(
            principal_id=principal.pk,
            deputy_id=deputy.pk,
            starts_at=starts_at,
            ends_at=ends_at,
            group=group,
            task_type=task_type,
            made_at=now,
        )
        details = {"deputy": deputy.get_username(), "from": starts_at, "until": ends_at}
        auditing.record(
            Action.DELEGATE, str(made.pk), actor, kind=TargetKind.DELEGATION, details=details
        )
    return made


def _check_no_circle(
    principal: AbstractBaseUser, deputy: AbstractBaseUser, starts_at: int, ends_at: int
) -> None:
    """Refuse a deputy whose own deputies lead back, all at one time; raises ``ValidationError``.

    For whatever groups or types these stand in: who is away is asked nothing.
    """
    others = Delegation.objects.using(database_alias()).filter(
        revoked_at__isnull=True, starts_at__lt=ends_at, ends_at__gt=starts_at
    )
    onward = defaultdict(list)
    for one in others:
        onward[one.principal_id].append(one)
    if any(one.deputy_id == principal.pk for one in onward[deputy.pk]):
        raise ValidationError(_("This person is away then, and has chosen you as deputy."))
    waiting = [(deputy.pk, starts_at, ends_at)]
    seen = set(waiting)
    while waiting:
        person, begins, ends = waiting.pop()
        for one in onward[person]:
            step = (one.deputy_id, max(begins, one.starts_at), min(ends, one.ends_at))
            if step[1] >= step[2] or step in seen:
                continue
            if one.deputy_id == principal.pk:
                raise ValidationError(
                    _("This person is away then, and those who stand in for them lead back to you.")
                )
            seen.add(step)
            waiting.append(step)


def revoke(delegation: Delegation, actor: Actor) -> bool:
    """End a delegation now; return whether it had not been ended before."""
    found = Delegation.objects.using(database_alias()).filter(
        pk=delegation.pk, revoked_at__isnull=True
    )
    with transaction.atomic(using=database_alias()):
        if not found.update(revoked_at=now_ms()):
            return False
        auditing.record(
            Action.REVOKE,
            str(delegation.pk),
            actor,
            kind=TargetKind.DELEGATION,
            details={"principal": delegation.principal.get_username()},
        )
    return True


def _active(now: int) -> QuerySet[Any]:
    return (
        Delegation.objects.using(database_alias())
        .filter(revoked_at__isnull=True, starts_at__lte=now, ends_at__gt=now)
        .select_related("principal")
    )
