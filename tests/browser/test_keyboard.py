"""Everything without a pointer, and what keys do not do."""

import re

import pytest
from playwright.sync_api import Browser, Page, expect

from dashboard.models import AuditEntry, Preference
from durable.models import Promise
from durable.protocol.states import PromiseState
from tests.browser.conftest import LiveServer
from tests.dashboard.people import ask, make_user

pytestmark = pytest.mark.once

PENDING = PromiseState.PENDING


@pytest.fixture
def mia(live_server_asgi: LiveServer):
    return make_user("mia", first_name="Mia", rights=("view_executions",))


@pytest.fixture
def inbox(page: Page, live_server_asgi: LiveServer, mia) -> Page:
    """The inbox with three questions; nothing has gone wrong in it when the test is over."""
    for name in ("a", "b", "c"):
        ask(name, users=["mia"], title=f"Title {name}")
    open_inbox(page, live_server_asgi)
    return page


def open_inbox(page: Page, server: LiveServer) -> None:
    page.goto(f"{server}/inbox/")
    page.get_by_label("Username").fill("mia")
    page.get_by_label("Password").fill("mia")
    page.keyboard.press("Enter")
    expect(page.locator("[data-inbox]")).to_be_visible()
    page.wait_for_load_state()  # keys work when the scripts are there


def state(promise_id: str) -> str:
    return Promise.objects.get(pk=promise_id).state


def open_first(page: Page) -> None:
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page.locator(".task")).to_have_attribute("data-task", "a")


@pytest.mark.slow
@pytest.mark.parametrize("advances", [False, True])
def test_ten_questions_are_cleared_without_a_pointer(
    page: Page, live_server_asgi, mia, advances
) -> None:
    Preference.objects.create(user=mia, advances=advances)
    for number in range(10):
        ask(f"q-{number}", users=["mia"], title=f"Title {number}")
    open_inbox(page, live_server_asgi)

    page.keyboard.press("j")
    page.keyboard.press("Enter")
    for number in range(10):
        # The question has the focus: a key goes to its answer, and the next one gives it.
        expect(page.locator(".task")).to_have_attribute("data-task", f"q-{number}")
        expect(page.locator(".task-title")).to_be_focused()
        is_yes = number % 3 != 0
        page.keyboard.press("a" if is_yes else "r")
        expect(page.locator(".answer.is-chosen")).to_be_focused()
        expect(page.get_by_text("Enter confirms, Esc goes back.")).to_be_visible()
        assert state(f"q-{number}") == PENDING
        page.keyboard.press("Enter")
        deed = f"You {'approved' if is_yes else 'rejected'} this"
        if number == 9:
            expect(page.locator(".result")).to_contain_text(deed)
        elif advances:
            expect(
                page.get_by_role("status").get_by_text(f"{deed}: Title {number}")
            ).to_be_visible()
        else:
            expect(page.locator(".result")).to_contain_text(deed)
            expect(page.get_by_role("button", name="Next question")).to_be_focused()
            page.keyboard.press("Enter")
    expect(page.get_by_text("That was the last one")).to_be_visible()
    expect(page).to_have_url(re.compile(r"/inbox/q-9/"))
    assert not Promise.objects.filter(
        state=PENDING, is_external=True, tags__has_key="resonate:external"
    ).exists()
    assert (
        AuditEntry.objects.filter(is_effective=True, action__in=["approve", "reject"]).count() == 10
    )


def test_moving_ticking_and_going_back(inbox: Page) -> None:
    inbox.keyboard.press("j")
    inbox.keyboard.press("j")
    expect(inbox.get_by_role("link", name="Title b")).to_be_focused()
    inbox.keyboard.press("x")
    expect(inbox.get_by_label("Choose Title b")).to_be_checked()
    inbox.keyboard.press("k")
    inbox.keyboard.press("k")
    expect(inbox.get_by_role("link", name="Title a")).to_be_focused()
    inbox.keyboard.press("Enter")
    expect(inbox.locator(".task-title")).to_be_focused()
    inbox.keyboard.press("r")
    expect(inbox.locator(".answer.is-chosen")).to_have_text(re.compile("Reject"))
    inbox.keyboard.press("Escape")
    expect(inbox.get_by_role("link", name="Title a")).to_be_focused()
    expect(inbox.locator(".answer.is-chosen")).to_have_count(0)


