"""What one is told of and when, chosen on a phone without scripts."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from dashboard.models import NotificationPreference
from tests.browser.conftest import LiveServer
from tests.dashboard.people import make_user

pytestmark = pytest.mark.once

PHONE = {"width": 320, "height": 640}
PAGE = "account/notifications/"


@pytest.fixture
def site(live_server_asgi: LiveServer, settings) -> LiveServer:
    settings.SIGNOFF_BASE_URL = str(live_server_asgi)
    settings.SIGNOFF_CHANNELS = [{"channel": "mail"}]
    mia = make_user("mia", email="mia@example.org")
    NotificationPreference.objects.create(user=mia, channel="mail", muted_types=["invoice"])
    return live_server_asgi


@pytest.fixture
def phone(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport=PHONE, java_script_enabled=False)  # type: ignore[arg-type]
    yield context.new_page()
    context.close()


def open_page(page: Page, site: LiveServer) -> None:
    page.goto(f"{site}/{PAGE}")
    page.get_by_label("Username").fill("mia")
    page.get_by_label("Password").fill("mia")
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{site}/{PAGE}")


def test_a_digest_is_chosen_with_the_keyboard(phone: Page, site: LiveServer) -> None:
    open_page(phone, site)
    for element in phone.locator("main *:visible").all():
        found = element.bounding_box()
        assert found is None or found["x"] + found["width"] <= PHONE["width"]

    phone.get_by_label("A message for each question, at once").focus()
    phone.keyboard.press("ArrowDown")
    phone.get_by_role("button", name="Save").click()
    expect(phone.get_by_role("main").get_by_role("alert")).to_have_text("Choose at least one hour.")
    phone.get_by_label("08:00").focus()
    phone.keyboard.press("Space")
    phone.keyboard.press("Enter")

    expect(phone.get_by_role("main").get_by_role("status")).to_have_text("Saved.")
    expect(phone.get_by_label("08:00")).to_be_checked()
    assert NotificationPreference.objects.get().digest_hours == [8]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_passes_axe(page: Page, site: LiveServer, axe_script: str, scheme) -> None:
    page.emulate_media(color_scheme=scheme)
    open_page(page, site)
    page.evaluate(axe_script)

    result = page.evaluate("axe.run(document, {resultTypes: ['violations']})")

    assert [(one["id"], one["nodes"][0]["html"]) for one in result["violations"]] == []
