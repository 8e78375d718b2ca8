"""The form of a question in a browser: fields come and go, rows are added, files are sent."""

import pytest
from playwright.sync_api import Page, expect

from durable.models import Promise
from tests.browser.conftest import LiveServer
from tests.dashboard.people import ask, make_user, task_url, unpack

pytestmark = pytest.mark.once

FORM = {
    "type": "object",
    "properties": {
        "kind": {"enum": ["full", "part"], "title": "Kind"},
        "sure": {"type": "boolean", "title": "Sure"},
        "doc": {"type": "string", "format": "binary", "title": "Document"},
        "lines": {
            "type": "array",
            "title": "Lines",
            "items": {"type": "object", "properties": {"ware": {"type": "string"}}},
        },
    },
    "required": ["kind"],
    "allOf": [
        {
            "if": {"properties": {"kind": {"const": "part"}}, "required": ["kind"]},
            "then": {"properties": {"amount": {"type": "integer"}}, "required": ["amount"]},
        },
        {
            "if": {"properties": {"sure": {"const": True}}, "required": ["sure"]},
            "then": {"properties": {"why": {"type": "string"}}},
        },
    ],
}


@pytest.fixture
def question(page: Page, live_server_asgi: LiveServer) -> Page:
    make_user("mia")
    ask("q", users=["mia"], form=FORM)
    page.goto(f"{live_server_asgi}/")
    page.get_by_label("Username").fill("mia")
    page.get_by_label("Password").fill("mia")
    page.get_by_role("button", name="Sign in").click()
    page.goto(f"{live_server_asgi}{task_url('q')}")
    return page


def test_fields_come_and_go_rows_are_added_and_a_file_is_sent(question: Page) -> None:
    amount, why = question.get_by_label("Amount"), question.get_by_label("Why")
    expect(amount).to_be_hidden()
    expect(why).to_be_hidden()

    question.get_by_label("Kind").select_option("part")
    expect(amount).to_be_visible()
    question.get_by_label("Sure").check()
    expect(why).to_be_visible()
    question.get_by_label("Sure").uncheck()
    expect(why).to_be_hidden()

    amount.fill("12")
    amount.press("Enter")
    question.get_by_role("button", name="Add to Lines").click()
    ware = question.get_by_label("Ware")
    expect(ware).to_be_focused()
    expect(amount).to_have_value("12")
    ware.fill("Ink")

    file = {"name": "a.txt", "mimeType": "text/plain", "buffer": b"abc"}
    question.get_by_label("Document").set_input_files(file)  # type: ignore[arg-type]
    amount.fill("many")
    question.get_by_role("button", name="Approve").click()
    expect(question.get_by_role("alert").filter(has_text="could not be sent")).to_be_visible()
    expect(question.get_by_text("a.txt is attached")).to_be_visible()
    expect(amount).to_be_visible()

    amount.fill("12")
    question.get_by_role("button", name="Approve").click()
    expect(question.get_by_text("You approved this")).to_be_visible()
    assert unpack(Promise.objects.get(pk="q").value_data)["values"] == {
        "kind": "part",
        "sure": False,
        "doc": {"name": "a.txt", "type": "text/plain", "base64": "YWJj"},
        "lines": [{"ware": "Ink"}],
        "amount": 12,
    }


def test_nothing_is_wider_than_a_narrow_screen(question: Page) -> None:
    question.set_viewport_size({"width": 320, "height": 800})
    question.get_by_label("Kind").select_option("part")

    wide = question.evaluate("document.documentElement.scrollWidth")

    assert wide <= 320
    heights = question.evaluate(
        "[...document.querySelectorAll('.fields select, .fields .part-rows > button,"
        " .fields input[type=text]')].filter(e => e.checkVisibility()).map(e => e.offsetHeight)"
    )
    assert all(height >= 44 for height in heights)
