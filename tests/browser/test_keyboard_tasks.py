"""Six tasks by keyboard alone; every stop on the way is in sight and shows its focus."""

import pytest
from playwright.sync_api import Locator, Page, expect

from durable.models import Promise
from durable.protocol.states import PromiseState
from tests.browser.conftest import LiveServer
from tests.browser.signing_in import give_session
from tests.dashboard import factories
from tests.dashboard.people import ask, make_user, task_url, unpack

pytestmark = pytest.mark.once

MANY = 90
"""No page has more stops before what somebody wants to reach."""

# Why whoever looks at the screen could not tell where the focus is; empty when they can.
UNSEEN = """() => {
  const at = document.activeElement;
  if (!at || at === document.body) return "nothing has the focus";
  const isRinged = [at, at.closest("label")].filter(Boolean).map((one) => getComputedStyle(one))
    .some((style) =>
    (style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2) ||
    style.boxShadow !== "none");
  const what = at.outerHTML.slice(0, 160);
  if (!isRinged) return `no sign of focus: ${what}`;
  const {top, bottom, left, right} = at.getBoundingClientRect();
  if (bottom <= 0 || top >= innerHeight || right <= 0 || left >= innerWidth) {
    return `out of sight: ${what}`;
  }
  const over = document.elementFromPoint((left + right) / 2, (top + bottom) / 2);
  if (over && !at.contains(over) && !over.contains(at) && !over.closest("label")?.contains(at)) {
    return `hidden behind ${over.outerHTML.slice(0, 80)}: ${what}`;
  }
  return "";
}"""


@pytest.fixture
def mia(page: Page, live_server_asgi: LiveServer) -> Page:
    make_user("mia", groups=("finance",), rights=("view_executions", "cancel_executions"))
    give_session(page.context, str(live_server_asgi), "mia")
    return page


def tab_to(page: Page, wanted: Locator, key: str = "Tab") -> None:
    """Go on until something has the focus."""
    for _ in range(MANY):
        page.keyboard.press(key)
        assert page.evaluate(UNSEEN) == ""
        if wanted.evaluate("element => element === document.activeElement"):
            return
    message = f"the keyboard does not lead to {wanted}"
    raise AssertionError(message)


def button(page: Page, name: str) -> Locator:
    return page.get_by_role("button", name=name)


def test_signing_in_and_skipping_to_the_content(page: Page, live_server_asgi) -> None:
    make_user("mia", groups=("finance",))
    ask("q", title="Pay invoice 4711", groups=["finance"])
    page.goto(f"{live_server_asgi}/")
    expect(page.get_by_label("Username")).to_be_focused()
    page.keyboard.type("mia")
    tab_to(page, page.get_by_label("Password"))
    page.keyboard.type("mia")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1, name="Inbox")).to_be_visible()

    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    assert page.evaluate(UNSEEN) == ""
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('main') !== null")


def test_reading_a_question_and_approving_it_with_a_comment(mia: Page, live_server_asgi) -> None:
    ask("q", title="Pay invoice 4711", groups=["finance"])
    mia.goto(f"{live_server_asgi}/inbox/")
    tab_to(mia, mia.get_by_role("link", name="Pay invoice 4711"))
    mia.keyboard.press("Enter")
    expect(mia.get_by_role("heading", name="Pay invoice 4711")).to_be_focused()
    tab_to(mia, mia.get_by_label("Comment"))
    mia.keyboard.type("as agreed")
    tab_to(mia, button(mia, "Approve"))
    mia.keyboard.press("Enter")

    expect(mia.locator(".result-line")).to_be_focused()
    expect(mia.locator(".result-line")).to_contain_text("You approved this")
    assert unpack(Promise.objects.get(pk="q").value_data)["comment"] == "as agreed"


