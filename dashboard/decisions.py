"""Settles a question with a person's answer: right, settlement and audit row in one transaction."""

import datetime as dt
import hashlib
import ipaddress
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

import msgspec
from django.contrib.auth.models import AbstractBaseUser
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest

from dashboard.models import Action, AuditEntry, SignIn
from dashboard.permissions import visible_to
from durable import promises
from durable.clock import now_ms
from durable.conf import database_alias
from durable.exceptions import PromiseNotFoundError
from durable.protocol.records import PromiseRecord
from durable.protocol.states import PromiseState

MAX_USER_AGENT = 300


class NoSuchQuestionError(LookupError):
    """There is no such question, or not for this person; which of the two is nobody's business."""


class Verdict(StrEnum):
    """What became of an answer."""

    SETTLED = "settled"
    REPEATED = "repeated"
    LATE = "late"


@dataclass(frozen=True, slots=True)
class Actor:
    """A person, and where a request of theirs came from."""

    user: AbstractBaseUser
    sign_in: SignIn = SignIn.SESSION
    ip: str | None = None
    user_agent: str = ""

    @classmethod
    def of(cls, request: HttpRequest) -> Self:
        """Return who sent a request of a signed-in session."""
        user = request.user
        if not user.is_authenticated:
            raise PermissionDenied
        return cls(
            user=user,
            ip=_ip_address(request.META.get("REMOTE_ADDR", "")),
            user_agent=request.headers.get("User-Agent", "").replace("\0", "")[:MAX_USER_AGENT],
        )

    @property
    def username(self) -> str:
        """What the workflow gets to know of the person."""
        return self.user.get_username()

    @property
    def name(self) -> str:
        """What people call the person."""
        return name_of(self.user)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a person chose. ``given`` stands in for the usual value; only for undescribed waits.

    ``request_key`` is made with the form, so that a double click or a retry is the same answer.
    """

    action: Action
    comment: str = ""
    request_key: str = ""
    given: Any = msgspec.UNSET


def decide(promise_id: str, actor: Actor, answer: Answer) -> Verdict:
    """Answer a question in the name of a person.

    Raises ``NoSuchQuestionError`` for those who may not see it.
    """
    using = database_alias()
    with transaction.atomic(using=using):
        if not visible_to(actor.user).filter(pk=promise_id).exists():
            raise NoSuchQuestionError(promise_id)
        if _was_settled_by(promise_id, actor, answer):
            return Verdict.REPEATED
        value = value_of(answer, actor.username)
        try:
            settlement = _settle(promise_id, answer.action, value)
        except PromiseNotFoundError:
            raise NoSuchQuestionError(promise_id) from None
        if not settlement.applied and _was_settled_by(promise_id, actor, answer):
            # The same click, sent twice at once: the other request held the lock.
            return Verdict.REPEATED
        _record(settlement.promise, actor, answer, value, is_effective=settlement.applied)
    return Verdict.SETTLED if settlement.applied else Verdict.LATE


def value_of(answer: Answer, username: str) -> Any:
    """Return what is written: the decision, and for a rejection an error that any SDK can raise."""
    is_approved = answer.action is Action.APPROVE
    if is_approved and answer.given is not msgspec.UNSET:
        return answer.given
    decision = {
        "approved": is_approved,
        "answer": answer.action.value,
        "values": {},
        "comment": answer.comment,
        "by": username,
    }
    if is_approved:
        return decision
    message = answer.comment or f"rejected by {username}"
    return {"__type": "error", "name": "Rejected", "message": message, **decision}


def name_of(user: AbstractBaseUser) -> str:
    """Return what people call a user: the full name, or else the user name."""
    full_name = getattr(user, "get_full_name", str)()
    return full_name or user.get_username()


def _settle(promise_id: str, action: Action, value: Any) -> promises.Settlement:
    if action is Action.APPROVE:
        return promises.resolve(promise_id, value)
    return promises.reject(promise_id, value["message"], value)


def _was_settled_by(promise_id: str, actor: Actor, answer: Answer) -> bool:
    if not answer.request_key:
        return False
    return AuditEntry.objects.filter(
        target=promise_id,
        actor=actor.user.pk,
        action=answer.action,
        request_key=answer.request_key,
        is_effective=True,
    ).exists()


def _record(
    promise: PromiseRecord, actor: Actor, answer: Answer, value: Any, *, is_effective: bool
) -> None:
    entry = AuditEntry(
        at=dt.datetime.fromtimestamp(now_ms() / 1000, tz=dt.UTC),
        actor_id=actor.user.pk,
        actor_name=actor.name,
        sign_in=actor.sign_in,
        ip=actor.ip,
        user_agent=actor.user_agent,
        action=answer.action,
        target=promise.id,
        reason=answer.comment,
        is_effective=is_effective,
        state_before=PromiseState.PENDING if is_effective else promise.state,
        state_after=promise.state,
        payload_hash=hashlib.sha256(msgspec.json.encode(value)).hexdigest(),
        request_key=answer.request_key,
    )
    # The same late click twice is one row; the row of a settlement must never be missing.
    AuditEntry.objects.using(database_alias()).bulk_create(
        [entry], ignore_conflicts=not is_effective
    )


def _ip_address(text: str) -> str | None:
    try:
        return str(ipaddress.ip_address(text.partition("%")[0]))
    except ValueError:
        return None
