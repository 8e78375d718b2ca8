"""Answers to questions that need more than one person: kept as votes until the policy decides."""

from typing import Any

from django.contrib.auth.models import AbstractBaseUser
from django.db import connections

from dashboard.answering import Answer
from dashboard.descriptions.answers import DEFAULT, AnswerOption
from dashboard.models import HumanTask, Vote
from dashboard.people import name_of
from dashboard.rights import Capacity
from durable.clock import now_ms
from durable.conf import database_alias

_LOCK = "select pg_advisory_xact_lock(hashtextextended('signoff vote ' || %s, 0))"


def lock_votes(task: HumanTask) -> None:
    """Let one vote on a question be counted at a time; until the end of the transaction.

    Not the question's own row: whoever settles a promise holds its lock, and writes that row.
    """
    connection = connections[database_alias()]
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(_LOCK, [task.pk])


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


def has_voted_themself(task: HumanTask, user: AbstractBaseUser) -> bool:
    """Whether somebody has answered in person, which a deputy for a part of it leaves alone."""
    votes = Vote.objects.using(database_alias())
    return votes.filter(task=task, user=user.pk, cast_by__isnull=True).exists()


def deciding_option(task: HumanTask, *, approves: bool) -> AnswerOption:
    """Return the answer that a policy's verdict gives: the first that says so."""
    for option in task.options:
        if option.approves is approves:
            return option
    return next(option for option in DEFAULT if option.approves is approves)


def ballots_as_json(task: HumanTask) -> list[dict[str, Any]]:
    """Return who said what, as the workflow gets to know it."""
    votes = Vote.objects.using(database_alias()).filter(task=task).order_by("voted_at", "pk")
    return [
        {"by": one.user.get_username(), "answer": one.answer, "comment": one.comment}
        for one in votes.select_related("user")
    ]