def test_filling_in_a_form_and_mending_it(mia: Page, live_server_asgi) -> None:
    form = {
        "type": "object",
        "properties": {
            "how": {"enum": ["all", "part"], "title": "How"},
            "amount": {"type": "integer", "title": "Amount"},
            "sure": {"type": "boolean", "title": "Sure"},
        },
        "required": ["how", "amount"],
    }
    ask("q", title="Refund?", groups=["finance"], form=form)
    ask("next", title="The next one", groups=["finance"])
    mia.goto(f"{live_server_asgi}{task_url('q')}")
    tab_to(mia, mia.get_by_label("How"))
    mia.keyboard.press("p")
    tab_to(mia, mia.get_by_label("Sure"))
    mia.keyboard.press("Space")
    tab_to(mia, button(mia, "Approve"))
    mia.keyboard.press("Space")

    summary = mia.get_by_role("alert").filter(has_text="could not be sent")
    expect(summary).to_be_focused()
    tab_to(mia, summary.get_by_role("link", name="Amount"))
    mia.keyboard.press("Enter")
    expect(mia.get_by_label("Amount")).to_be_focused()
    mia.keyboard.type("12")
    tab_to(mia, button(mia, "Approve"))
    mia.keyboard.press("Enter")

    expect(mia.get_by_text("You approved this").first).to_be_visible()
    expect(mia.get_by_role("button", name="Next question")).to_be_focused()
    values = unpack(Promise.objects.get(pk="q").value_data)["values"]
    assert values == {"how": "part", "amount": 12, "sure": True}


def test_taking_on_and_giving_back(mia: Page, live_server_asgi) -> None:
    ask("q", title="Pay invoice 4711", groups=["finance"])
    mia.goto(f"{live_server_asgi}{task_url('q')}")
    tab_to(mia, button(mia, "Take it on"))
    mia.keyboard.press("Enter")
    expect(mia.get_by_text("Taken on by you", exact=True)).to_be_visible()
    assert mia.evaluate("document.activeElement !== document.body")

    tab_to(mia, mia.locator("summary").filter(has_text="Give it back or hand it over"))
    mia.keyboard.press("Enter")
    tab_to(mia, button(mia, "Give it back"))
    mia.keyboard.press("Enter")
    expect(button(mia, "Take it on")).to_be_visible()


def test_narrowing_the_list_and_answering_several(mia: Page, live_server_asgi) -> None:
    for number in (1, 2):
        ask(f"q{number}", title=f"Expense {number}", groups=["finance"], type="expense")
    ask("other", title="Something else", groups=["finance"])
    mia.goto(f"{live_server_asgi}/inbox/")
    tab_to(mia, mia.locator("summary").filter(has_text="Filter"))
    mia.keyboard.press("Enter")
    tab_to(mia, mia.get_by_label("Text", exact=True))
    mia.keyboard.type("Expense")
    expect(mia.get_by_text("Something else")).to_have_count(0)
    expect(mia.get_by_label("Text", exact=True)).to_be_focused()
    for number in (1, 2):
        tab_to(mia, mia.get_by_label(f"Choose Expense {number}"))
        mia.keyboard.press("Space")
    tab_to(mia, button(mia, "Answer the ticked ones"))
    mia.keyboard.press("Enter")
    expect(mia.get_by_role("heading", name="Answer 2 questions")).to_be_visible()
    tab_to(mia, button(mia, "Reject (2)"))
    mia.keyboard.press("Enter")
    expect(mia.get_by_text("2 of 2 are still to be answered.")).to_be_visible()


def test_looking_into_an_execution_and_cancelling_it(mia: Page, live_server_asgi) -> None:
    run = factories.running("order-42")
    factories.step(run, f"{run}:1", "reserve", 7)
    mia.goto(f"{live_server_asgi}/inbox/")
    mia.keyboard.press("g")
    mia.keyboard.press("e")
    expect(mia.get_by_role("heading", name="Executions")).to_be_visible()
    tab_to(mia, mia.get_by_role("link", name="order-42"))
    mia.keyboard.press("Enter")
    mia.wait_for_url(f"**/executions/{run}/")
    step = mia.get_by_role("link", name="reserve")
    tab_to(mia, step)
    mia.keyboard.press("Enter")
    expect(mia.get_by_role("heading", name="reserve")).to_be_visible()
    tab_to(mia, button(mia, "Cancel…"), "Shift+Tab")
    mia.keyboard.press("Enter")
    expect(mia.get_by_role("heading", name="Cancel this execution?")).to_be_visible()
    tab_to(mia, mia.get_by_label("Reason"))
    mia.keyboard.type("not needed any more")
    tab_to(mia, button(mia, "Cancel the execution"))
    mia.keyboard.press("Enter")

    expect(mia.get_by_text("Cancelled").first).to_be_visible()
    assert Promise.objects.get(pk=run).state == PromiseState.REJECTED_CANCELED
