"""Makers of people and of questions for them. Questions are promises, made by the engine itself."""

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

from django.contrib.auth.models import Group, Permission, User
from django.test import Client

from dashboard.question_ids import encode
from durable.client.local import get_sender
from durable.clock import now_ms
from durable.protocol.annotations import Annotation
from durable.protocol.records import Value
from durable.protocol.requests import PromiseCreate, PromiseSettle
from durable.protocol.states import PromiseState
from durable.protocol.validation import MAX_INSTANT

LATENT = {"resonate:external": "true"}
HOUR_MS = 3_600_000


def make_user(
    username: str = "mia",
    *,
    groups: tuple[str, ...] = (),
    rights: tuple[str, ...] = (),
    **fields: Any,
) -> User:
    user = User.objects.create_user(username, password=username, **fields)
    user.groups.set(Group.objects.get_or_create(name=name)[0] for name in groups)
    user.user_permissions.set(Permission.objects.filter(codename__in=rights))
    return user


def make_operator(username: str = "olga", **fields: Any) -> User:
    return make_user(username, rights=("settle_any",), **fields)


def client_of(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def pack(value: Any) -> str:
    return base64.b64encode(json.dumps(value).encode()).decode()


def unpack(data: str | None) -> Any:
    return json.loads(base64.b64decode(data or ""))


def iso(hours: float) -> str:
    """A time from now, as descriptions have it."""
    return (datetime.now(UTC) + timedelta(hours=hours)).isoformat()


def create(
    promise_id: str,
    *,
    data: str | None = None,
    tags: dict[str, str] | None = None,
    timeout_at: int = MAX_INSTANT,
    annotations: dict[str, Annotation] | None = None,
) -> str:
    request = PromiseCreate(promise_id, timeout_at, Value(data=data), tags or {})
    [reply] = get_sender().send(request, annotations=annotations)
    assert reply.is_ok, reply
    return promise_id


def ask(
    promise_id: str = "question-1",
    *,
    tags: dict[str, str] | None = None,
    timeout_at: int = MAX_INSTANT,
    **description: Any,
) -> str:
    """Ask people a question; a title is given unless the description has one."""
    described = {"schema": 1, "title": f"Title of {promise_id}"} | description
    data = pack({"human_task": described})
    return create(promise_id, data=data, tags=LATENT | (tags or {}), timeout_at=timeout_at)


def ask_bare(promise_id: str = "bare-1") -> str:
    """A latent promise that says nothing to people."""
    return create(promise_id, tags=LATENT)


def start_run(root: str = "run-1", function: str = "pay_invoice", *, by: User | None = None) -> str:
    """A root that no worker takes, started by a person or nobody."""
    data = pack({"func": function, "args": [], "version": 1})
    note = {} if by is None else {root: Annotation(started_by=f"user:{by.pk}")}
    return create(root, data=data, tags={"resonate:target": "poll://any@nobody"}, annotations=note)


def child_of(root: str, number: int = 1) -> dict[str, str]:
    """Tags of a child of a root."""
    return {
        "resonate:origin": root,
        "resonate:parent": root,
        "resonate:branch": f"{root}:{number}",
    }


def settle(promise_id: str, state: PromiseState = PromiseState.RESOLVED, value: Any = None) -> bool:
    """Settle a promise past the pages; whether this did it."""
    request = PromiseSettle(promise_id, state, Value(data=pack(value)))
    [reply] = get_sender().send(request)
    return reply.applied


def task_url(promise_id: str) -> str:
    return f"/inbox/{encode(promise_id)}/"


def answer(client: Client, promise_id: str, choice: str = "approve", **data: Any) -> Any:
    """Answer as a browser without JavaScript does."""
    return client.post(f"{task_url(promise_id)}decide/", {"answer": choice} | data)


def past(hours: float = 1) -> int:
    return now_ms() - int(hours * HOUR_MS)