def test_a_key_on_a_card_opens_it_and_goes_to_the_answer(inbox: Page) -> None:
    inbox.keyboard.press("j")
    inbox.keyboard.press("j")
    inbox.keyboard.press("r")
    expect(inbox.locator(".task")).to_have_attribute("data-task", "b")
    expect(inbox.locator(".answer.is-chosen")).to_be_focused()
    assert state("b") == PENDING


def test_taking_on_and_a_comment_sent_with_ctrl_enter(inbox: Page) -> None:
    open_first(inbox)
    inbox.keyboard.press("c")
    expect(inbox.get_by_text("Taken on by you")).to_be_visible()
    expect(inbox.locator(".task-title")).to_be_focused()
    inbox.keyboard.press("e")
    expect(inbox.get_by_label("Comment")).to_be_focused()
    inbox.keyboard.type("a rj?/ gi")
    # No answer was chosen yet: it goes to one, and gives none.
    inbox.keyboard.press("Control+Enter")
    expect(inbox.locator(".answer.is-chosen")).to_have_text(re.compile("Approve"))
    assert state("a") == PENDING
    inbox.keyboard.press("r")
    inbox.keyboard.press("e")
    inbox.keyboard.press("Control+Enter")
    expect(inbox.locator(".result")).to_contain_text("You rejected this")
    assert AuditEntry.objects.get(target="a", action="reject").reason == "a rj?/ gi"


def test_what_was_chosen_is_still_chosen_after_a_mistake(page: Page, live_server_asgi, mia) -> None:
    ask(
        "a",
        users=["mia"],
        answers=["approve", {"name": "reject", "comment": "required"}],
    )
    open_inbox(page, live_server_asgi)
    open_first(page)
    page.keyboard.press("r")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert").first).to_be_visible()
    page.get_by_label("Comment").focus()
    page.keyboard.type("too dear")
    page.keyboard.press("Control+Enter")
    expect(page.locator(".result")).to_contain_text("You rejected this")


def test_a_remark_is_sent_with_ctrl_enter(inbox: Page) -> None:
    open_first(inbox)
    inbox.get_by_text("Remark", exact=True).focus()
    inbox.keyboard.press("Enter")
    inbox.get_by_label("Text", exact=True).nth(-1).focus()
    inbox.keyboard.type("have a look")
    inbox.keyboard.press("Control+Enter")
    expect(inbox.get_by_role("blockquote")).to_have_text("have a look")
    assert state("a") == PENDING


def test_searching_going_elsewhere_and_help(inbox: Page) -> None:
    inbox.keyboard.press("/")
    expect(inbox.get_by_label("Find an execution by its id")).to_be_focused()
    inbox.keyboard.type("jx?")
    expect(inbox.get_by_label("Find an execution by its id")).to_have_value("jx?")
    inbox.keyboard.press("Escape")
    inbox.keyboard.press("?")
    help_of_keys = inbox.get_by_role("dialog", name="Keyboard")
    expect(help_of_keys).to_be_visible()
    # Nothing happens behind it.
    inbox.keyboard.press("g")
    inbox.keyboard.press("e")
    inbox.keyboard.press("j")
    expect(inbox.locator(".card:focus")).to_have_count(0)
    inbox.keyboard.press("Escape")
    expect(help_of_keys).to_be_hidden()
    expect(inbox).to_have_url(re.compile("/inbox/"))
    inbox.keyboard.press("g")
    inbox.keyboard.press("e")
    expect(inbox).to_have_url(re.compile("/executions/"))
    inbox.keyboard.press("g")
    inbox.keyboard.press("i")
    expect(inbox).to_have_url(re.compile("/inbox/"))


