"""Ways in: with a session, or through the page."""

from django.conf import settings
from django.contrib.auth.models import User
from django.test import Client
from playwright.sync_api import BrowserContext, Page


def give_session(context: BrowserContext, site: str, username: str) -> None:
    """Let a browser be signed in as somebody."""
    client = Client()
    client.force_login(User.objects.get(username=username))
    name = settings.SESSION_COOKIE_NAME
    context.add_cookies([{"name": name, "value": client.cookies[name].value, "url": site}])


def fill_in(page: Page, name: str) -> None:
    """Sign in on the page that asks for it; passwords of tests are names."""
    page.get_by_label("Username").fill(name)
    page.get_by_label("Password").fill(name)
    page.get_by_role("button", name="Sign in").click()
