"""What the list of the inbox does by script, in a real browser."""

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import LiveServer
from tests.browser.signing_in import give_session
from tests.dashboard.people import ask, make_user, settle


@pytest.fixture
def mia(transactional_db, page: Page, live_server_asgi: LiveServer) -> None:
    make_user("mia")
    give_session(page.context, str(live_server_asgi), "mia")


def test_bar_follows_what_is_ticked(page: Page, live_server_asgi: LiveServer, mia: None) -> None:
    for promise_id, kind in (("a", "invoice"), ("b", "invoice"), ("c", "offer")):
        ask(promise_id, title=promise_id, users=["mia"], type=kind)
    page.goto(f"{live_server_asgi}/inbox/")
    answer = page.get_by_role("button", name="Answer the ticked ones")
    take_on = page.get_by_role("button", name="Take them on")
    why = page.get_by_text("Only questions of one kind")
    expect(answer).to_be_disabled()
    expect(take_on).to_be_disabled()

    page.get_by_label("Choose a").check()
    page.get_by_label("Choose b").check()
    expect(page.get_by_text("Selected: 2")).to_be_visible()
    expect(answer).to_be_enabled()
    expect(why).to_be_hidden()

    page.get_by_label("Choose c").check()
    expect(answer).to_be_disabled()
    expect(why).to_be_visible()
    expect(take_on).to_be_enabled()

    page.get_by_role("button", name="Clear").click()
    expect(page.get_by_label("Choose a")).not_to_be_checked()
    expect(take_on).to_be_disabled()

    page.get_by_label("Choose b").check()
    take_on.click()
    expect(page.get_by_text("You took on 1 question.")).to_be_visible()
    expect(page.get_by_text("taken on by you")).to_have_count(1)


def test_row_that_was_answered_elsewhere_is_greyed_and_goes(
    page: Page, live_server_asgi: LiveServer, mia: None
) -> None:
    page.clock.install()
    for promise_id in ("a", "b"):
        ask(promise_id, title=promise_id, users=["mia"])
    page.goto(f"{live_server_asgi}/inbox/")
    rows = page.locator(".card-row")
    expect(rows).to_have_count(2)
    page.get_by_role("heading", name="Inbox").hover()

    settle("a")
    page.evaluate("document.body.dispatchEvent(new Event('inbox:changed'))")
    expect(page.locator(".card-row.is-over")).to_contain_text("Answered elsewhere")
    page.clock.run_for(9_000)
    expect(rows).to_have_count(2)

    page.locator("#card-b").hover()
    page.clock.run_for(2_000)
    expect(rows).to_have_count(2)

    page.get_by_role("heading", name="Inbox").hover()
    page.clock.run_for(10_000)
    expect(rows).to_have_count(1)
    expect(page.locator("#card-b")).to_be_visible()
