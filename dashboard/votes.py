"""Answers to questions that need more than one person: kept as votes until the policy decides."""

from collections.abc import Collection, Mapping
from typing import Any

from django.contrib.auth.models import AbstractBaseUser
from django.db.models import Q

from dashboard.answering import Answer
from dashboard.descriptions.answers import DEFAULT, AnswerOption
from dashboard.descriptions.policy import Progress
from dashboard.locks import hold_names
from dashboard.models import HumanTask, Vote
from dashboard.people import name_of
from dashboard.rights import Capacity
from durable.clock import now_ms
from durable.conf import database_alias


def lock_questions(ids: Collection[str]) -> None:
    """Let no person answer these questions, nor say anew what they ask; until the transaction ends.

    All that a transaction needs at once, so that two never wait for each other. No rows: whoever
    settles a promise in another way holds the engine's lock, and then writes them.
    """
    hold_names(f"signoff vote {promise_id}" for promise_id in ids)


def cast(
    task: HumanTask,
    option: AnswerOption,
    answer: Answer,
    user: AbstractBaseUser,
    capacity: Capacity,
) -> None:
    """Note what a person says, in place of what they said before."""
    principal, is_deputy = capacity.principal, capacity.is_deputy
    only_groups = None if capacity.only_groups is None else sorted(capacity.only_groups)
    Vote.objects.using(database_alias()).update_or_create(
        task=task,
        user_id=principal.pk,
        defaults={
            "user_name": name_of(principal),
            "cast_by_id": user.pk if is_deputy else None,
            "cast_by_name": name_of(user) if is_deputy else "",
            "only_groups": only_groups,
            "answer": option.name,
            "approves": option.approves,
            "comment": answer.comment,
            "values": dict(answer.values),
            "voted_at": now_ms(),
        },
    )


def is_kept_up(vote: Vote) -> bool:
    """Whether a vote counts as far as people go: whose it is and who gave it may still sign in."""
    deputy = vote.cast_by
    is_own = not vote.cast_by_name
    return vote.user.is_active and (is_own or (deputy is not None and deputy.is_active))


def has_voted_themself(task: HumanTask, user: AbstractBaseUser) -> bool:
    """Whether somebody has answered in person, which a deputy for a part of it leaves alone."""
    votes = Vote.objects.using(database_alias())
    return votes.filter(task=task, user=user.pk, cast_by_name="").exists()


def vote_in_another_place(
    task: HumanTask, user: AbstractBaseUser, principal: AbstractBaseUser
) -> Vote | None:
    """Return what somebody has said already for somebody else than ``principal``."""
    said = Q(cast_by=user.pk) | Q(user=user.pk, cast_by_name="")
    votes = Vote.objects.using(database_alias()).filter(said, task=task)
    return votes.exclude(user=principal.pk).select_related("user").first()


def unlike(task: HumanTask, values: Mapping[str, Any], principal: AbstractBaseUser) -> Vote | None:
    """Return a yes of somebody else that is one to other values than these."""
    votes = Vote.objects.using(database_alias()).filter(task=task, approves=True)
    others = votes.exclude(user=principal.pk).select_related("user", "cast_by")
    unlike = (one for one in others.order_by("voted_at", "pk") if one.values != dict(values))
    return next(filter(is_kept_up, unlike), None)


def decided_by(task: HumanTask, progress: Progress, *, approves: bool) -> tuple[AnswerOption, Any]:
    """Return the answer and the values that a policy's verdict gives: those of its newest vote."""
    people: set[Any] = {
        ballot.user_id
        for line in progress.requirements
        for ballot in (line.filled_by if approves else line.rejected_by)
    }
    votes = Vote.objects.using(database_alias()).filter(task=task, approves=approves)
    newest = votes.filter(user__in=people).order_by("-voted_at", "-pk").first()
    known = {one.name: one for one in task.options}
    if newest is not None and newest.answer in known:
        return known[newest.answer], newest.values
    options = (*task.options, *DEFAULT)
    return next(one for one in options if one.approves is approves), {}


def ballots_as_json(task: HumanTask) -> list[dict[str, Any]]:
    """Return who said what, as the workflow gets to know it."""
    votes = Vote.objects.using(database_alias()).filter(task=task).order_by("voted_at", "pk")
    return [
        {"by": one.user.get_username(), "answer": one.answer, "comment": one.comment}
        for one in votes.select_related("user")
    ]
