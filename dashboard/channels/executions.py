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
from durable.clock import now_ms

# The messages themselves say when to give up.
_RETRY = durable.Exponential(delay=2, factor=3, max_delay=900, max_attempts=None)
_DIGEST = 20


@durable.function(name="signoff.announce", retry=_RETRY)
def announce(
    promise_id: str,
    event: str = MessageEvent.ASKED,
    occasion: str = "",
    people: dict[str, list[str]] | None = None,
) -> int:
    """Tell people of a question."""
    return announcing.announce(promise_id, event, occasion, people)


@durable.function(name="signoff.conclude", retry=_RETRY)
def conclude(promise_id: str) -> int:
    """Tell people how a question ended."""
    return announcing.conclude(promise_id)


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


def tell_of_hand_over(task: HumanTask, user: AbstractBaseUser) -> None:
    """Start to tell somebody that a question is theirs now, in the caller's transaction."""
    people = {"users": [user.get_username()]}
    begin_telling(task, MessageEvent.ASSIGNED, f"{user.pk}@{now_ms()}", people)


def _start(execution_id: str, function: Callable[..., int], *args: Any) -> None:
    durable.options(target=group()).start(execution_id, function, *args)


def _id(act: str, *parts: object) -> str:
    """Return the id of an execution: the same for the same event of the same question."""
    digest = sha256("\0".join(map(str, parts)).encode()).hexdigest()
    return f"signoff.{act}.{digest[:_DIGEST]}"
