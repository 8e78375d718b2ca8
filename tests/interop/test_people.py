"""Workflows of other languages ask people: the whole description, the inbox, a browser.

A workflow of TypeScript gives it as a tag, one of Rust as data. One of Python can set neither, so
a program describes the question over the API once it is there. Outside of workflows, the client of
each SDK sets tags.
"""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect

from dashboard.api import tokens
from dashboard.auditing import SYSTEM
from dashboard.models import AuditEntry, HumanTask, SignIn
from dashboard.question_ids import encode
from durable.models import Promise
from tests.interop.conftest import PYTHON, RUST, TYPESCRIPT, Gateway, Kind
from tests.interop.people import make_person
from tests.interop.sdks import Sdk, SdkError
from tests.processes import wait_until

pytestmark = [pytest.mark.browser, pytest.mark.once, pytest.mark.timeout(120)]

REFUND: dict[str, Any] = {
    "schema": 1,
    "title": "Refund order 9",
    "question": "How much do we give back?",
    "consequence": "The money leaves today.",
    "facts": {"Customer": "Zoë ☃"},
    "users": ["mia"],
    "form": {
        "type": "object",
        "properties": {"amount": {"type": "integer", "title": "Amount", "maximum": 120}},
        "required": ["amount"],
    },
    "answers": [
        {"name": "pay", "label": "Pay it back"},
        {"name": "no", "label": "Keep it", "settles": "reject", "comment": "required"},
    ],
}


def languages(*kinds: Kind) -> Any:
    """Run a test for each; building the worker of Rust takes minutes the first time."""
    built = (pytest.mark.slow, pytest.mark.timeout(900))
    params = [
        pytest.param(one, id=one.language, marks=built if one is RUST else ()) for one in kinds
    ]
    return pytest.mark.parametrize("kind", params)


@pytest.fixture(scope="module")
def mia(gateway: Gateway) -> Iterator[User]:
    """Decides, and has no other right."""
    user = make_person("mia")
    yield user
    user.delete()


@pytest.fixture
def at_the_inbox(mia: User, page: Page, gateway: Gateway) -> Page:
    page.goto(f"{gateway.url}/inbox/")
    page.get_by_label("Username").fill("mia")
    page.get_by_label("Password").fill("mia")
    page.get_by_role("button", name="Sign in").click()
    return page


@pytest.fixture(scope="module")
def token(gateway: Gateway) -> Iterator[str]:
    """Of a program that may describe questions."""
    clerk = make_person("clerk", "describe_tasks")
    yield tokens.make(clerk, "interop", SYSTEM, expires_at=None)
    clerk.delete()


def put(gateway: Gateway, token: str, promise_id: str, description: Any) -> dict[str, Any]:
    request = urllib.request.Request(
        f"{gateway.url}/api/human-tasks/{encode(promise_id)}",
        json.dumps(description).encode(),
        {"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
        method="PUT",
    )
    with urllib.request.urlopen(request, timeout=20) as response:
        return json.loads(response.read())


def wait_for_question(promise_id: str) -> None:
    pending = Promise.objects.filter(id=promise_id, state="pending")
    wait_until(pending.exists, seconds=20, what="the question")


@languages(TYPESCRIPT, RUST)
def test_a_workflow_asks_a_whole_question(
    get_sdk, gateway: Gateway, at_the_inbox: Page, kind: Kind
) -> None:
    sdk: Sdk = get_sdk(kind)
    answer = sdk.order("run", f"{kind.group}-refund", "ask_people", REFUND)
    wait_for_question(f"{kind.group}-refund{kind.child}")
    expect_question_and_pay(at_the_inbox, "50")
    given = answer.result(timeout=20)
    assert (given["answer"], given["values"]) == ("pay", {"amount": 50})


@languages(PYTHON, RUST)
def test_tags_alone_make_a_whole_question(
    get_sdk, gateway: Gateway, at_the_inbox: Page, kind: Kind
) -> None:
    sdk: Sdk = get_sdk(kind)
    promise_id = f"{kind.group}-tagged"
    tags = {"resonate:external": "true", "signoff:task": json.dumps(REFUND)}
    answer = sdk.order("create", promise_id, tags=tags)
    wait_for_question(promise_id)
    expect_question_and_pay(at_the_inbox, "60")
    given = answer.result(timeout=20)
    assert (given["answer"], given["values"]) == ("pay", {"amount": 60})


@languages(TYPESCRIPT, RUST)
def test_a_rejection_reaches_the_workflow(
    get_sdk, gateway: Gateway, at_the_inbox: Page, kind: Kind
) -> None:
    sdk: Sdk = get_sdk(kind)
    answer = sdk.order("run", f"{kind.group}-kept", "ask_people", REFUND)
    wait_for_question(f"{kind.group}-kept{kind.child}")
    page = at_the_inbox
    page.reload()
    page.get_by_role("link", name="Refund order 9").click()
    page.get_by_label("Comment").fill("worn, not broken")
    page.get_by_role("button", name="Keep it").click()
    expect(page.get_by_role("heading", name="Refund order 9")).to_be_visible()
    with pytest.raises(SdkError, match="worn, not broken"):
        answer.result(timeout=20)


def test_python_gets_a_whole_question_over_the_api(
    get_sdk, gateway: Gateway, token: str, at_the_inbox: Page
) -> None:
    sdk: Sdk = get_sdk(PYTHON)
    child = f"py-refund{PYTHON.child}"
    answer = sdk.order("run", "py-refund", "ask")
    wait_for_question(child)
    with pytest.raises(urllib.error.HTTPError) as refused:
        put(gateway, token, child, {**REFUND, "users": "mia"})
    assert refused.value.code == HTTPStatus.UNPROCESSABLE_ENTITY
    [problem] = json.loads(refused.value.read())["errors"]
    assert problem == {"path": "human_task.users", "message": "must be a list"}
    assert HumanTask.objects.get(pk=child).title == ""

    put(gateway, token, child, REFUND)
    expect_question_and_pay(at_the_inbox, "70")
    given = answer.result(timeout=20)
    assert (given["answer"], given["values"]) == ("pay", {"amount": 70})
    entries = AuditEntry.objects.filter(target=child).order_by("pk")
    assert [one.sign_in for one in entries] == [SignIn.TOKEN, SignIn.SESSION]


def expect_question_and_pay(page: Page, amount: str) -> None:
    """Find it in the inbox, try too much, and pay."""
    page.reload()
    page.get_by_role("link", name="Refund order 9").click()
    expect(page.get_by_text("How much do we give back?").first).to_be_visible()
    expect(page.get_by_text("Zoë ☃").first).to_be_visible()
    page.get_by_label("Amount").fill("121")
    page.get_by_role("button", name="Pay it back").click()
    expect(page.get_by_role("button", name="Pay it back")).to_be_visible()
    page.get_by_label("Amount").fill(amount)
    page.get_by_role("button", name="Pay it back").click()
    expect(page.get_by_role("button", name="Pay it back")).to_have_count(0)
