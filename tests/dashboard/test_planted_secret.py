"""A secret is planted wherever one can be, and looked for in all that leaves: it is nowhere.

Only those who reveal it get to see it, and those who typed it.
"""

import base64
import json
import logging
from collections.abc import Iterator
from email.message import EmailMessage
from typing import Any

import pytest
from django.test import Client

from dashboard.channels.announcing import announce, conclude
from dashboard.models import AuditEntry
from durable import promises
from tests.dashboard import people, rights
from tests.dashboard.outside import MailServer, WebServer, mail_server, mailers_of, web_server
from tests.dashboard.people import ask, child_of, pack, task_url
from tests.dashboard.world import (
    ADMIN,
    ANONYMOUS,
    DECIDER,
    MANAGER,
    QUESTION,
    ROLES,
    RUN,
    STRANGER,
    TOKEN,
    VIEWER,
    World,
    body_of,
    make_world,
    standing,
    undone,
)

# The first test of all makes the database and the world, which takes no part in its time.
pytestmark = [
    pytest.mark.django_db,
    pytest.mark.once,
    pytest.mark.timeout(120, func_only=True),
]

SECRET = "Needle4711InAHaystack"
FORMS = frozenset(
    base64.b64encode(b" " * shift + SECRET.encode() + b"  ").strip(b"=")[4:-4].decode()
    for shift in range(3)
)
"""How it looks inside base64, wherever it begins."""

LINES = [{"type": "object", "properties": {"card": {"type": "string"}, "name": {"type": "string"}}}]
PLANTED: dict[str, dict[str, Any]] = {
    QUESTION: {
        "title": "Pay invoice 4711",
        "question": f"Is {SECRET} right?",
        "context": f"It came with **{SECRET}**.",
        "consequence": f"Pays to {SECRET}.",
        "facts": {"IBAN": SECRET, "Parts": {"deep": [SECRET]}, "Amount": 5},
        "answers": [
            {"name": "approve", "settles": "resolve", "approves": True, "consequence": SECRET},
            {"name": "reject", "settles": "reject"},
        ],
        "secrets": [
            *("/question", "/context", "/consequence", "/facts/IBAN", "/facts/Parts"),
            "/answers/0/consequence",
        ],
    },
    "edited": {
        "proposal": {"salary": SECRET, "note": "n", "more": [{"key": SECRET}]},
        "editable": ["/note"],
        "secrets": ["/proposal/salary", "/proposal/more/*/key", "/values/salary", "/values/more"],
    },
    "filled": {"form": LINES[0], "secrets": ["/values/card"]},
    "refused": {
        "form": LINES[0],
        "secrets": ["/values/card"],
        "answers": [
            {"name": "approve", "settles": "resolve", "approves": True},
            {"name": "deny", "label": "Deny", "settles": "reject", "form": "required"},
        ],
    },
    "titled": {"title": SECRET, "secrets": ["/title"]},
    "wrong": {"facts": {"IBAN": SECRET}, "secrets": ["/facts/IBAN"], "priority": "very"},
}
"""Descriptions by question; the first is the one that all addresses lead to."""


SEEING = (VIEWER, DECIDER, MANAGER)


