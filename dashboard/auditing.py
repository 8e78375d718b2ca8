"""Writes the audit trail: a row for each act, and for each question that is over without one.

Whoever settles in somebody's name does it inside ``acting``, in a transaction. What is settled by
any other way gets its row from the receiver of the engine's signal, in the same transaction.
"""

import base64
import binascii
import datetime as dt
import hashlib
import ipaddress
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Self

import msgspec
from django.contrib.auth.models import AbstractBaseUser
from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils.text import Truncator

from dashboard.answering import Actor
from dashboard.models import ENDINGS, Action, AuditEntry, SignIn, TargetKind
from dashboard.people import name_of
from durable.clock import now_ms
from durable.conf import database_alias
from durable.protocol.annotations import Settler
from durable.protocol.records import PromiseRecord
from durable.protocol.states import PromiseState

MAX_REASON = 2000
_TOKEN = "token:"  # noqa: S105 - how names of tokens begin

_FIELDS = [one for one in AuditEntry._meta.concrete_fields if one.name not in {"id", "transaction"}]
_COLUMNS = ", ".join(str(one.column) for one in _FIELDS)
_VALUES = ", ".join(["%s"] * len(_FIELDS))
INSERT = f"insert into signoff_auditentry ({_COLUMNS}) values ({_VALUES})"  # noqa: S608 - our names
"""For a statement of one's own, with ``values_of``."""


@dataclass(frozen=True, slots=True)
class Author:
    """Who is behind an act, as its row says it; nobody, when this system acts by itself."""

    name: str = ""
    sign_in: SignIn = SignIn.SYSTEM
    user_id: Any = None
    ip: str | None = None
    user_agent: str = ""

    @classmethod
    def of(cls, actor: Actor) -> Self:
        """Return a person who acts."""
        return cls(actor.name, actor.sign_in, actor.user.pk, actor.ip, actor.user_agent)

    @classmethod
    def from_settler(cls, settler: Settler) -> Self:
        """Return who sent a request of the protocol."""
        name = settler.by.removeprefix(_TOKEN) if settler.by.startswith(_TOKEN) else ""
        return cls(name, SignIn.GATEWAY, ip=_address(settler.address))


SYSTEM = Author()
REFUSED = "refused"
"""Where the details of an answer that came to nothing say why, to whoever gave it."""


@dataclass(frozen=True, slots=True)
class _Act:
    author: Author
    action: Action | None
    reason: str
    details: Mapping[str, Any]
    recorded: frozenset[str]


_act: ContextVar[_Act | None] = ContextVar("signoff_act", default=None)


@contextmanager
def acting(
    by: Actor | Author,
    *,
    action: Action | None = None,
    reason: str = "",
    details: Mapping[str, Any] | None = None,
    recorded: Collection[str] = (),
) -> Iterator[None]:
    """Answer for the questions that are settled inside the block, which is in a transaction.

    Their rows say so; for the ids in ``recorded`` the caller writes the row. ``action`` stands in
    for what the new state says was done. A settlement outside the caller's transaction would not
    know of the block, hence the error.
    """
    if not connections[database_alias()].in_atomic_block:
        message = "acting() is for settlements inside transaction.atomic()"
        raise transaction.TransactionManagementError(message)
    author = by if isinstance(by, Author) else Author.of(by)
    token = _act.set(_Act(author, action, reason, details or {}, frozenset(recorded)))
    try:
        yield
    finally:
        _act.reset(token)


def record(
    action: Action,
    target: str,
    by: Actor | Author,
    *,
    kind: TargetKind = TargetKind.TASK,
    on_behalf_of: AbstractBaseUser | None = None,
    answer: str = "",
    reason: str = "",
    before: str = "",
    after: str = "",
    details: Mapping[str, Any] | None = None,
    is_effective: bool = True,
    is_override: bool = False,
    payload_hash: str = "",
    request_key: str = "",
) -> None:
    """Add the row of an act, in the transaction of what it is about.

    ``before`` and ``after`` are states; ``details`` says what else was there before and after.
    """
    author = by if isinstance(by, Author) else Author.of(by)
    entry = AuditEntry(
        **_who(author),
        at=instant_of(now_ms()),
        on_behalf_of_id=None if on_behalf_of is None else on_behalf_of.pk,
        on_behalf_of_name="" if on_behalf_of is None else name_of(on_behalf_of),
        action=action,
        answer=answer,
        target_kind=kind,
        target=target,
        reason=reason,
        is_effective=is_effective,
        is_override=is_override,
        state_before=before,
        state_after=after,
        details=dict(details or {}),
        payload_hash=payload_hash,
        request_key=request_key,
    )
    # The same late click twice is one row; the row of what was done must never be missing.
    AuditEntry.objects.using(database_alias()).bulk_create(
        [entry], ignore_conflicts=not is_effective
    )


