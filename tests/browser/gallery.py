"""Every page in every state that people can meet: who looks, where, and what they do there first.

A state is made once for a walk along all of them; none spoils another.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from urllib.parse import quote

from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.urls import include, path
from playwright.sync_api import Page, expect

from dashboard import bulk, claims, comments, decisions, delegations, links, snoozing
from dashboard.answering import Actor, Answer
from dashboard.channels.identities import LinkToken
from dashboard.channels.muting import Muting
from dashboard.models import (
    BulkJob,
    ChatIdentity,
    Comment,
    HumanTask,
    NotificationPreference,
    SavedView,
    WebhookDelivery,
)
from dashboard.webhooks.receiving import Incoming, receive
from durable.clock import now_ms
from durable.protocol.states import PromiseState
from tests.dashboard import factories, hooks, people
from tests.dashboard.people import HOUR_MS, ask, iso, make_user, task_url

WIDE = {
    "type": "object",
    "properties": {
        "text": {"type": "string", "title": "Text", "description": "A line."},
        "long": {"type": "string", "title": "Long text", "maxLength": 900},
        "whole": {"type": "integer", "title": "Whole number", "minimum": 1},
        "number": {"type": "number", "title": "Number"},
        "price": {"type": "string", "format": "decimal", "title": "Price"},
        "sure": {"type": "boolean", "title": "Sure"},
        "must": {"const": True, "type": "boolean", "title": "I have read it"},
        "one": {"enum": ["a", "b"], "title": "One of"},
        "some": {"type": "array", "items": {"enum": ["x", "y"]}, "title": "Some of"},
        "day": {"type": "string", "format": "date", "title": "Day"},
        "moment": {"type": "string", "format": "date-time", "title": "Moment"},
        "mail": {"type": "string", "format": "email", "title": "Mail"},
        "site": {"type": "string", "format": "uri", "title": "Site"},
        "file": {"type": "string", "format": "binary", "title": "File"},
        "part": {
            "type": "object",
            "title": "Address",
            "properties": {"street": {"type": "string", "title": "Street"}},
            "required": ["street"],
        },
        "rows": {
            "type": "array",
            "title": "Lines",
            "minItems": 1,
            "items": {"type": "object", "properties": {"ware": {"type": "string"}}},
        },
        "free": {"type": "object", "title": "Anything", "patternProperties": {"^x": {}}},
        "fixed": {"const": "EUR", "title": "Currency"},
    },
    "required": ["text", "one", "must"],
    "if": {"properties": {"sure": {"const": True}}, "required": ["sure"]},
    "then": {"properties": {"why": {"type": "string", "title": "Why"}}},
}
OFFER = {"customer": "Hansen", "price": 12_400, "lines": [{"item": "Oven", "number": 2}]}
POLICY = {
    "all_of": [
        {"group": "finance", "count": 2},
        {"any_of": [{"user": "ida"}, {"group": "board", "after": "PT4H"}]},
    ]
}
TIMES = {
    "due": iso(3),
    "expires": iso(9),
    "on_expiry": "approve",
    "reminders": [{"at": "50%"}, {"at": "due"}],
    "ladder": [{"at": "due+PT1H", "add": {"groups": ["board"]}}],
}


def _stay(page: Page) -> None:
    """Look at the page as it comes."""


class State(NamedTuple):
    """``names`` are the addresses that it stands for; ``user`` is empty for nobody signed in."""

    label: str
    user: str
    path: str
    act: Callable[[Page], object] = _stay


# --- The site, with two pages that fail ---


def _refuse(_request: HttpRequest) -> HttpResponse:
    raise PermissionDenied


def _break(_request: HttpRequest) -> HttpResponse:
    message = "on purpose"
    raise RuntimeError(message)


urlpatterns = [
    path("test/403/", _refuse),
    path("test/500/", _break),
    path("", include("dashboard.project.urls")),
]


# --- What people do before they look ---


def press(name: str) -> Callable[[Page], object]:
    return lambda page: page.get_by_role("button", name=name).first.click()


def press_and_see(name: str, text: str) -> Callable[[Page], None]:
    def act(page: Page) -> None:
        press(name)(page)
        expect(page.get_by_text(text).first).to_be_visible()

    return act


def unfold(page: Page) -> None:
    """Open whatever can be opened in the main part."""
    page.evaluate("document.querySelectorAll('main details').forEach(one => one.open = true)")


def _answer_late(page: Page) -> None:
    page.get_by_label("Comment").fill("I had written this.")
    people.settle("late", value={"approved": True, "answer": "approve"})
    press_and_see("Approve", "Your answer came later")(page)


def _hear_of_news(page: Page) -> None:
    ask("news", title="Something new", users=["mia"])
    expect(page.get_by_role("button", name="Show 1 new question")).to_be_visible(timeout=15_000)


def _tick(page: Page) -> None:
    page.get_by_label("Choose Expense 1").check()


def _sign_in_wrongly(page: Page) -> None:
    page.get_by_label("Username").fill("mia")
    page.get_by_label("Password").fill("wrong")
    press_and_see("Sign in", "Please enter a correct")(page)


def _sign_out(page: Page) -> None:
    page.locator(".menu summary").click()
    press("Sign out")(page)
    expect(page.get_by_role("heading", name="Signed out")).to_be_visible()


def _lose_the_race(page: Page) -> None:
    claims.claim("raced", Actor(User.objects.get(username="jon")))
    press_and_see("Approve", "Jon")(page)


def _come_too_late(page: Page) -> None:
    page.get_by_label("Username").fill("mia")
    page.get_by_label("Password").fill("mia")
    page.context.clear_cookies()
    press("Sign in")(page)
    expect(page.get_by_role("heading", name="Please send it again")).to_be_visible()


def _make_token(page: Page) -> None:
    page.get_by_label("What is it for?").fill("Nightly report")
    press_and_see("Make the token", "Copy the token now")(page)


def _confirm(page: Page) -> None:
    page.get_by_label("To confirm, type 4711").fill("4711")
    press_and_see("Pay", "Sending")(page)


def _choose_no_hours(page: Page) -> None:
    page.get_by_label("One message for all that waits").check()
    press_and_see("Save", "Choose at least one hour")(page)


def _be_away_wrongly(page: Page) -> None:
    press("Let them answer")(page)
    expect(page.locator(".errorlist").first).to_be_visible()


def _open_answer(page: Page) -> None:
    page.get_by_role("button", name="Answer").click()
    expect(page.get_by_role("button", name="Approve")).to_be_visible()


def _add_webhook(page: Page) -> None:
    page.get_by_label("Name", exact=True).fill("Jobs")
    page.get_by_label("Address", exact=False).first.fill("jobs")
    press_and_see("Add it", "Set up the other side")(page)


def _paste(page: Page) -> None:
    page.get_by_label("Body").fill(hooks.pull_request().decode())
    press_and_see("Try it", "What would happen")(page)


# --- The states ---


def states(settings: Any, site: str) -> Iterator[State]:
    """Make what the pages show, just before somebody looks; ``site`` is where it is served."""
    settings.SIGNOFF_LINKS, settings.SIGNOFF_BASE_URL = "bound", site
    settings.LOGOUT_REDIRECT_URL = None
    mia = make_user("mia", groups=("finance",), first_name="Mia", email="mia@example.org")
    jon = make_user("jon", groups=("finance",), first_name="Jon")
    make_user("ida", first_name="Ida", groups=("board",))
    make_user("eve", first_name="Eve")
    olga = make_user(
        "olga",
        groups=("operators",),
        first_name="Olga",
        rights=(
            *("view_executions", "settle_any", "cancel_executions", "manage_tasks"),
            *("manage_webhooks", "view_auditentry", "reveal_secrets", "make_links"),
        ),
        is_staff=True,
    )
    actors = {user.username: Actor(user) for user in (mia, jon, olga)}
    yield from _of_everybody(mia)
    yield from _of_lists(actors)
    yield from _of_questions(actors)
    yield from _of_care(actors)
    yield from _of_accounts(settings, actors)
    yield from _of_operators()
    yield from _of_webhooks()


def _of_everybody(mia: Any) -> Iterator[State]:
    ask("linked", title="Pay by link", users=["mia"], facts={"Amount": "9 EUR"}, form=WIDE)
    ask("linked-done", title="Paid by link", users=["mia"])
    open_link = links.make_link(HumanTask.objects.get(pk="linked"), mia)
    done_link = links.make_link(HumanTask.objects.get(pk="linked-done"), mia)
    token = Muting(str(mia.pk), "mail", "invoice").encode()
    yield State("login", "", "/accounts/login/?next=/inbox/")
    yield State("login, wrong", "", "/accounts/login/", _sign_in_wrongly)
    yield State("login, too late", "", "/accounts/login/", _come_too_late)
    yield State("link", "", open_link)
    yield State("link, errors", "", open_link, press_and_see("Approve", "could not be sent"))
    yield State("link, answered", "", done_link, press_and_see("Approve", "You approved this"))
    yield State("link, bad", "", "/link/nonsense/")
    yield State("link, of somebody else", "eve", open_link)
    yield State("mute", "", f"/account/mute/{token}/")
    yield State("mute, done", "", f"/account/mute/{token}/", press("No mails at all"))
    yield State("not found", "", "/nowhere/")
    yield State("refused", "", "/test/403/")
    yield State("broken", "", "/test/500/")


def _page_of(question: str, tab: str = "mine") -> str:
    """The list beside it is a short one: others walk along it."""
    return f"{task_url(question)}?tab={tab}"


def _of_questions(actors: dict[str, Actor]) -> Iterator[State]:
    people.start_run("asked-run", by=actors["jon"].user)
    ask(
        "plain",
        title="Pay invoice 4711 to Acme",
        question="Is it right?",
        consequence="Pays 4,200 EUR.",
        context="**Half** was paid.\n\n- in May\n- in June",
        facts={"Amount": "4,200.00 EUR", "Supplier": "Acme"},
        groups=["finance"],
        tags=people.child_of("asked-run"),
        priority="urgent",
        answers=["approve", "rework", "reject"],
        **TIMES,
    )
    yield State("question", "mia", _page_of("plain"), unfold)

    ask("form", title="Fill it in", users=["mia"], form=WIDE)
    yield State("question with a form", "mia", _page_of("form"))
    yield State(
        "question with errors",
        "mia",
        _page_of("form"),
        press_and_see("Approve", "could not be sent"),
    )

    ask(
        "offer",
        title="Send the offer?",
        users=["mia"],
        proposal=OFFER,
        editable=["/price", "/lines"],
    )
    yield State("question to edit", "mia", _page_of("offer"))
    ask("offer-sent", title="Sent", users=["mia"], proposal=OFFER, editable=["/price"])
    edited = Answer("approve", "less", values=OFFER | {"price": 12_000})
    decisions.decide("offer-sent", actors["mia"], edited)
    yield State("question, edited", "mia", _page_of("offer-sent"))

    ask("vote", title="Several decide", policy=POLICY)
    decisions.decide("vote", actors["jon"], Answer("approve", "fine"))
    yield State("question with votes", "mia", _page_of("vote"))
    yield State("question with my vote", "jon", _page_of("vote"))

    ask("settled", title="Answered", users=["mia"])
    yield State(
        "question, just answered",
        "mia",
        _page_of("settled"),
        press_and_see("Approve", "You approved this"),
    )
    ask("late", title="Too late", users=["mia"])
    yield State("question, answered too late", "mia", _page_of("late"), _answer_late)

    ask("expired", title="Expired", users=["mia"], timeout_at=now_ms() - HOUR_MS)
    yield State("question, expired", "mia", _page_of("expired"))
    ask("withdrawn", title="Withdrawn", users=["mia"])
    people.settle("withdrawn", PromiseState.REJECTED_CANCELED)
    yield State("question, withdrawn", "mia", _page_of("withdrawn"))

    people.start_run("info-run", by=actors["jon"].user)
    ask("info", title="Unclear", users=["mia"], tags=people.child_of("info-run"), due=iso(2))
    comments.write("info", actors["mia"], "Which one?", Comment.Kind.ASKED)
    yield State("question that waits for the requester", "mia", _page_of("info"), unfold)
    yield State("question to reply to", "jon", _page_of("info", "waiting"), unfold)

    ask("claimed", title="Taken on", groups=["finance"])
    claims.claim("claimed", actors["mia"])
    yield State("question, mine", "mia", _page_of("claimed"), unfold)
    yield State("question, of somebody else", "jon", _page_of("claimed"), unfold)
    ask("raced", title="Taken on meanwhile", groups=["finance"])
    yield State("question, refused", "mia", _page_of("raced"), _lose_the_race)

    secret = {"Amount": "3 EUR", "Card": "4929 1102 7730 5514"}
    ask("secret", title="Secrets", users=["olga"], facts=secret, secrets=["/facts/Card"])
    yield State("question with secrets", "olga", _page_of("secret"), unfold)
    yield State(
        "question with secrets shown",
        "olga",
        _page_of("secret"),
        press_and_see("Show secret values", "4929"),
    )
    people.ask_bare("bare")
    yield State("question, bare", "olga", _page_of("bare"))
    people.create("mistaken", data=people.pack({"human_task": {"schema": 1}}), tags=people.LATENT)
    yield State("question, mistaken", "olga", _page_of("mistaken"))

    ask("once", title="First round", users=["mia"])
    decisions.decide("once", actors["mia"], Answer("reject", "too much"))
    ask("again", title="Again", users=["mia"], previous="once", round=2, rounds=3)
    yield State("question, asked again", "mia", _page_of("again"))


def _of_care(actors: dict[str, Actor]) -> Iterator[State]:
    """What is confirmed first, what can be taken back yet, and what was put off."""
    pay = {"name": "pay", "label": "Pay", "settles": "resolve", "approves": True, "style": "danger"}
    risky = {"confirm": {"text": "4711"}, "undo": 30, "answers": [pay, "reject"]}
    ask("risky", title="Pay what cannot be taken back", users=["mia", "jon"], **risky)
    yield State("question to confirm", "mia", _page_of("risky"))
    yield State(
        "question, not confirmed",
        "mia",
        _page_of("risky"),
        press_and_see("Pay", "could not be sent"),
    )
    yield State("question, on its way", "mia", _page_of("risky"), _confirm)
    yield State("question, on its way from another", "jon", _page_of("risky"))
    ask("password", title="Pay with a password", users=["mia"], confirm={"password": True})
    yield State("question to confirm with a password", "mia", _page_of("password"))

    yield State("inbox, nothing snoozed", "mia", "/inbox/?tab=snoozed")
    ask("later", title="Later", users=["mia"])
    yield State("question to snooze", "mia", _page_of("later"), unfold)
    snoozing.snooze("later", actors["mia"], now_ms() + HOUR_MS)
    yield State("question, snoozed", "mia", _page_of("later", "snoozed"), unfold)


def _of_lists(actors: dict[str, Actor]) -> Iterator[State]:
    for number in range(1, 5):
        ask(f"expense-{number}", title=f"Expense {number}", groups=["finance"], type="expense")
    ask("overdue", title="Overdue", groups=["finance"], due=iso(-2), priority="high")
    for tab in ("answer", "mine", "groups", "unassigned", "waiting", "done"):
        yield State(f"inbox, {tab}", "olga", f"/inbox/?tab={tab}")
    yield State("inbox", "mia", "/inbox/", unfold)
    yield State("inbox, empty", "eve", "/inbox/")
    yield State("inbox, ticked", "mia", "/inbox/", _tick)
    yield State("inbox, filtered", "mia", "/inbox/?q=Expense&due=&priority=", unfold)
    yield State("inbox, nothing found", "mia", "/inbox/?q=nothing+like+it")
    yield State("inbox, news", "mia", "/inbox/", _hear_of_news)

    job = bulk.prepare(actors["mia"], ids=["expense-1", "expense-2"])
    yield State("bulk", "mia", f"/answers/{job.pk}/")
    begun = bulk.prepare(actors["mia"], ids=["expense-3", "expense-4"])
    bulk.start(begun, Answer("approve"), actors["mia"])
    yield State("bulk, going on", "mia", f"/answers/{begun.pk}/")
    gone = bulk.prepare(actors["jon"], ids=["expense-3", "overdue"][:1])
    bulk.start(gone, Answer("reject", "no"), actors["jon"])
    people.settle("expense-3")
    bulk.answer_some(str(gone.pk))
    BulkJob.objects.filter(pk=gone.pk).update(ended_at=now_ms())
    yield State("bulk, done", "jon", f"/answers/{gone.pk}/")


def _of_accounts(settings: Any, actors: dict[str, Actor]) -> Iterator[State]:
    yield State("away, nobody", "eve", "/away/")
    yield State("away, wrong", "eve", "/away/", _be_away_wrongly)
    now = now_ms()
    deputy = actors["jon"].user
    delegations.delegate(actors["mia"], deputy, starts_at=now, ends_at=now + HOUR_MS)
    yield State("away", "mia", "/away/")
    ChatIdentity.objects.create(
        channel="slack", external_id="T1/U1", name="mia", user=actors["mia"].user, linked_at=now
    )
    linkable = ChatIdentity.objects.create(channel="slack", external_id="T1/U2", nonce="n")
    token = quote(LinkToken(linkable.pk, "n").encode())
    yield State("notifications, none sent", "mia", "/account/notifications/")
    settings.SIGNOFF_CHANNELS = [{"channel": "mail"}]
    NotificationPreference.objects.update_or_create(
        user=actors["mia"].user,
        channel="mail",
        defaults={"is_off": False, "muted_types": ["expense"]},
    )
    yield State("notifications", "mia", "/account/notifications/")
    yield State("notifications, wrong", "mia", "/account/notifications/", _choose_no_hours)
    settings.SIGNOFF_CHANNELS = []
    yield State("slack, none", "eve", "/account/slack/")
    yield State("slack", "mia", "/account/slack/")
    yield State("slack, to confirm", "eve", f"/account/slack/?token={token}")
    yield State("slack, stale", "eve", "/account/slack/?token=old")
    yield State("not found, signed in", "eve", "/executions/")
    yield State("preferences", "mia", "/preferences/", unfold)
    yield State("views, none", "eve", "/views/")
    yield State("view, to save", "mia", "/views/save/?place=inbox&q=invoice")
    view = SavedView.objects.create(
        owner=actors["mia"].user, name="Invoices", query="q=invoice", made_at=now, is_for_all=True
    )
    yield State("views", "mia", "/views/")
    yield State("view, to change", "mia", f"/views/{view.pk}/")
    yield State("inbox with views", "mia", "/inbox/?q=invoice", unfold)
    yield State("tokens, none", "eve", "/account/tokens/")
    yield State("tokens", "eve", "/account/tokens/", _make_token)
    make_user("leo", first_name="Leo")
    yield State("signed out", "leo", "/inbox/", _sign_out)


def _of_operators() -> Iterator[State]:
    factories.add_worker()
    run = factories.running("order-42", "fulfil", "42")
    factories.step(run, f"{run}:1", "reserve", {"shelf": 7})
    factories.call(run, f"{run}:2", "ship", group="nobody")
    factories.ask(run, f"{run}:3", "Ship it?", groups=["operators"])
    factories.suspend(run, f"{run}:2", f"{run}:3")
    failed = factories.running("order-41", "fulfil", "41")
    factories.step(failed, f"{failed}:1", "charge", error="the card was closed", attempts=3)
    factories.fail(failed, "the card was closed", trace="Traceback\n  line 1")
    many = factories.running("order-40")
    for number in range(34):
        factories.step(many, f"{many}:{number}", "fetch", number)
    factories.finish(many, {"total": 34})
    factories.start("order-39", group="nobody")
    factories.sleep(factories.running("order-38"), "order-38:1", now_ms() + HOUR_MS)
    factories.suspend("order-38", "order-38:1")
    yield State("executions", "olga", "/executions/")
    yield State("executions, filtered", "olga", "/executions/?status=failed&function=fulfil")
    yield State("executions, nothing found", "olga", "/executions/?function=nothing")
    yield State("execution", "olga", "/executions/order-42/", unfold)
    yield State("execution, answered there", "olga", "/executions/order-42/", _open_answer)
    yield State("execution, a step", "olga", "/executions/order-42/?step=order-42%3A1", unfold)
    yield State("execution, history", "olga", "/executions/order-42/?tab=history")
    yield State("execution, failed", "olga", "/executions/order-41/", unfold)
    yield State("execution, wide", "olga", "/executions/order-40/")
    yield State("execution, queued", "olga", "/executions/order-39/")
    yield State("execution, sleeping", "olga", "/executions/order-38/")
    yield State("cancel", "olga", "/executions/order-42/cancel/")
    yield State("cancel, over", "olga", "/executions/order-41/cancel/")
    yield State("audit", "olga", "/audit/", unfold)
    yield State("audit, filtered", "olga", "/audit/?action=approve&who=mia")
    yield State("audit, nothing found", "olga", "/audit/?who=nobody")


def _of_webhooks() -> Iterator[State]:
    yield State("webhooks, none", "olga", "/webhooks/")
    yield State("webhook, kind", "olga", "/webhooks/new/")
    new = "/webhooks/new/?preset=generic&action=settle"
    yield State("webhook, new", "olga", new, unfold)
    yield State("webhook, wrong", "olga", new, press_and_see("Add it", "Nothing was saved"))
    yield State("webhook, secret", "olga", new, _add_webhook)
    endpoint = hooks.make_endpoint(secrets=("first secret", hooks.SECRET))
    people.ask_bare("pr-7-review")
    body = hooks.pull_request()
    for secret, event in ((hooks.SECRET, "e-1"), ("wrong", "e-2")):
        headers = hooks.headers_of(endpoint, body, secret=secret, event=event)
        receive(endpoint, Incoming(headers, body, len(body), "192.0.2.1"))
    first = WebhookDelivery.objects.order_by("pk")[0].pk
    yield State("webhooks", "olga", "/webhooks/")
    yield State("webhook", "olga", "/webhooks/reviews/", unfold)
    yield State("webhook, nothing found", "olga", "/webhooks/reviews/?outcome=late")
    yield State("webhook, change", "olga", "/webhooks/reviews/edit/", unfold)
    yield State("webhook, tester", "olga", "/webhooks/reviews/test/")
    yield State("webhook, tested", "olga", "/webhooks/reviews/test/", _paste)
    yield State("delivery", "olga", f"/webhooks/reviews/deliveries/{first}/", unfold)
    yield State("delivery, refused", "olga", f"/webhooks/reviews/deliveries/{first + 1}/")
