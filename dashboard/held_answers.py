"""Reads the answers that can be taken back yet, or came to nothing."""

from collections.abc import Collection, Sequence
from typing import Any

from django.db.models import Q, QuerySet
from django.utils.functional import Promise as LazyText
from django.utils.translation import gettext_lazy as _

from dashboard import wording
from dashboard.models import HeldAnswer, HumanTask
from dashboard.people import name_of
from dashboard.permissions import AnyUser
from durable.conf import database_alias

type Text = str | LazyText

FOR = "for"
"""Where a deputy's answer keeps the key of whom it is for, as text, beside how they signed in."""


def held_by(task: HumanTask, user: AnyUser) -> HeldAnswer | None:
    """Return somebody's answer that is on its way, or came to nothing."""
    return rows().filter(task=task.pk, user=user.pk, held_at__gte=task.created_at).first()


def others_on_their_way(task: HumanTask, user: AnyUser) -> Sequence[Text]:
    """Say what others are about to answer."""
    held = waiting().filter(task=task.pk).exclude(user=user.pk).select_related("user")
    return [_about_to(task, one) for one in held.order_by("sends_at", "held_at")]


def are_about_to_answer(ids: Collection[str], people: Collection[Any]) -> bool:
    """Whether an answer to one of these questions is on its way, by one of these people or for one.

    They are given by their keys.
    """
    by_or_for = Q(user__in=people) | Q(**{f"actor__{FOR}__in": [str(one) for one in people]})
    return waiting().filter(by_or_for, task__in=ids).exists()


def is_on_its_way(held: HeldAnswer | None) -> bool:
    """Whether an answer can be taken back."""
    return held is not None and held.result == HeldAnswer.Result.WAITING


def rows(using: str | None = None) -> QuerySet[HeldAnswer]:
    """Return the rows, in the engine's database."""
    return HeldAnswer.objects.using(using or database_alias())


def waiting(using: str | None = None) -> QuerySet[HeldAnswer]:
    """Return those that have not been sent."""
    return rows(using).filter(result=HeldAnswer.Result.WAITING)


def _about_to(task: HumanTask, held: HeldAnswer) -> Text:
    option = next((one for one in task.options if one.name == held.answer), None)
    said = {"name": name_of(held.user), "answer": held.answer}
    if option is not None:
        said["answer"] = str(wording.label_of(option))
    return _("%(name)s is about to answer “%(answer)s”") % said