def hash_of(value: Any) -> str:
    """Return the hash of a value as ``durable.promises`` writes it."""
    return hashlib.sha256(msgspec.json.encode(value)).hexdigest()


def entries_of(
    promises: Iterable[PromiseRecord], settlers: Mapping[str, Settler] | None = None
) -> dict[str, AuditEntry]:
    """Return the rows for settled promises by id, but for those that the caller writes."""
    act = _act.get()
    entries = {}
    for one in promises:
        if one.state is PromiseState.REJECTED_TIMEDOUT:
            entries[one.id] = _entry_of(one, None, None)  # nobody's doing, whoever noticed
        elif act is None or one.id not in act.recorded:
            entries[one.id] = _entry_of(one, act, (settlers or {}).get(one.id))
    return entries


def values_of(entry: AuditEntry, connection: BaseDatabaseWrapper) -> Sequence[Any]:
    """Return the parameters of ``INSERT``."""
    return [one.get_db_prep_save(getattr(entry, one.attname), connection) for one in _FIELDS]


def add(entries: Collection[AuditEntry], *, using: str) -> None:
    """Add rows that could not be written in the transaction they tell of."""
    AuditEntry.objects.using(using).bulk_create(entries)


def add_missing(promises: Collection[PromiseRecord], *, using: str) -> None:
    """Add the rows of settled promises that have none; who settled them is not known any more."""
    ids = [one.id for one in promises]
    known = AuditEntry.objects.using(using).filter(
        target__in=ids, action__in=ENDINGS, is_effective=True
    )
    told = set(known.values_list("target", flat=True))
    missing = [one for one in promises if one.settled_at is not None and one.id not in told]
    entries = entries_of(missing).values()
    for entry in entries:
        entry.details = {"found_later": True}
    add(list(entries), using=using)


def _entry_of(promise: PromiseRecord, act: _Act | None, settler: Settler | None) -> AuditEntry:
    author, action, reason = SYSTEM, _action_of(promise.state), _reason_of(promise)
    details: Mapping[str, Any] = {}
    if act is not None:
        author, action = act.author, act.action or action
        reason, details = act.reason or reason, act.details
    elif settler is not None:
        author = Author.from_settler(settler)
    return AuditEntry(
        **_who(author),
        at=instant_of(promise.settled_at or now_ms()),
        action=action,
        target=promise.id,
        reason=reason,
        state_before=PromiseState.PENDING,
        state_after=promise.state,
        details=dict(details),
        payload_hash=_stored_hash(promise.value.data),
    )


def _who(author: Author) -> dict[str, Any]:
    return {
        "actor_id": author.user_id,
        "actor_name": author.name,
        "sign_in": author.sign_in,
        "ip": author.ip,
        "user_agent": author.user_agent,
    }


def _action_of(state: PromiseState) -> Action:
    match state:
        case PromiseState.REJECTED_TIMEDOUT:
            return Action.EXPIRE
        case PromiseState.REJECTED_CANCELED:
            return Action.WITHDRAW
        case _:
            return Action.SETTLE


def _reason_of(promise: PromiseRecord) -> str:
    """Return why a question was withdrawn, which the error that it holds says."""
    if promise.state is not PromiseState.REJECTED_CANCELED:
        return ""
    try:
        found = msgspec.json.decode(_stored(promise.value.data), type=_Cancellation)
    except msgspec.MsgspecError:
        return ""
    return Truncator(found.reason.replace("\0", "")).chars(MAX_REASON)


class _Cancellation(msgspec.Struct):
    reason: str = ""


def _stored_hash(data: str | None) -> str:
    return "" if data is None else hashlib.sha256(_stored(data)).hexdigest()


def _stored(data: str | None) -> bytes:
    """Return what SDKs write as base64, or the text as it is."""
    try:
        return base64.b64decode(data or "", validate=True)
    except (binascii.Error, ValueError):
        return (data or "").encode()


def instant_of(instant_ms: int) -> dt.datetime:
    """Return an instant in epoch ms as rows of the trail have it."""
    return dt.datetime.fromtimestamp(instant_ms / 1000, tz=dt.UTC)


def _address(text: str) -> str | None:
    try:
        return str(ipaddress.ip_address(text.partition("%")[0]))
    except ValueError:
        return None
