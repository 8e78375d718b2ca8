"""What the list of the inbox does by script, in a real browser."""

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from dashboard import bulk
from dashboard.inbox_queries import PAGE_SIZE
from dashboard.models import BulkJob
from durable.models import Promise
from durable.protocol.states import PromiseState
from tests.browser.conftest import LiveServer
from tests.browser.signing_in import give_session
from tests.dashboard.people import ask, iso, make_user, settle

pytestmark = pytest.mark.once


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
    expect(answer).to_be_hidden()
    expect(take_on).to_be_hidden()

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
    expect(take_on).to_be_hidden()

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


def look(page: Page) -> None:
    """What the stream says when a list has changed."""
    page.evaluate("document.body.dispatchEvent(new Event('inbox:changed'))")


def top_of(locator: Locator) -> float:
    box = locator.bounding_box()
    assert box is not None
    return box["y"]


def test_several_are_answered_by_keyboard(page: Page, live_server_asgi: LiveServer, mia) -> None:
    for promise_id in ("a", "b", "c"):
        ask(promise_id, title=promise_id, users=["mia"], type="invoice")
    page.goto(f"{live_server_asgi}/inbox/?type=invoice")
    page.wait_for_load_state()
    for key in ("j", "x", "j", "j", "x"):
        page.keyboard.press(key)
    expect(page.get_by_text("Selected: 2")).to_be_visible()

    page.get_by_role("button", name="Answer the ticked ones").press("Enter")
    expect(page.get_by_role("heading", name="Answer 2 questions")).to_be_visible()
    page.get_by_role("button", name="Approve (2)").press("Enter")
    expect(page.get_by_text("2 of 2 are still to be answered.")).to_be_visible()
    [job] = BulkJob.objects.all()
    while bulk.answer_some(str(job.pk)):
        pass

    expect(page.get_by_text("Finished.")).to_be_visible()
    states = dict(Promise.objects.filter(pk__in="abc").values_list("pk", "state"))
    assert states == {
        "a": PromiseState.RESOLVED,
        "b": PromiseState.PENDING,
        "c": PromiseState.RESOLVED,
    }


def test_more_is_loaded_and_the_first_of_it_has_the_focus(
    page: Page, live_server_asgi: LiveServer, mia
) -> None:
    for number in range(PAGE_SIZE + 2):
        ask(f"q-{number:02}", title=f"q-{number:02}", users=["mia"])
    page.goto(f"{live_server_asgi}/inbox/")
    page.get_by_label("Choose q-00").check()

    page.get_by_role("button", name="Load 50 more").press("Enter")

    expect(page.locator(".card-row")).to_have_count(PAGE_SIZE + 2)
    expect(page.locator(f"#card-q-{PAGE_SIZE} .card")).to_be_focused()
    expect(page.get_by_role("button", name="Load 50 more")).to_have_count(0)
    page.keyboard.press("x")
    expect(page.get_by_text("Selected: 2")).to_be_visible()


@pytest.mark.parametrize("width", [320, 1280])
def test_what_comes_and_goes_elsewhere_moves_nothing(
    page: Page, live_server_asgi: LiveServer, mia, width: int
) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    long = "A title that is too long for one line of the list on the left-hand side"
    for number, promise_id in enumerate("abcd"):
        facts = {"Amount": "4 200 EUR", "Supplier": "Acme"} if number % 2 else {}
        ask(promise_id, title=f"{promise_id} {long}", users=["mia"], facts=facts, due=iso(50))
    page.goto(f"{live_server_asgi}/inbox/?q=title")
    page.get_by_label("Choose d").check()
    page.locator("#card-b .card").focus()
    before = [top_of(page.locator(f"#card-{one}")) for one in "abcd"]

    settle("a")
    settle("b")
    ask("e", title="Not in this list", users=["mia"])
    for promise_id in ("f", "g"):
        ask(promise_id, title=f"{promise_id} title", users=["mia"], priority="urgent")
    look(page)

    news = page.get_by_role("button", name="Show 2 new questions")
    expect(news).to_be_visible()
    expect(page.locator(".card-row.is-over")).to_have_count(2)
    assert [top_of(page.locator(f"#card-{one}")) for one in "abcd"] == before
    expect(page.locator("#card-b .card")).to_be_focused()
    assert page.evaluate("document.documentElement.scrollWidth") <= width

    news.click()
    expect(page.locator(".card-row")).to_have_count(4)
    expect(page.locator("#card-f .card")).to_be_focused()
    expect(page.get_by_label("Choose d")).to_be_checked()
    expect(page.get_by_text("Selected: 1")).to_be_visible()
    expect(page).to_have_url(re.compile(r"\?q=title$"))
    # What was asked before the list was new may still be answered.
    asks = page.locator("#inbox-news").get_attribute("hx-get") or "nothing"
    with page.expect_response(lambda response: response.url.endswith(asks)) as response:
        look(page)
    assert "new question" not in response.value.text()


def test_empty_list_fills_itself_and_leaves_alone_what_is_typed(
    page: Page, live_server_asgi: LiveServer, mia
) -> None:
    page.goto(f"{live_server_asgi}/inbox/?q=invoice")
    field = page.get_by_label("Text")
    field.press("End")
    expect(page.get_by_text("No question matches.")).to_be_visible()

    ask("a", title="An offer", users=["mia"])
    ask("b", title="An invoice", users=["mia"])
    look(page)

    expect(page.locator(".card-row")).to_have_count(1)
    expect(field).to_be_focused()
    expect(field).to_have_value("invoice")
