"""Pages that are read from right to left: nothing sticks out, and what was left is right."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from dashboard.answering import Actor, Answer
from dashboard.decisions import decide
from tests.browser.conftest import LiveServer
from tests.browser.signing_in import give_session
from tests.dashboard import factories, hooks, people, pseudo
from tests.dashboard.people import ask, iso, make_user, task_url

pytestmark = pytest.mark.once

PHONE, DESK = {"width": 320, "height": 640}, {"width": 1280, "height": 800}
PAGES = (
    *("/inbox/", task_url("q"), task_url("voted"), "/away/", "/preferences/", "/executions/"),
    *("/executions/order-42/", "/executions/order-42/?tab=history", "/audit/", "/webhooks/"),
    *("/webhooks/reviews/", "/webhooks/reviews/edit/", "/account/notifications/", "/nowhere/"),
)
FORM = {
    "type": "object",
    "properties": {
        "much": {"enum": ["all", "part"], "title": "How much"},
        "amount": {"type": "integer", "title": "Amount", "minimum": 1},
    },
    "required": ["much"],
}
STICKS_OUT = """() => {
  const root = document.documentElement;
  if (root.scrollWidth <= root.clientWidth) return "";
  const far = [...document.querySelectorAll("body *")].filter(
    (one) => one.getBoundingClientRect().left < -1
      || one.getBoundingClientRect().right > root.clientWidth + 1);
  return far.map((one) => one.outerHTML.slice(0, 120)).join("\\n") || "something";
}"""


@pytest.fixture
def page(
    browser: Browser, live_server_asgi: LiveServer, settings, monkeypatch, tmp_path
) -> Iterator[Page]:
    language = pseudo.install(settings, monkeypatch, tmp_path, right_to_left=True)
    context = browser.new_context(
        base_url=str(live_server_asgi), locale=language, viewport=DESK, reduced_motion="reduce"
    )
    olga = make_user(
        "olga",
        groups=("finance",),
        rights=(
            *("view_executions", "settle_any", "cancel_executions", "manage_tasks"),
            *("manage_webhooks", "view_auditentry"),
        ),
    )
    give_session(context, str(live_server_asgi), "olga")
    _make_what_is_shown(olga)
    endpoint, body = hooks.make_endpoint(), hooks.pull_request()
    context.request.post("/hooks/reviews/", data=body, headers=hooks.headers_of(endpoint, body))
    yield context.new_page()
    context.close()


def _make_what_is_shown(olga) -> None:
    people.start_run("run", by=olga)
    ask(
        "q",
        title="Pay invoice 4711 to Acme",
        question="Is it right?",
        consequence="Pays 4,200 EUR.",
        context="**Half** was paid.\n\n- in May\n- in June",
        facts={"Amount": "4,200.00 EUR"},
        groups=["finance"],
        answers=["approve", "rework", "reject"],
        form=FORM,
        due=iso(3),
        expires=iso(9),
        on_expiry="approve",
    )
    two = {"all_of": [{"group": "finance", "count": 2}]}
    ask("voted", title="Several decide", policy=two)
    decide("voted", Actor(olga), Answer("approve", "fine"))
    run = factories.running("order-42", "fulfil", "42")
    factories.step(run, f"{run}:1", "reserve", {"shelf": 7})
    factories.ask(run, f"{run}:2", "Ship it?", groups=["finance"])
    factories.suspend(run, f"{run}:2")


def look(page: Page, path: str) -> None:
    response = page.goto(path)
    assert response is not None
    assert response.status == (404 if path == "/nowhere/" else 200), path


@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
def test_nothing_sticks_out(page: Page, size) -> None:
    page.set_viewport_size(size)
    for path in PAGES:
        look(page, path)

        assert page.evaluate("document.documentElement.dir") == "rtl", path
        assert page.evaluate(STICKS_OUT) == "", path


def test_german_words_fit_a_phone(page: Page, live_server_asgi: LiveServer) -> None:
    page.set_viewport_size(PHONE)
    page.context.add_cookies(
        [{"name": "django_language", "value": "de", "url": live_server_asgi.url}]
    )
    for path in PAGES:
        look(page, path)

        assert page.evaluate("document.documentElement.lang") == "de", path
        assert page.evaluate(STICKS_OUT) == "", path


def test_navigation_is_on_the_right(page: Page) -> None:
    page.goto("/inbox/")
    nav, main = page.locator(".sidenav").bounding_box(), page.locator("main").bounding_box()
    brand, menu = page.locator(".brand").bounding_box(), page.locator(".menu").bounding_box()
    assert nav
    assert main
    assert brand
    assert menu

    assert nav["x"] + nav["width"] == DESK["width"]
    assert main["x"] + main["width"] <= nav["x"]
    assert menu["x"] < brand["x"]

    page.set_viewport_size(PHONE)
    entries = [one.bounding_box() for one in page.locator(".sidenav li").all()]
    places = [box["x"] for box in entries if box]
    assert len(places) > 1
    assert places == sorted(places, reverse=True)


def test_arrows_are_mirrored_and_code_is_not(page: Page) -> None:
    page.goto("/executions/order-42/")

    expect(page.locator(".sidenav .icon.is-directed").first).to_have_css("scale", "-1 1")
    expect(page.locator(".sidenav .icon:not(.is-directed)").first).to_have_css("scale", "none")
    expect(page.locator("main code").first).to_have_css("direction", "ltr")
    expect(page.locator("table.tree .bar > svg").first).to_have_css("direction", "ltr")


def test_people_choose_a_language_in_the_menu(page: Page) -> None:
    page.goto("/inbox/?tab=done")
    page.locator(".menu > summary").click()
    page.get_by_role("button", name="Deutsch").click()

    expect(page.get_by_role("heading", name="Posteingang")).to_be_visible()
    assert page.url.endswith("/inbox/?tab=done")
    assert page.evaluate("document.documentElement.dir") == ""
    assert page.evaluate("document.documentElement.lang") == "de"
