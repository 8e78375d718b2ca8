"""A personal link in a browser: on a phone without scripts, and on a desk with a login between."""

from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect

from dashboard import links
from dashboard.models import AuditEntry, HumanTask, SignIn
from durable.models import Promise
from durable.protocol.states import PromiseState
from tests.browser.conftest import LiveServer
from tests.dashboard.people import ask, make_user, unpack

pytestmark = pytest.mark.once

PHONE = {"width": 320, "height": 640}


@pytest.fixture
def bound(live_server_asgi: LiveServer, settings) -> LiveServer:
    settings.SIGNOFF_LINKS, settings.SIGNOFF_BASE_URL = "bound", str(live_server_asgi)
    return live_server_asgi


@pytest.fixture
def link(bound: LiveServer) -> str:
    mia = make_user("mia", email="mia@example.org", first_name="Mia")
    ask(
        "q",
        title="Pay invoice 4711 to Acme",
        users=["mia"],
        facts={"Amount": "4,200.00 EUR", "Supplier": "Acme"},
        consequence="Pays 4,200.00 EUR at once.",
        form={
            "type": "object",
            "required": ["n"],
            "properties": {"n": {"type": "integer", "title": "Packages"}},
        },
    )
    return links.make_link(HumanTask.objects.get(pk="q"), mia)


@pytest.fixture
def phone(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport=PHONE, java_script_enabled=False)  # type: ignore[arg-type]
    yield context.new_page()
    context.close()


@pytest.fixture
def desk(page: Page) -> list[str]:
    """What the page complains about."""
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    return complaints


def test_on_a_phone_without_scripts_and_without_an_account(phone: Page, link: str) -> None:
    sites: set[str] = set()
    phone.on("request", lambda request: sites.add(urlsplit(request.url).netloc))

    phone.goto(link)
    expect(phone.get_by_role("heading", name="Pay invoice 4711 to Acme")).to_be_visible()
    expect(phone.get_by_text("You are answering as mia@example.org")).to_be_visible()
    expect(phone.get_by_role("navigation")).to_have_count(0)
    assert Promise.objects.get(pk="q").state == PromiseState.PENDING

    phone.get_by_label("Comment").fill("as agreed")
    phone.get_by_role("button", name="Approve").click()
    expect(phone.get_by_role("main").get_by_role("alert")).to_contain_text("could not be sent")
    expect(phone.get_by_label("Comment")).to_have_value("as agreed")

    phone.get_by_label("Packages").fill("3")
    phone.get_by_role("button", name="Approve").click()
    expect(phone.get_by_text("You approved this").first).to_be_visible()

    assert phone.url == link
    assert unpack(Promise.objects.get(pk="q").value_data)["values"] == {"n": 3}
    assert AuditEntry.objects.get(target="q").sign_in == SignIn.LINK
    assert sites == {urlsplit(link).netloc}
    phone.reload()
    expect(phone.get_by_role("button")).to_have_count(0)


def test_nothing_is_wider_than_a_phone(phone: Page, link: str) -> None:
    phone.goto(link)

    box = phone.locator("main").bounding_box()
    assert box is not None
    assert box["width"] <= PHONE["width"]
    for element in phone.locator("main *:visible").all():
        found = element.bounding_box()
        assert found is None or found["x"] + found["width"] <= PHONE["width"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_passes_axe(page: Page, link: str, axe_script: str, scheme) -> None:
    page.emulate_media(color_scheme=scheme)
    page.goto(link)
    page.evaluate(axe_script)

    result = page.evaluate("axe.run(document, {resultTypes: ['violations']})")

    assert [(one["id"], one["nodes"][0]["html"]) for one in result["violations"]] == []


def test_with_scripts_nothing_asks_for_a_login(page: Page, link: str, desk: list[str]) -> None:
    paths: list[str] = []
    page.on("request", lambda request: paths.append(urlsplit(request.url).path))
    page.goto(link)
    page.get_by_label("Packages").fill("3")
    page.get_by_role("button", name="Approve").click()

    expect(page.get_by_text("You approved this").first).to_be_visible()
    assert {one for one in paths if not one.startswith("/static/")} == {urlsplit(link).path}
    assert desk == []


def test_somebody_else_signs_out_and_the_recipient_in(
    page: Page, bound, link: str, settings
) -> None:
    settings.SIGNOFF_LINKS = "login"
    make_user("jon")
    sign_in(page, f"{bound}/", "jon")
    response = page.goto(link)
    assert response is not None
    assert response.status == 403
    expect(page.get_by_role("heading", name="This link is for Mia.")).to_be_visible()
    expect(page.get_by_text("Acme")).to_have_count(0)

    page.get_by_role("button", name="Sign out").click()
    sign_in(page, "", "mia")
    expect(page.get_by_text("You are answering as mia@example.org")).to_be_visible()
    page.get_by_label("Packages").fill("3")
    page.get_by_role("button", name="Reject").click()

    expect(page.get_by_text("You rejected this").first).to_be_visible()
    assert Promise.objects.get(pk="q").state == PromiseState.REJECTED


def sign_in(page: Page, address: str, name: str) -> None:
    if address:
        page.goto(address)
    page.get_by_label("Username").fill(name)
    page.get_by_label("Password").fill(name)
    page.get_by_role("button", name="Sign in").click()
