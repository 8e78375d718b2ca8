"""One of everything that the pages show, people of six kinds, and the addresses that lead there."""

import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from django.contrib.auth.models import Group, User
from django.contrib.contenttypes.models import ContentType
from django.db import connection, transaction
from django.http import QueryDict
from django.test import Client, override_settings
from django.urls import URLPattern, URLResolver, get_resolver
from pytest_django import DjangoDbBlocker

from dashboard import bulk, delegations, links
from dashboard.answering import Actor
from dashboard.api import tokens
from dashboard.channels.identities import LinkToken
from dashboard.channels.muting import Muting
from dashboard.comments import write
from dashboard.drafts import save_draft
from dashboard.models import (
    ApiToken,
    AuditEntry,
    AuditLink,
    ChatIdentity,
    Comment,
    HumanTask,
    Message,
    MessageEvent,
    SavedView,
    WebhookDelivery,
    WebhookSecret,
)
from durable.clock import now_ms
from tests.dashboard import hooks, people

ANONYMOUS, STRANGER, VIEWER, DECIDER, MANAGER, ADMIN = ROLES = (
    *("anonymous", "stranger", "viewer", "decider", "manager", "admin"),
)
VERBS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")

RUN = "flow/42"
QUESTION = "flow/42:1"
HELD = f"{RUN}:2"
"""A question that the decider has answered, and can take that back yet."""
SNOOZED = f"{RUN}:3"
OTHERS = "flow/99:1"
"""A question of another run, which is for the stranger."""
SLUG = "reviews"
TOKEN = "t" * 32
"""Stands in cookie and header of what is posted."""

SETTINGS: Mapping[str, Any] = {
    "SIGNOFF_BASE_URL": "https://signoff.example.com",
    "SIGNOFF_CHANNELS": [{"channel": "mail"}],
    "SIGNOFF_LINKS": "bound",
    # Sessions are no rows then: what is written is written by the pages.
    "SESSION_ENGINE": "django.contrib.sessions.backends.signed_cookies",
}
"""Everything that has an address is switched on."""

_RIGHTS = {
    VIEWER: ("view_executions", "view_auditentry"),
    MANAGER: (
        *("settle_any", "manage_tasks", "view_executions", "cancel_executions", "make_links"),
        *("manage_webhooks", "manage_delegations", "reveal_secrets", "view_auditentry"),
    ),
}
_GROUPS = {STRANGER: ("sales",), DECIDER: ("finance",)}


@dataclass
class World:
    """What there is: people by role, and values for the parameters of addresses by name."""

    users: dict[str, User]
    ids: dict[str, Any]
    clients: dict[str, Client] = field(default_factory=dict)

    @property
    def ghosts(self) -> dict[str, Any]:
        """Values of the same kind that belong to nothing."""
        kinds: dict[type, Any] = {int: 987_654_321, uuid.UUID: uuid.uuid4(), str: "flow/43:1"}
        made = {name: kinds[type(value)] for name, value in self.ids.items()}
        return made | {"slug": "nothing", "form": "xml", "channel": "nothing"}

    def afresh(self) -> "World":
        """The same with nobody signed in."""
        return replace(self, clients={})

    def client(self, role: str) -> Client:
        """A browser in which somebody of a role is signed in, and which has a CSRF cookie."""
        if role not in self.clients:
            client = self.clients[role] = Client(enforce_csrf_checks=True)
            if role in self.users:
                client.force_login(self.users[role])
            client.cookies["csrftoken"] = TOKEN
        return self.clients[role]


