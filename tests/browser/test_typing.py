"""Live updates do not disturb: what is typed stays, news is said once, requests never overlap."""

import itertools
from collections.abc import Callable, Iterator

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from playwright.sync_api import Page, Route, expect

from dashboard import streams
from dashboard.answering import Actor, Answer
from dashboard.decisions import decide
from tests.browser.conftest import LiveServer
from tests.browser.signing_in import give_session
from tests.dashboard import factories
from tests.dashboard.people import ask, make_user, settle, task_url

pytestmark = pytest.mark.once

TEXT = "The drawer of the third desk is missing; Jon says that it comes on Friday, with the lamp. "

# What was heard of the server since, by way of the parts that refresh themselves.
COUNT_ROUNDS = """() => {
  window.rounds = 0;
  document.addEventListener("htmx:after:request", ({detail}) => {
    if (detail.ctx.request.action.includes(window.counted)) window.rounds += 1;
  });
}"""

# Everything that a screen reader is told by itself, as it changes.
LISTEN = """() => {
  window.said = [];
  const live = "[role=status], [role=alert], [aria-live]";
  const say = (region) => {
    const text = region.textContent.replace(/\\s+/g, " ").trim();
    if (text) window.said.push(text);
  };
  new MutationObserver((changes) => {
    const regions = new Set(changes
      .filter(({type, addedNodes}) => type === "characterData" || addedNodes.length)
      .map(({target}) => (target.closest ? target : target.parentElement)?.closest(live)));
    for (const region of regions) if (region?.checkVisibility()) say(region);
  }).observe(document.body, {childList: true, characterData: true, subtree: true});
}"""