class Haystack:
    """All that left: where from, and what it said."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self.seen = 0

    def look(self, where: str, *texts: str | bytes) -> None:
        """Look for the secret, as it is and encoded."""
        for text in texts:
            whole = text.decode(errors="replace") if isinstance(text, bytes) else text
            self.seen += 1
            if SECRET in whole or any(one in whole for one in FORMS):
                self.found.append(where)


@pytest.fixture
def hay(caplog) -> Iterator[Haystack]:
    """Whatever was found until the end of the test, log lines too, makes it fail."""
    caplog.set_level(logging.DEBUG)
    # What the database is told holds what is to be stored; it is no line of a production log.
    logging.getLogger("django.db.backends").setLevel(logging.INFO)
    hay = Haystack()
    yield hay
    for record in caplog.get_records("call"):
        hay.look(
            f"log of {record.name}",
            record.getMessage(),
            record.exc_text or "",
            record.stack_info or "",
        )
    assert hay.found == []


@pytest.fixture(scope="module")
def made(django_db_setup, django_db_blocker) -> Iterator[World]:
    with standing(django_db_blocker):
        yield plant()


@pytest.fixture
def there(made) -> World:
    return made.afresh()


def plant() -> World:
    there = make_world(PLANTED[QUESTION])
    for number, (question, described) in enumerate(PLANTED.items()):
        if question != QUESTION:
            tags = child_of(RUN, number + 10)
            ask(f"{RUN}:{question}", tags=tags, **{"groups": ["finance"], **described})
    tag = {"signoff:task": json.dumps({"schema": 1, "title": "T"} | _in_a_tag())}
    people.create(f"{RUN}:tagged", tags=child_of(RUN, 30) | people.LATENT | tag)
    return there


def _in_a_tag() -> dict[str, Any]:
    return {"groups": ["finance"], "facts": {"IBAN": SECRET}, "secrets": ["/facts/IBAN"]}


def ids(there: World) -> Iterator[dict[str, Any]]:
    """The ids of addresses, with each of the questions in turn."""
    for question in (*PLANTED, "tagged"):
        name = question if question == QUESTION else f"{RUN}:{question}"
        yield there.ids | {"question": name}


def visit(hay: Haystack, client: Client, path: str, **headers: str) -> None:
    response = client.get(path, headers=headers)
    hay.look(f"GET {path}", body_of(response), str(response.headers))


def walk(hay: Haystack, there: World, role: str) -> None:
    """Open every address as somebody of a role, with every question of which they see pages."""
    client = there.client(role)
    for line in (one for one in rights.ALL if one.expected("GET", role) != "405"):
        every = ids(there) if "question" in line.args and role in SEEING else [there.ids]
        for one in every:
            visit(hay, client, line.path(one))


def decide_all(there: World) -> None:
    """Answer all of it, with the secret where the answer has a place for one."""
    mia = there.client(DECIDER)
    shown = {"filled": "1", "values/card": SECRET, "values/name": "Mia"}
    given: dict[str, dict[str, str]] = {
        QUESTION: {"answer": "approve"},
        "edited": {"answer": "approve", "filled": "1", "values/note": "other"},
        "filled": {"answer": "approve", **shown},
        "refused": {"answer": "deny", **shown},
        "titled": {"answer": "reject"},
        "tagged": {"answer": "approve"},
    }
    for question, data in given.items():
        name = question if question == QUESTION else f"{RUN}:{question}"
        path = f"{task_url(name)}decide/"
        response = mia.post(path, data, headers={"X-CSRFToken": TOKEN})
        assert response.status_code == 303, (question, response.text)


RUN_VIEWS = ("", "?tab=history", *(f"?step={RUN}:{one}" for one in (*PLANTED, "tagged")))


@pytest.mark.parametrize(
    "role",
    [DECIDER, ADMIN]
    + [
        pytest.param(role, marks=pytest.mark.slow)
        for role in (VIEWER, MANAGER, ANONYMOUS, STRANGER)
    ],
)
@pytest.mark.parametrize("is_over", [pytest.param(False, marks=pytest.mark.slow), True])
def test_no_page_shows_it(hay, there, role, is_over):
    if is_over:
        decide_all(there)
        stored = [promises.get(f"{RUN}:{one}").value for one in ("edited", "filled", "refused")]
        assert all(SECRET in base64.b64decode(one.data or "").decode() for one in stored)

    walk(hay, there, role)


def test_no_view_of_the_run_and_no_fragment_shows_it(hay, there):
    decide_all(there)
    manager = there.client(MANAGER)
    for view in RUN_VIEWS:
        visit(hay, manager, f"/executions/flow~2F42/{view}")
        visit(hay, manager, f"/executions/flow~2F42/{view}", **{"HX-Request": "true"})
    for one in (*PLANTED, "tagged"):
        name = one if one == QUESTION else f"{RUN}:{one}"
        visit(hay, manager, f"/executions/{people.encode(name)}/")
        visit(hay, manager, task_url(name), **{"HX-Request": "true"})
        visit(hay, manager, f"/api/executions/flow~2F42/steps/{people.encode(name)}")
    for tab in ("answer", "groups", "unclaimed", "done", "all", "waiting"):
        visit(hay, manager, f"/inbox/?tab={tab}")
        visit(hay, there.client(DECIDER), f"/inbox/?tab={tab}")
        visit(hay, manager, f"/api/human-tasks?tab={tab}")
    visit(hay, there.client(DECIDER), "/inbox/changes/?since=0&known=0")
    for form in ("csv", "jsonl", "json"):
        visit(hay, there.client(ADMIN), f"/audit/audit.{form}")
    assert AuditEntry.objects.filter(action="approve").exists()


REVEALING = {"signoff:reveal", "signoff_api:reveal_task"}


@pytest.mark.parametrize("role", [DECIDER, MANAGER])
def test_no_answer_to_what_people_do_shows_it(hay, there, role):
    client = there.client(role)
    for line in (one for one in rights.DASHBOARD if one.name not in REVEALING):
        for verb in (one for one in line.unsafe if line.expected(one, role) != "405"):
            with undone():
                given = line.sent(there)
                headers = given.pop("headers", {}) | {"X-CSRFToken": TOKEN}
                send = getattr(client, verb.lower())
                response = send(line.path(there.ids), headers=headers, **given)
            hay.look(f"{verb} {line.name}", body_of(response), str(response.headers))


@pytest.mark.parametrize("line", [one for one in rights.DASHBOARD if one.name in REVEALING])
def test_revealing_shows_it_to_those_who_may_and_leaves_a_row(there, line):
    for role in ROLES:
        given = line.sent(there)
        path, headers = line.path(there.ids), {"X-CSRFToken": TOKEN}
        response = there.client(role).post(path, headers=headers, **given)
        is_shown = SECRET in response.text
        assert is_shown is (response.status_code == 200), role
        assert is_shown is (role in {MANAGER, ADMIN})
        if is_shown:
            assert response.text.count(SECRET) >= 5  # question, context, consequence, two facts
    assert AuditEntry.objects.filter(action="reveal").count() == 2


def test_an_error_page_does_not_show_it(hay, there, monkeypatch):
    """Something breaks while the secret is in hand."""

    def fail(*_args: Any, **_kwargs: Any) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr("durable.promises.resolve", fail)
    client = there.client(DECIDER)
    client.raise_request_exception = False
    data = {"answer": "approve", "filled": "1", "values/card": SECRET}
    path = f"{task_url(f'{RUN}:filled')}decide/"
    response = client.post(path, data, headers={"X-CSRFToken": TOKEN})

    assert response.status_code == 500
    hay.look("error page", body_of(response))


@pytest.fixture
def mails() -> Iterator[MailServer]:
    with mail_server() as server:
        yield server


@pytest.fixture
def web() -> Iterator[WebServer]:
    with web_server() as server:
        yield server


def test_no_message_says_it(hay, there, settings, mails, web):
    settings.DURABLE_PUSH_ALLOWED_HOSTS = ["127.0.0.1"]
    settings.MAILERS = mailers_of(mails)
    settings.SIGNOFF_CHANNELS = [
        {"channel": "mail"},
        {
            "channel": "slack",
            "token": "xoxb-1",
            "signing_secret": "s",
            "room": "#a",
            "base_url": web.url,
        },
        {"channel": "webhook", "url": f"{web.url}hook", "secret": "whsec_MfKQ9r8GKYqrTwjU"},
    ]
    asked = [one["question"] for one in ids(there) if not one["question"].endswith("wrong")]
    for question in asked:
        announce(question)
    decide_all(there)
    for question in asked:
        conclude(question)

    assert len(mails.mails) >= len(asked)
    assert len(web.to("/hook")) == 2 * len(asked)
    assert len(web.to("/chat.postMessage")) == len(web.to("/chat.update")) == len(asked)
    for mail in mails.mails:
        hay.look(f"mail {mail['Subject']}", *texts_of(mail))
    for call in web.calls:
        hay.look(call.path, call.body, str(call.headers))


def texts_of(mail: EmailMessage) -> Iterator[str]:
    yield str(mail.items())
    yield mail.as_string()
    for part in mail.walk():
        if not part.is_multipart():
            yield part.get_content()


def test_the_stack_is_searched_in_all_the_ways_it_may_be_written():
    hay = Haystack()
    hay.look("plain", f"a {SECRET} b")
    hay.look("encoded", pack({"a": SECRET}), pack({"ab": SECRET}), pack({"abc": SECRET}))
    hay.look("nothing", "hay")
    assert hay.found == ["plain", "encoded", "encoded", "encoded"]