def test_deciders_search_their_questions(page: Page, live_server_asgi, mia) -> None:
    mia.user_permissions.clear()
    ask("a", users=["mia"])
    open_inbox(page, live_server_asgi)
    page.keyboard.press("/")
    expect(page.locator(".filters [name=q]")).to_be_focused()


def test_single_keys_can_be_turned_off(inbox: Page, live_server_asgi) -> None:
    inbox.goto(f"{live_server_asgi}/preferences/")
    inbox.get_by_label("Single-key shortcuts").press("Space")
    inbox.get_by_role("button", name="Save").press("Enter")
    expect(inbox.get_by_text("Saved.")).to_be_visible()
    inbox.goto(f"{live_server_asgi}/inbox/")
    for key in ("j", "/", "?", "x"):
        inbox.keyboard.press(key)
    expect(inbox.locator(":focus")).to_have_count(0)
    expect(inbox.get_by_role("dialog")).to_have_count(0)
    inbox.get_by_role("link", name="Title a").press("Enter")
    expect(inbox.locator(".task-title")).to_be_focused()
    inbox.keyboard.press("a")
    expect(inbox.locator(".answer.is-chosen")).to_have_count(0)
    # What needs another key with it still works.
    inbox.get_by_label("Comment").focus()
    inbox.keyboard.press("Control+Enter")
    expect(inbox.locator(".answer.is-chosen")).to_be_focused()


def test_enter_in_a_field_gives_no_answer(browser: Browser, live_server_asgi, mia) -> None:
    form = {"type": "object", "properties": {"n": {"type": "integer", "title": "Number"}}}
    ask("a", users=["mia"], form=form)
    context = browser.new_context(java_script_enabled=False, locale="en-GB")
    try:
        page = context.new_page()
        open_inbox(page, live_server_asgi)
        page.get_by_role("link", name="Title of a").press("Enter")
        page.get_by_label("Number").press("Enter")
        expect(page.get_by_label("Number")).to_be_visible()
        assert state("a") == PENDING
    finally:
        context.close()


def test_next_question_without_javascript(browser: Browser, live_server_asgi, mia) -> None:
    for name in ("a", "b"):
        ask(name, users=["mia"], title=f"Title {name}")
    context = browser.new_context(java_script_enabled=False, locale="en-GB")
    try:
        page = context.new_page()
        open_inbox(page, live_server_asgi)
        page.get_by_role("link", name="Title a").press("Enter")
        page.get_by_role("button", name="Approve").press("Enter")
        expect(page.locator(".result")).to_contain_text("You approved this")
        expect(page.get_by_role("button", name="Next question")).to_be_focused()
        page.keyboard.press("Enter")
        expect(page.locator(".task-title")).to_have_text("Title b")
    finally:
        context.close()


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_pages_pass_axe(inbox: Page, live_server_asgi, axe_script: str, scheme) -> None:
    inbox.emulate_media(color_scheme=scheme)
    save = "/views/save/?place=inbox&query=tab%3Danswer%26q%3DTitle"
    inbox.goto(f"{live_server_asgi}{save}")
    inbox.get_by_label("Name").fill("Titles")
    inbox.keyboard.press("Enter")
    expect(inbox.locator(".views .view[aria-current]")).to_have_text("Titles")
    for path in ("", save, "/views/", "/preferences/", "?"):
        if path == "?":
            inbox.keyboard.press("?")
        elif path:
            inbox.goto(f"{live_server_asgi}{path}")
        inbox.evaluate(axe_script)
        result = inbox.evaluate("axe.run(document, {resultTypes: ['violations']})")
        assert [(path, one["id"], one["nodes"][0]["html"]) for one in result["violations"]] == []
