"""The executions that send messages, and what starts them.

They are started in the transaction that asks or ends a question, and run by any worker: nothing is
sent in a request, nothing is forgotten.
"""

from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from typing import Any

from django.contrib.auth.models import AbstractBaseUser

import durable
from dashboard.attendance import group
from dashboard.channels import announcing
from dashboard.channels.base import is_any_configured
from dashboard.models import HumanTask, Message, MessageEvent
from dashboard.policies import next_opening
from durable.clock import now_ms
from durable.conf import database_alias

OPENING = "signoff.opening"
# The messages themselves say when to give up.
_RETRY = durable.Exponential(delay=2, factor=3, max_delay=900, max_attempts=None)
_DIGEST = 20


@durable.function(name="signoff.announce", retry=_RETRY)
def announce(
    ctx: durable.Context,
    promise_id: str,
    event: str = MessageEvent.ASKED,
    occasion: str = "",
    people: dict[str, list[str]] | None = None,
) -> int:
    """Tell people of a question."""
    if event == MessageEvent.ASKED:
        _await_opening(promise_id)
    return announcing.announce(promise_id, event, occasion, people, sender=ctx.info.id)


@durable.function(name="signoff.conclude", retry=_RETRY)
def conclude(ctx: durable.Context, promise_id: str) -> int:
    """Tell people how a question ended."""
    return announcing.conclude(promise_id, sender=ctx.info.id)


def begin_announcing(ids: list[str], *, using: str) -> None:
    """Start to tell people of those questions that are open and described."""
    if not is_any_configured():
        return
    tasks = HumanTask.objects.using(using).filter(pk__in=ids, settled_at__isnull=True, problem="")
    for promise_id, asked_at in tasks.exclude(title="").values_list("pk", "created_at"):
        _start(_id("announce", promise_id, asked_at), announce, promise_id)


def begin_concluding(ids: list[str], *, using: str, again: int = 0) -> None:
    """Start to tell people of the ends of those questions that they were told of.

    ``again`` is another number when what was begun before has left somebody out.
    """
    if not is_any_configured():
        return
    told = Message.objects.using(using).filter(task__in=ids).order_by()
    for promise_id, asked_at in told.values_list("task", "asked_at").distinct():
        _start(_id("conclude", promise_id, asked_at, again), conclude, promise_id)


def begin_telling(
    task: HumanTask,
    event: MessageEvent,
    occasion: str,
    people: Mapping[str, Sequence[str]] | None = None,
) -> None:
    """Start to tell people of an event of an open question, in the caller's transaction, once.

    ``people`` as in ``announcing.announce``.
    """
    if is_any_configured():
        execution_id = _id("announce", task.pk, task.created_at, event, occasion)
        names = None if people is None else {kind: list(some) for kind, some in people.items()}
        _start(execution_id, announce, task.pk, event.value, occasion, names)


def tell_whose_turn(task: HumanTask, at: int) -> None:
    """Start to ask those whose turn it is since ``at``, in the caller's transaction.

    Whoever was asked before is not asked again.
    """
    if is_any_configured():
        _start(_id("announce", task.pk, task.created_at, "turn", at), announce, task.pk)


def tell_whose_turn_it_became(promise_id: str, asked_at: int, at: int) -> None:
    """Do that for a question whose part has opened at its time, if that still waits."""
    task = _find_open(promise_id)
    if task is not None and task.created_at == asked_at:
        tell_whose_turn(task, at)


def tell_of_hand_over(task: HumanTask, user: AbstractBaseUser) -> None:
    """Start to tell somebody that a question is theirs now, in the caller's transaction."""
    people = {"users": [user.get_username()]}
    begin_telling(task, MessageEvent.ASSIGNED, f"{user.pk}@{now_ms()}", people)


def _await_opening(promise_id: str) -> None:
    """Let an execution wait for the next part of a policy that opens at its time, if there is one.

    That one may be begun again and again: it is the same.
    """
    task = _find_open(promise_id)
    at = None if task is None else next_opening(task, now_ms())
    if task is not None and at is not None:
        execution_id = _id("opening", promise_id, task.created_at, at)
        _start(execution_id, OPENING, promise_id, task.created_at, at)


def _find_open(promise_id: str) -> HumanTask | None:
    tasks = HumanTask.objects.using(database_alias())
    return tasks.filter(pk=promise_id, settled_at__isnull=True).first()


def _start(execution_id: str, function: Callable[..., int] | str, *args: Any) -> None:
    durable.options(target=group()).start(execution_id, function, *args)


def _id(act: str, *parts: object) -> str:
    """Return the id of an execution: the same for the same event of the same question."""
    digest = sha256("\0".join(map(str, parts)).encode()).hexdigest()
    return f"signoff.{act}.{digest[:_DIGEST]}"
