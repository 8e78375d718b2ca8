"""How long the inbox takes, and how many queries, while very much waits: Django's test client."""

import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from bench.figures import Figure, milliseconds
from bench.multiply import multiply
from bench.pages import get
from bench.session import Session
from durable.client.local import get_sender
from durable.protocol import tags
from durable.protocol.records import Value
from durable.protocol.requests import PromiseCreate
from durable.protocol.validation import MAX_INSTANT

_ASKED = 400
_GROUPS = 20
_FEW = 20
"""One question of so many is for those to whom few are put."""
_PRIORITIES = ("normal", "high", "low", "urgent")
_DUE = (None, timedelta(days=-1), timedelta(hours=1), timedelta(days=3))
_WARM_UPS = 3


def measure(session: Session) -> Iterator[Figure]:
    """Put all questions to the groups of one person and few to another's; get their pages."""
    _ask(session.sizes.questions)
    busy, calm = (_member_of_all(name) for name in ("busy", "calm"))
    operator = get_user_model().objects.create_superuser("bench-operator")
    inbox, changes = reverse("signoff:inbox"), reverse("signoff:inbox_changes")
    pages = (
        ("first page", busy, inbox),
        ("first page of groups", busy, f"{inbox}?tab=groups"),
        ("first page, few for the reader", calm, inbox),
        ("first page of an operator", operator, inbox),
        ("poll for changes", busy, changes),
        ("poll of the badge", busy, reverse("signoff:inbox_badge")),
    )
    for name, user, url in pages:
        client = Client()
        client.force_login(user)
        times = [get(client, url) for _ in range(_WARM_UPS + session.sizes.samples)]
        with CaptureQueriesContext(connection) as queries:
            get(client, url)
        what = f"{session.sizes.questions:,} questions, {_GROUPS} groups: {name}"
        yield milliseconds(what, times[_WARM_UPS:])
        yield Figure(f"{what}: queries", "queries", (len(queries),))


def _ask(questions: int) -> None:
    asked = min(_ASKED, questions)
    for number in range(asked):
        get_sender().send(
            PromiseCreate(
                f"asked-{number}", MAX_INSTANT, _question(number), {tags.EXTERNAL: "true"}
            )
        )
    multiply("asked-", questions // asked)


def _question(number: int) -> Value:
    place = number // (len(_PRIORITIES) * len(_DUE))
    due = _DUE[number % len(_DUE)]
    described: dict[str, Any] = {
        "schema": 1,
        "title": f"Pay invoice {number}?",
        "groups": [f"busy-{place % _GROUPS}"],
        "facts": {"Amount": f"{number} EUR", "Supplier": "Example"},
        "priority": _PRIORITIES[number // len(_DUE) % len(_PRIORITIES)],
    }
    if number % _FEW == 0:
        described["groups"].append(f"calm-{number // _FEW % _GROUPS}")
    if due is not None:
        described["due"] = (datetime.now(UTC) + due).isoformat()
    return Value(data=base64.b64encode(json.dumps({"human_task": described}).encode()).decode())


def _member_of_all(name: str) -> Any:
    user = get_user_model().objects.create_user(f"bench-{name}")
    user.groups.set(
        Group.objects.get_or_create(name=f"{name}-{number}")[0] for number in range(_GROUPS)
    )
    return user