@contextmanager
def undone() -> Iterator[None]:
    """Roll back what is written inside the block."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


@contextmanager
def standing(blocker: DjangoDbBlocker) -> Iterator[None]:
    """Let the tests of a module share a world that is made inside the block.

    What a test writes is rolled back as ever, so each begins with ``World.afresh``.
    """
    with blocker.unblock(), override_settings(**SETTINGS), undone():
        yield


def make_people() -> dict[str, User]:
    """Make somebody of each role; ``deputy`` stands in for the decider."""
    found = {
        role: people.make_user(
            role,
            groups=_GROUPS.get(role, ()),
            rights=_RIGHTS.get(role, ()),
            email=f"{role}@example.com",
            is_staff=role == ADMIN,
            is_superuser=role == ADMIN,
        )
        for role in ROLES
        if role != ANONYMOUS
    }
    return found | {"deputy": people.make_user("deputy")}


def make_world(described: Mapping[str, Any] | None = None) -> World:
    """Make it all; ``described`` goes into the description of the question."""
    users = make_people()
    people.start_run(RUN, by=users[VIEWER])
    people.ask(
        QUESTION,
        tags=people.child_of(RUN),
        **{"title": "Pay invoice 4711", "groups": ["finance"], "type": "invoice"}
        | dict(described or {}),
    )
    people.ask(HELD, tags=people.child_of(RUN, 2), groups=["finance"], undo=20)
    people.ask(SNOOZED, tags=people.child_of(RUN, 3), groups=["finance"])
    people.ask(OTHERS, groups=["sales"], type="order")
    task = HumanTask.objects.get(pk=QUESTION)
    ids = {"question": QUESTION, "run": RUN, "slug": SLUG, "form": "csv", "channel": "mail"}
    ids |= {"held": HELD, "snoozed": SNOOZED}
    ids |= _make_belongings(users[DECIDER])
    ids |= _make_conversation(task, users)
    ids |= _make_webhook()
    ids |= _make_messages(task, users)
    keep_draft(task, users[DECIDER], "Not yet")
    return World(users, ids)


def _make_conversation(task: HumanTask, users: Mapping[str, User]) -> dict[str, Any]:
    decider = Actor(users[DECIDER])
    write(task.pk, decider, "Is this right?", Comment.Kind.REMARK)
    delegation = delegations.delegate(
        decider, users["deputy"], starts_at=now_ms(), ends_at=now_ms() + people.HOUR_MS
    )
    job = bulk.prepare(decider, ids=[task.pk])
    url = links.make_link(task, users[DECIDER])
    # The chain is made of what was committed, and this may be a transaction.
    entry = AuditEntry.objects.earliest("pk")
    chained = AuditLink.objects.create(entry=entry, position=1, hash="0")
    return {
        "delegation": delegation.pk,
        "job": job.pk,
        "link": url.rstrip("/").rpartition("/")[2],
        "entry": chained.entry_id,
        "position": chained.pk,
    }


def _make_belongings(decider: User) -> dict[str, Any]:
    """Let the decider do what only concerns them."""
    browser = people.client_of(decider)
    people.answer(browser, HELD)
    browser.post(f"{people.task_url(SNOOZED)}snooze/", {"pause": "tomorrow"})
    browser.post("/views/save/?place=inbox&query=priority%3Dhigh", {"name": "High"})
    tokens.make(decider, "cash desk", Actor(decider), expires_at=None)
    return {"view": SavedView.objects.get().pk, "token": ApiToken.objects.get().pk}


def _make_webhook() -> dict[str, Any]:
    endpoint = hooks.make_endpoint(SLUG, secrets=("first secret", hooks.SECRET))
    people.ask_bare("pr-7-review")
    hooks.post(endpoint, hooks.pull_request())
    people.ask_bare("pr-8-review")
    return {
        "endpoint": endpoint.pk,
        "delivery": WebhookDelivery.objects.get().pk,
        "secret": WebhookSecret.objects.earliest("pk").pk,
    }


def _make_messages(task: HumanTask, users: Mapping[str, User]) -> dict[str, Any]:
    decider = users[DECIDER]
    message = Message.objects.create(
        task=task,
        asked_at=task.created_at,
        channel="mail",
        user=decider,
        recipient=f"user:{decider.pk}",
        address=decider.email,
        event=MessageEvent.ASKED,
        created_at=now_ms(),
    )
    identity = ChatIdentity.objects.create(channel="slack", external_id="T1/U1", nonce="n")
    linked = ChatIdentity.objects.create(
        channel="slack", external_id="T1/U2", user=decider, linked_at=now_ms()
    )
    return {
        "message": message.pk,
        "mute": Muting(str(decider.pk), "mail", "invoice").encode(),
        "account": linked.pk,
        "chat": LinkToken(identity.pk, "n").encode(),
        "group": Group.objects.get(name="finance").pk,
        "user": decider.pk,
        "content_type": ContentType.objects.get_for_model(User).pk,
    }


def keep_draft(task: HumanTask, user: User, text: str) -> None:
    """Let somebody begin to write."""
    data = QueryDict(mutable=True)
    data["comment"] = text
    save_draft(task, user, data)


def writes() -> int:
    """How many rows this connection has written, by the database's own count."""
    if connection.vendor == "sqlite":
        return connection.connection.total_changes
    with connection.cursor() as cursor:
        cursor.execute(
            "select sum(n_tup_ins + n_tup_upd + n_tup_del) from pg_stat_xact_user_tables"
        )
        return int(cursor.fetchone()[0])


def routes(
    patterns: Sequence[Any] | None = None, names: tuple[str, ...] = (), before: str = ""
) -> Iterator[tuple[str, str]]:
    """Yield name and pattern of every address of the project."""
    for one in get_resolver().url_patterns if patterns is None else patterns:
        route = f"{before}{one.pattern}"
        if isinstance(one, URLPattern):
            yield ":".join([*names, one.name or ""]), route
        elif isinstance(one, URLResolver):
            below = (*names, one.namespace) if one.namespace else names
            yield from routes(one.url_patterns, below, route)


def body_of(response: Any) -> bytes:
    """What came, also when it came piece by piece."""
    return b"".join(response) if response.streaming else response.content
