"""On a phone, 320 px wide, with scripts switched off: the work of a decider from mail to result."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from dashboard import links
from dashboard.answering import Actor, Answer
from dashboard.decisions import decide
from dashboard.models import Comment, HumanTask
from durable.models import Promise
from durable.protocol.states import PromiseState
from tests.browser.conftest import LiveServer
from tests.browser.signing_in import fill_in, give_session
from tests.dashboard.people import ask, make_user, task_url, unpack

pytestmark = pytest.mark.once

PHONE = {"width": 320, "height": 640}
THUMB = 44
FORM = {
    "type": "object",
    "properties": {
        "much": {"enum": ["all", "part"], "title": "How much"},
        "amount": {"type": "integer", "title": "Amount", "minimum": 1},
        "sure": {"type": "boolean", "title": "Sure"},
    },
    "required": ["much", "amount"],
}
OFFER = {"customer": "Hansen Bakery", "price": 12_400, "discount": 12}


@pytest.fixture
def phone(browser: Browser, live_server_asgi: LiveServer) -> Iterator[Page]:
    context = browser.new_context(
        viewport=PHONE,  # type: ignore[arg-type]
        java_script_enabled=False,
        base_url=str(live_server_asgi),
        locale="en-GB",
        has_touch=True,
    )
    yield context.new_page()
    context.close()


@pytest.fixture
def mia(phone: Page, live_server_asgi: LiveServer) -> Page:
    """The phone of somebody who is signed in."""
    make_user("mia", groups=("finance",), first_name="Mia")
    give_session(phone.context, str(live_server_asgi), "mia")
    return phone


def fits(page: Page) -> None:
    """Nothing is wider than the screen, and what decides can be hit with a thumb.

    The tabs go sideways by themselves; the page does not.
    """
    page.wait_for_load_state()  # style sheets may be on their way
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    for element in page.locator("main :not(.tabs *):visible").all():
        box = element.bounding_box()
        assert box is None or box["x"] + box["width"] <= PHONE["width"] + 1, element
    for button in page.locator(".answers button").all():
        box = button.bounding_box()
        assert box is not None
        assert box["height"] >= THUMB


def value_of(promise_id: str) -> dict[str, object]:
    value: dict[str, object] = unpack(Promise.objects.get(pk=promise_id).value_data)
    return value


def test_from_the_link_in_a_mail_through_the_login_to_the_result(
    phone: Page, live_server_asgi, settings
) -> None:
    settings.SIGNOFF_LINKS, settings.SIGNOFF_BASE_URL = "login", str(live_server_asgi)
    mia = make_user("mia", first_name="Mia")
    ask("q", title="Refund order 3391?", users=["mia"], facts={"Amount": "248 EUR"}, form=FORM)

    phone.goto(links.make_link(HumanTask.objects.get(pk="q"), mia))
    fill_in(phone, "mia")
    expect(phone.get_by_role("heading", name="Refund order 3391?")).to_be_visible()
    expect(phone.get_by_text("248 EUR")).to_be_visible()
    fits(phone)

    phone.get_by_label("How much").select_option("part")
    phone.get_by_role("button", name="Approve").click()
    expect(phone.get_by_role("alert").first).to_contain_text("Amount")
    fits(phone)
    phone.get_by_label("Amount").fill("12")
    phone.get_by_label("Sure").check()
    phone.get_by_label("Comment").fill("as agreed")
    phone.get_by_role("button", name="Approve").click()

    expect(phone.get_by_text("You approved this").first).to_be_visible()
    fits(phone)
    assert value_of("q")["values"] == {"much": "part", "amount": 12, "sure": True}


def test_from_the_login_through_the_inbox_to_a_rejection(phone: Page) -> None:
    make_user("mia", groups=("finance",))
    ask("q", title="Pay invoice 4711", groups=["finance"])

    phone.goto("/")
    fits(phone)
    fill_in(phone, "mia")
    fits(phone)
    phone.get_by_role("link", name="Pay invoice 4711").click()
    fits(phone)
    approve, reject = (
        phone.get_by_role("button", name=name).bounding_box() for name in ("Approve", "Reject")
    )
    assert approve
    assert reject
    assert approve["x"] > reject["x"]
    # Where the inbox is all there is, no bar that leads there takes the room for the answers.
    expect(phone.get_by_role("navigation", name="Main")).to_be_hidden()
    phone.get_by_role("link", name="Signoff").click()
    phone.get_by_role("link", name="Pay invoice 4711").click()
    phone.get_by_label("Comment").fill("too much")
    phone.get_by_role("button", name="Reject").click()

    expect(phone.get_by_text("You rejected this").first).to_be_visible()
    assert Promise.objects.get(pk="q").state == PromiseState.REJECTED
    phone.get_by_role("link", name="Back to the list").click()
    expect(phone.get_by_text("Nothing waits for you.")).to_be_visible()


def test_a_vote_and_its_change(mia: Page) -> None:
    make_user("jon", groups=("finance",))
    ask("q", title="Pay a lot", policy={"group": "finance", "count": 2})

    mia.goto(task_url("q"))
    expect(mia.get_by_role("heading", name="0 of 2 approved")).to_be_visible()
    mia.get_by_role("button", name="Approve").click()
    expect(mia.get_by_role("heading", name="1 of 2 approved")).to_be_visible()
    fits(mia)
    assert Promise.objects.get(pk="q").state == PromiseState.PENDING

    decide("q", Actor(make_user("kim", groups=("finance",))), Answer("approve"))
    mia.reload()
    expect(mia.get_by_role("button", name="Approve")).to_have_count(0)
    assert Promise.objects.get(pk="q").state == PromiseState.RESOLVED


def test_an_offer_is_edited_and_approved(mia: Page) -> None:
    ask(
        "q",
        title="Send the offer?",
        users=["mia"],
        proposal=OFFER,
        editable=["/price", "/discount"],
    )

    mia.goto(task_url("q"))
    fits(mia)
    mia.get_by_label("Discount").fill("15")
    mia.get_by_role("button", name="Approve").click()

    expect(mia.get_by_text("You approved this").first).to_be_visible()
    changed = mia.get_by_role("row").filter(has_text="Discount")
    expect(changed.locator("del")).to_have_text("12")
    expect(changed.locator("ins")).to_have_text("15")
    fits(mia)
    assert value_of("q")["values"] == OFFER | {"discount": 15}


def test_it_is_taken_on_and_given_back(mia: Page) -> None:
    ask("q", title="Pay invoice 4711", groups=["finance"])

    mia.goto(task_url("q"))
    mia.get_by_role("button", name="Take it on").click()
    expect(mia.get_by_text("Taken on by you", exact=True)).to_be_visible()
    fits(mia)
    mia.get_by_text("Give it back or hand it over").click()
    mia.get_by_label("Note").first.fill("not today")
    mia.get_by_role("button", name="Give it back").click()

    expect(mia.get_by_role("button", name="Take it on")).to_be_visible()
    assert HumanTask.objects.get(pk="q").claimed_by_id is None


def test_a_remark_is_added(mia: Page) -> None:
    ask("q", title="Pay invoice 4711", groups=["finance"])

    mia.goto(task_url("q"))
    mia.get_by_text("Remark", exact=True).click()
    mia.get_by_label("Text").last.fill("The drawer is missing.")
    mia.get_by_role("button", name="Add the remark").click()

    expect(mia.get_by_role("heading", name="Remarks")).to_be_visible()
    expect(mia.get_by_text("The drawer is missing.").first).to_be_visible()
    fits(mia)
    assert Comment.objects.get(task="q").text == "The drawer is missing."


def test_several_are_answered_at_once(mia: Page) -> None:
    for number in (1, 2, 3):
        ask(f"q{number}", title=f"Expense {number}", groups=["finance"], type="expense")

    mia.goto("/inbox/")
    mia.get_by_label("Choose Expense 1").check()
    mia.get_by_label("Choose Expense 3").check()
    mia.get_by_role("button", name="Answer the ticked ones").click()
    expect(mia.get_by_role("heading", name="Answer 2 questions")).to_be_visible()
    fits(mia)
    mia.get_by_role("button", name="Approve (2)").click()

    expect(mia.get_by_text("2 of 2 are still to be answered.")).to_be_visible()
    fits(mia)