# As if another tab came to the front, or went back.
HIDE = """(isHidden) => {
  Object.defineProperty(document, "hidden", {value: isHidden, configurable: true});
  document.dispatchEvent(new Event("visibilitychange"));
}"""


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stream tells at once what it would otherwise collect for a second."""
    monkeypatch.setattr(streams, "DEBOUNCE_S", 0.001)
    monkeypatch.setattr(streams, "QUIET_S", 0.001)
    monkeypatch.setattr(streams, "WATCH_S", 0.001)


@pytest.fixture
def mia(page: Page, live_server_asgi: LiveServer) -> Page:
    make_user("mia", groups=("finance",), rights=("view_executions", "cancel_executions"))
    make_user("jon", groups=("finance",))
    give_session(page.context, str(live_server_asgi), "mia")
    return page


def count(page: Page, address: str) -> Callable[[], None]:
    """Return what waits until an address was asked once more than before."""
    page.evaluate("address => window.counted = address", address)
    page.evaluate(COUNT_ROUNDS)
    seen = itertools.count(1)

    def wait() -> None:
        page.wait_for_function("least => window.rounds >= least", arg=next(seen))

    return wait


@pytest.mark.parametrize("updates", [15, pytest.param(100, marks=pytest.mark.slow)])
@pytest.mark.timeout(180)
def test_typing_survives_updates(mia: Page, live_server_asgi, updates: int) -> None:
    ask(
        "q",
        title="Pay invoice 4711",
        groups=["finance"],
        form={
            "type": "object",
            "properties": {
                "note": {"type": "string", "title": "For the books"},
                "how": {"enum": ["all", "part"], "title": "How"},
            },
        },
    )
    mia.goto(f"{live_server_asgi}{task_url('q')}")
    mia.get_by_label("How").select_option("part")
    note = mia.get_by_label("For the books")
    note.fill("unsaved")
    comment = mia.get_by_label("Comment")
    comment.fill(" -- the end")
    comment.press("Home")
    comment.evaluate("field => { field.isTheSame = true }")
    updated = count(mia, "/inbox/changes/")

    for number in range(updates):
        if number % 3 == 2:
            settle(f"other-{number - 1}")
        else:
            ask(f"other-{number}", title=f"Other {number}", groups=["finance"])
        mia.keyboard.type(TEXT[number % len(TEXT)])
        updated()

    typed = "".join(TEXT[number % len(TEXT)] for number in range(updates))
    expect(comment).to_have_value(f"{typed} -- the end")
    expect(comment).to_be_focused()
    assert comment.evaluate("field => field.isTheSame && field.selectionStart") == len(typed)
    expect(note).to_have_value("unsaved")
    expect(mia.get_by_label("How")).to_have_value("part")


@pytest.mark.timeout(120)
def test_an_answer_on_the_page_of_an_execution_survives_its_updates(
    mia: Page, live_server_asgi
) -> None:
    run = factories.running("order-42")
    factories.ask(run, f"{run}:1", "Ship it?", groups=["finance"])
    child = factories.call(run, f"{run}:2")
    factories.suspend(run, f"{run}:1", child)
    factories.acquire(child)
    mia.goto(f"{live_server_asgi}/executions/{run}/")
    mia.get_by_role("button", name="Answer").click()
    comment = mia.get_by_label("Comment")
    comment.fill("bcd")
    comment.press("Home")
    comment.evaluate("field => { field.isTheSame = true }")
    updated = count(mia, f"/executions/{run}/")

    for number in range(10):
        factories.step(child, f"{child}:{number}", "reserve", number)
        updated()
    mia.keyboard.type("a")

    expect(comment).to_have_value("abcd")
    expect(comment).to_be_focused()
    assert comment.evaluate("field => field.isTheSame && field.selectionStart") == 1


def test_what_was_typed_stays_when_somebody_else_answers(mia: Page, live_server_asgi) -> None:
    ask("q", title="Pay invoice 4711", groups=["finance"])
    mia.goto(f"{live_server_asgi}{task_url('q')}")
    comment = mia.get_by_label("Comment")
    comment.fill("half a sen")

    decide("q", Actor(User.objects.get(username="jon")), Answer("approve"))

    expect(mia.get_by_text("It can no longer be answered")).to_be_visible()
    expect(comment).to_have_value("half a sen")
    expect(comment).to_be_focused()


def test_news_is_said_once(mia: Page, live_server_asgi) -> None:
    ask("q", title="Pay invoice 4711", groups=["finance"])
    make_user("eve")
    mia.goto(f"{live_server_asgi}/inbox/")
    mia.evaluate(LISTEN)
    updated = count(mia, "/inbox/changes/")

    with transaction.atomic():
        for number in range(3):
            ask(f"new-{number}", title=f"New {number}", groups=["finance"])
    expect(mia.get_by_role("button", name="Show 3 new questions")).to_be_visible()
    updated()
    for number in range(5):  # of somebody else: there is nothing to say
        ask(f"else-{number}", title="Else", users=["eve"])
        updated()

    assert mia.evaluate("window.said") == ["Show 3 new questions"]


class SlowServer:
    """Holds back what is asked of an address, and counts how much is asked at a time."""

    def __init__(self, page: Page, pattern: str) -> None:
        self._held: list[Route] = []
        self.asked = 0
        self.most = 0
        self._page = page
        page.route(pattern, self._hold)

    def _hold(self, route: Route) -> None:
        self._held.append(route)
        self.asked += 1
        self.most = max(self.most, len(self._held))

    def wait_for(self, asked: int) -> None:
        for _ in range(60):
            if self.asked >= asked:
                return
            self._page.clock.run_for(1000)
        message = f"asked {self.asked} times in a minute, not {asked}"
        raise AssertionError(message)

    def answer(self) -> None:
        for route in self._held:
            route.continue_()
        self._held.clear()


@pytest.fixture
def without_stream(mia: Page) -> Iterator[Page]:
    """A page whose stream does not come about, on a clock that the test moves."""
    mia.route("**/live/**", lambda route: route.abort())
    mia.clock.install()
    return mia


@pytest.mark.parametrize("address", ["/inbox/", task_url("q"), "/executions/"])
def test_polls_do_not_overlap_however_slow_the_server(
    without_stream: Page, live_server_asgi, address: str
) -> None:
    page = without_stream
    ask("q", title="Pay invoice 4711", groups=["finance"])
    factories.running("order-42")
    page.goto(f"{live_server_asgi}{address}")
    parts = {
        "/inbox/": ["**/inbox/changes/**", "**/inbox/badge/**"],
        task_url("q"): ["**/inbox/*/state/**", "**/inbox/changes/**"],
        "/executions/": ["**/executions/"],
    }[address]
    servers = [SlowServer(page, part) for part in parts]

    for server in servers:
        server.wait_for(1)
    page.clock.run_for(40_000)  # four times as long as a part waits between two looks
    assert [server.most for server in servers] == [1] * len(servers)
    assert [server.asked for server in servers] == [1] * len(servers)

    for server in servers:
        server.answer()
    for server in servers:
        server.wait_for(2)
        assert server.most == 1


def test_polls_come_more_and_more_rarely_while_they_fail(
    without_stream: Page, live_server_asgi
) -> None:
    page, asked, statuses = without_stream, [], itertools.chain([500] * 6, itertools.repeat(204))
    page.goto(f"{live_server_asgi}/inbox/")

    def answer(route: Route) -> None:
        asked.append(now(page))
        route.fulfill(status=next(statuses))

    page.route("**/inbox/badge/**", answer)
    tick_until(page, lambda: len(asked) == 9)

    pauses = [round((later - one) / 10_000) for one, later in itertools.pairwise(asked)]
    assert pauses == [2, 4, 8, 16, 16, 16, 1, 1]


def test_nobody_is_asked_while_the_tab_is_hidden(without_stream: Page, live_server_asgi) -> None:
    page, asked = without_stream, []
    page.goto(f"{live_server_asgi}/inbox/")
    page.route("**/inbox/**", lambda route: (asked.append(route.request.url), route.continue_()))

    page.evaluate(HIDE, True)
    page.clock.run_for(120_000)
    assert asked == []
    page.evaluate(HIDE, False)
    tick_until(page, lambda: asked)


def now(page: Page) -> float:
    return float(page.evaluate("() => performance.now()"))


def tick_until(page: Page, condition: Callable[[], object]) -> None:
    """Let the page's clock go on, while no request is under way, for twenty minutes at most."""
    for _second in range(1200):
        if condition():
            return
        page.clock.run_for(1000)
        while page.evaluate("() => document.querySelector('.htmx-request') !== null"):
            pass
    message = "it did not happen in twenty minutes of the page"
    raise AssertionError(message)
