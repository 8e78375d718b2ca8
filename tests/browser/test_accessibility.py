"""Every page in every state: axe, structure, motion, narrow screens. Each is loaded once.

A page that nobody made a state for, in ``gallery.py``, fails the test, and so does a template.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.test.signals import template_rendered
from django.urls import Resolver404, resolve, reverse
from playwright.sync_api import Browser, Error, Page

from tests.browser.conftest import LiveServer
from tests.browser.gallery import State, states
from tests.browser.signing_in import give_session
from tests.dashboard.world import routes

pytestmark = pytest.mark.once

DESK = {"width": 1280, "height": 800}
PHONE = {"width": 390, "height": 844}
NARROW = {"width": 320, "height": 640}
THUMB = 44
PATIENCE_MS = 5000
NAVIGATION_MS = 30_000
TEMPLATES = Path(__file__).parents[2] / "templates"

NO_PAGES = {
    "signoff:home": "leads to the inbox",
    "signoff:search": "leads to an execution",
    "signoff:find_execution": "leads to the address of an id",
    "signoff:find_task": "leads to the address of an id",
    "signoff:live": "a stream of events",
    "signoff:inbox_badge": "a number in the navigation",
    "signoff:inbox_changes": "part of the inbox, which the walk sees there",
    "signoff:task_state": "part of a question, which the walk sees there",
    "signoff:audit_download": "a file",
    "signoff:download_bulk": "a file",
}
"""Addresses that answer GET, and not with a page of their own."""

type Look = tuple[str, Mapping[str, int]]
LOOKS: Sequence[Look] = [("light", DESK), ("dark", PHONE)]
MORE_LOOKS: Sequence[Look] = [("dark", DESK), ("light", PHONE)]


STRUCTURE = """() => {
  const found = [];
  const all = (selector) => [...document.querySelectorAll(selector)];
  const isShown = (one) => one.checkVisibility({visibilityProperty: true});
  for (const [selector, number] of [["h1", 1], ["main", 1], ["#toasts[role=status]", 1]]) {
    if (all(selector).length !== number) found.push(`${all(selector).length} of ${selector}`);
  }
  if (!document.title.trim() || !document.documentElement.lang) found.push("title or lang");
  const [first] = all("a[href], button, input:not([type=hidden]), select, textarea, summary");
  if (first?.getAttribute("href") !== "#main") found.push("the skip link is not first");
  for (const one of all(".chip, main .mark[class*=hue-], .card-outcome, .result-line")) {
    const around = one.closest("td, th, li, p, .step-cell") ?? one;
    const words = around.textContent.trim() || one.querySelector("svg title, svg[aria-label]");
    if (isShown(one) && !(words && one.querySelector("svg"))) {
      found.push(`not both a word and a shape: ${one.outerHTML.slice(0, 200)}`);
    }
  }
  for (const one of all("*")) {
    const {transitionDuration, animationName, animationDuration} = getComputedStyle(one);
    const moves = [transitionDuration, animationName === "none" ? "0s" : animationDuration];
    if (moves.some((times) => times.split(",").some((time) => parseFloat(time) > 0.001))) {
      found.push(`moves all the same: ${one.outerHTML.slice(0, 120)}`);
      break;
    }
  }
  return found;
}"""

AXE = """async (theme) => {
  document.documentElement.dataset.theme = theme;
  scrollTo(0, 0);  // what sticks to the bottom covers what happens to be there
  const options = {resultTypes: ["violations"], preload: false};
  const {violations} = await axe.run(document, options);
  return violations.map((one) =>
    `axe, ${theme}: ${one.id} (${one.impact}): ${one.nodes[0].html.slice(0, 160)}`);
}"""

NARROWLY = """(least) => {
  const width = document.documentElement.clientWidth;
  const found = [...document.querySelectorAll(".answers button, .answers [role=button]")]
    .filter((one) => one.checkVisibility() && one.getBoundingClientRect().height < least)
    .map((one) => `too small to hit: ${one.outerHTML.slice(0, 160)}`);
  if (document.documentElement.scrollWidth <= width) return found;
  const wide = [...document.querySelectorAll("body *")].filter(
    (one) => one.checkVisibility() && one.getBoundingClientRect().right > width + 1);
  return [...found, ...wide.slice(-3).map((one) =>
    `wider than the screen: ${one.outerHTML.slice(0, 160)}`)];
}"""


class Walk:
    """Looks at pages as people; keeps what is wrong, and where it has been."""

    def __init__(self, browser: Browser, site: str, axe: str) -> None:
        self.found: list[str] = []
        self.names: set[str] = set()
        self._browser, self._site, self._axe = browser, site, axe
        self._pages: dict[str, Page] = {}

    def visit(self, state: State, looks: Sequence[Look]) -> None:
        page = self._page_of(state.user)
        page.set_viewport_size(DESK)  # type: ignore[arg-type]
        page.goto(state.path)
        try:
            state.act(page)
        except (AssertionError, Error) as error:
            self.found.append(f"{state.label}: {str(error).splitlines()[0]}")
        self._note_address(page)
        for problem in self._problems(page, looks, is_site=state.label != "broken"):
            self.found.append(f"{state.label}: {problem}")

    @staticmethod
    def _problems(page: Page, looks: Sequence[Look], *, is_site: bool) -> Iterator[str]:
        if is_site:
            yield from page.evaluate(STRUCTURE)
        for theme, size in looks:
            page.set_viewport_size(size)  # type: ignore[arg-type]
            yield from page.evaluate(AXE, theme)
        page.set_viewport_size(NARROW)  # type: ignore[arg-type]
        yield from page.evaluate(NARROWLY, THUMB)

    def _page_of(self, user: str) -> Page:
        if user not in self._pages:
            context = self._browser.new_context(
                base_url=self._site, reduced_motion="reduce", locale="en-GB", timezone_id="UTC"
            )
            if user:
                give_session(context, self._site, user)
            context.set_default_timeout(PATIENCE_MS)
            context.set_default_navigation_timeout(NAVIGATION_MS)
            context.add_init_script(self._axe)
            self._pages[user] = context.new_page()
        return self._pages[user]

    def _note_address(self, page: Page) -> None:
        with suppress(Resolver404):
            self.names.add(resolve(urlsplit(page.url).path).view_name)

    def pages_beside(self) -> Iterator[str]:
        """Yield the addresses that may answer with a page, and that nobody has looked at."""
        User.objects.create_superuser("root")
        browser = self._page_of("root").context.request
        for name, route in routes():
            site = name.partition(":")[0]
            is_nameless = name.endswith(":")
            if is_nameless or name in self.names or name in NO_PAGES or site in {"admin", ""}:
                continue
            address = reverse(name, kwargs=dict(_parameters(route)))
            response = browser.fetch(address, max_redirects=0)
            kind = response.headers.get("content-type", "")
            leads_on = 300 <= response.status < 400
            if response.status != 405 and not leads_on and kind.startswith("text/html"):
                yield f"{name} {response.status}"

    def end(self) -> None:
        for page in self._pages.values():
            page.context.close()


@pytest.fixture
def walk(
    browser: Browser, live_server_asgi: LiveServer, axe_script: str, settings
) -> Iterator[Walk]:
    settings.ROOT_URLCONF = "tests.browser.gallery"
    walk = Walk(browser, str(live_server_asgi), axe_script)
    yield walk
    walk.end()


@pytest.fixture
def rendered() -> Iterator[set[str]]:
    """Names of the templates that the server has filled in."""
    names: set[str] = set()

    def note(template: Any, **_kwargs: Any) -> None:
        names.add(template.name)

    template_rendered.connect(note)
    yield names
    template_rendered.disconnect(note)


@pytest.mark.parametrize("at_all", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.timeout(1800)
def test_every_page_in_every_state(
    walk: Walk, rendered: set[str], live_server_asgi, settings, at_all: bool
) -> None:
    """In all themes and widths, or by turns in the one or the other."""
    for number, state in enumerate(states(settings, str(live_server_asgi))):
        walk.visit(state, [*LOOKS, *MORE_LOOKS] if at_all else [LOOKS[number % 2]])

    assert walk.found == []
    assert sorted(walk.pages_beside()) == []
    there = {str(one.relative_to(TEMPLATES)) for one in TEMPLATES.rglob("*.html")}
    assert sorted(one for one in there - rendered if "/mail/" not in one) == []


def _parameters(route: str) -> Iterator[tuple[str, Any]]:
    """Yield a value of the right kind for each parameter of a pattern."""
    for kind, name in re.findall(r"<(?:(\w+):)?(\w+)>", route):
        yield name, {"int": 1, "uuid": UUID(int=1)}.get(kind, "x")
