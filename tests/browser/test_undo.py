"""An answer that can be taken back, and one that has to be confirmed, in a real browser."""

import re

import pytest
from playwright.sync_api import Page, expect

from dashboard import holding
from dashboard.models import HeldAnswer
from durable.models import Promise
from durable.protocol.states import PromiseState
from tests.browser.conftest import LiveServer
from tests.browser.signing_in import give_session
from tests.dashboard.people import ask, make_user, task_url


@pytest.fixture
def mia(transactional_db, page: Page, live_server_asgi: LiveServer) -> None:
    make_user("mia")
    give_session(page.context, str(live_server_asgi), "mia")


def test_an_answer_counts_down_is_taken_back_and_then_sent(
    page: Page, live_server_asgi: LiveServer, mia: None
) -> None:
    ask("q", users=["mia"], undo=30, confirm={"text": "4711"})
    page.goto(f"{live_server_asgi}{task_url('q')}")
    page.get_by_label("Comment").fill("as agreed")
    page.get_by_role("button", name="Approve").click()
    expect(page.get_by_role("alert").filter(has_text="This could not be sent yet")).to_be_visible()
    page.get_by_label("To confirm, type 4711").fill("4711")
    page.get_by_role("button", name="Approve").click()

    undo = page.get_by_role("button", name="Undo")
    expect(undo).to_be_focused()
    timer = page.get_by_role("timer")
    begun = timer.inner_text()
    expect(timer).to_have_text(re.compile(r"Sending in \d+ s\."))
    expect(timer).not_to_have_text(begun)
    expect(undo).to_be_focused()
    undo.click()
    expect(page.get_by_label("Comment")).to_have_value("as agreed")
    assert Promise.objects.get(pk="q").state == PromiseState.PENDING

    page.get_by_label("To confirm, type 4711").fill("4711")
    page.get_by_role("button", name="Approve").click()
    expect(timer).to_be_visible()
    holding.send(str(HeldAnswer.objects.get().pk))
    expect(page.get_by_role("strong").filter(has_text="You approved this")).to_be_visible()
