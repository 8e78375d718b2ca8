"""What happened before you came: three days of work, told through the same calls as the pages use.

Workflows run in a real worker, people answer with their own rights, and a webhook receives signed
requests; only the clock is set back.
"""

import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

from django.http import QueryDict

import durable
from dashboard import (
    bulk,
    cancellation,
    claims,
    comments,
    delegations,
    saved_views,
    snoozing,
)
from dashboard.answering import Actor, Answer
from dashboard.decisions import decide
from dashboard.models import Comment, HumanTask, Place, SignIn, WebhookEndpoint
from dashboard.permissions import is_open
from dashboard.webhooks import endpoints, examples, keys, presets
from dashboard.webhooks.forms import EndpointForm
from dashboard.webhooks.receiving import Incoming, receive
from dashboard.webhooks.signatures import sign
from durable.background.runner import BackgroundRunner
from durable.clock import now_ms
from durable.models import Promise, Task
from durable.protocol.addresses import group_of
from durable.protocol.states import PromiseState, TaskState
from durable.store import get_store
from durable.worker import Worker
from examples.company import close_month, count_stock, grant_access, release, renew_contract
from examples.finance import expense, pay_deposit, pay_invoice, refund, send_offer
from examples.orders import Order, read_orders
from examples.past import in_the_past
from examples.people import find_person
from examples.workflows import deploy, purchase, review

BEGAN = 74.0
"""Hours ago."""
GROUP = "default"
ARTICLE = (
    "From Monday the office in Aarhus opens at eight. Deliveries go to the door in the yard, and"
    " guests ring at the front. Please tell your suppliers."
)
_PATIENCE_S = 20
_HOUR_MS = 3_600_000
_PHONE = "Mozilla/5.0 (Linux; Android 16; Mobile; rv:145.0) Gecko/145.0 Firefox/145.0"
_DESK = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"
_PLACES = {
    "mia": ("192.0.2.14", _DESK),
    "jon": ("192.0.2.31", _DESK),
    "olga": ("192.0.2.8", _DESK),
    "finn": ("198.51.100.77", _PHONE),
    "ida": ("192.0.2.5", _DESK),
}


def was_told() -> bool:
    """Whether anything has happened in this database."""
    return Promise.objects.exists()


def tell() -> None:
    """Let it all happen; takes some seconds."""
    with in_the_past(BEGAN) as past, _quiet(), _working():
        for hours, happen in _EVENTS:
            past.go_on(hours)
            happen()
            _rest()
        past.go_on(0)


# --- Those who act ---


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep to oneself what is meant to fail."""
    logger = logging.getLogger("durable")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


@contextmanager
def _working() -> Iterator[None]:
    """Run a worker and the loop that fires timers."""
    runner, worker = BackgroundRunner(get_store()), Worker([GROUP], concurrency=8)
    runner.start()
    worker.start()
    try:
        yield
    finally:
        worker.stop()
        runner.stop()


def _rest() -> None:
    """Wait until timers have fired and the worker has nothing to do.

    With the clock moved on it would lose its leases.
    """
    overdue = Promise.objects.filter(state=PromiseState.PENDING)
    _wait(lambda: not overdue.filter(timeout_at__lte=now_ms()).exists(), "a timer")
    _wait(lambda: not _is_busy(), "the worker")


def _is_busy() -> bool:
    targets = Task.objects.filter(state__in=[TaskState.PENDING, TaskState.ACQUIRED]).values_list(
        "promise__tags__resonate:target", flat=True
    )
    return any(group_of(target) == GROUP for target in targets)


def _wait(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + _PATIENCE_S
    while not condition():
        if time.monotonic() > end:
            message = f"the demo's story stopped: it still waits for {what}"
            raise TimeoutError(message)
        time.sleep(0.02)


def _actor(username: str) -> Actor:
    address, browser = _PLACES[username]
    return Actor(find_person(username), SignIn.SESSION, ip=address, user_agent=browser)


def _questions(execution: str) -> Any:
    return HumanTask.objects.filter(is_open(now_ms()), origin=execution)


def _question(execution: str) -> str:
    """Return the id of the question that an execution asks by now."""
    _wait(_questions(execution).exists, f"a question of {execution}")
    return str(_questions(execution).get().pk)


def _answer(username: str, execution: str, name: str, comment: str = "", **values: Any) -> None:
    decide(_question(execution), _actor(username), Answer(name, comment, values=values))


def _say(username: str, execution: str, text: str, kind: Comment.Kind) -> None:
    comments.write(_question(execution), _actor(username), text, kind)


def _by(username: str, timeout: timedelta | None = None) -> durable.Starter:
    return durable.options(started_by=find_person(username), timeout=timeout)


# --- Money ---


def _buy(order_id: str, item: str, supplier: str, amount: str) -> None:
    order = Order(order_id, item, supplier, Decimal(amount), "EUR", "Jon")
    _by("jon").start(f"purchase-{order_id}", purchase, order)


def _buy_chairs() -> None:
    _buy("4708", "Office chairs (12)", "Nordholz Furniture", "3480.00")
    _buy("4709", "Drone with camera", "Skyward", "2199.00")


def _decide_on_chairs() -> None:
    _answer("mia", "purchase-4708", "approve", "In the budget.")
    _answer("finn", "purchase-4709", "reject", "The old one still flies.")


def _order(place: int) -> None:
    order = list(read_orders())[place]
    _by("jon").start(f"purchase-{order.order_id}", purchase, order)


def _bill_paper() -> None:
    _by("jon").start(
        "invoice-20415", pay_invoice, "20415", "Papierhaus Lenz", "612.40 EUR", "80 reams of paper"
    )


def _pay_paper() -> None:
    _answer("mia", "invoice-20415", "approve")
    _answer("finn", "invoice-20415", "approve", "Counted them myself.")
    _answer("ida", "invoice-20415", "approve")


def _bill_desks() -> None:
    _by("jon").start(
        "invoice-20417",
        pay_invoice,
        "20417",
        "Nordholz Furniture",
        "8,940.00 EUR",
        "six standing desks",
    )


def _begin_to_pay_desks() -> None:
    _answer("finn", "invoice-20417", "approve", "Desks are up, one drawer is missing.")
    _say("jon", "invoice-20417", "The drawer comes on Friday.", Comment.Kind.REMARK)


def _let_time_pass() -> None:
    """Nothing but a reminder, or others who are asked as well."""


def _rent_a_hall() -> None:
    account = "DK50 0040 0440 1162 43"
    start = _by("jon").start
    start(
        "deposit-harbour", pay_deposit, "Harbour Halls", "18,000.00 EUR", account.replace(" ", "")
    )


def _put_off() -> None:
    """Mia looks at one purchase later, and keeps a list of what is dear to her."""
    mia = _actor("mia")
    snoozing.snooze(_question("purchase-4713"), mia, now_ms() + _HOUR_MS)
    for name, query in (
        ("Invoices", "type=invoice"),
        ("Overdue refunds", "type=refund&due=overdue"),
    ):
        saved_views.save_view(mia, Place.INBOX, QueryDict(query), name=name)


def _refund_lamp() -> None:
    start = _by("jon").start
    start("refund-3388", refund, "3388", "Tove Nyman", "59.00 EUR", "0000 4412 8810 2277")


def _pay_lamp_back() -> None:
    _answer("mia", "refund-3388", "approve", much="all", reason="damaged", goes_back=False, note="")


def _refund_shelf() -> None:
    start = _by("jon").start
    start("refund-3391", refund, "3391", "Karim Haddad", "248.00 EUR", "4929 1102 7730 5514")


def _ask_about_shelf() -> None:
    _say("mia", "refund-3391", "Which boards were scratched?", Comment.Kind.ASKED)
    _say("jon", "refund-3391", "The two long ones. Photos are in the case.", Comment.Kind.REPLIED)


def _offer(execution: str, customer: str, price: int, discount: int) -> None:
    delivery = datetime.fromtimestamp(now_ms() / 1000, UTC).date() + timedelta(days=20)
    offer = {
        "customer": customer,
        "price": price,
        "discount": discount,
        "delivery": delivery.isoformat(),
        "terms": "Payable within 30 days.\nInstallation is included.",
    }
    _by("jon").start(execution, send_offer, offer)


def _offer_ovens() -> None:
    _offer("offer-871", "Hansen Bakery", 12_400, 12)
    _offer("offer-869", "Café Lumen", 3_150, 15)


def _send_other_offer() -> None:
    question = HumanTask.objects.get(pk=_question("offer-869"))
    offer = question.description["proposal"]
    changed = offer | {"price": 3_290, "discount": 10}
    _answer("mia", "offer-869", "approve", "15 percent is for large orders.", **changed)


_EXPENSES = (
    ("Train to Hamburg", "84.20 EUR"),
    ("Lunch with a client", "41.90 EUR"),
    ("Parking in Malmö", "18.00 EUR"),
    ("Adapter for the projector", "12.50 EUR"),
    ("Flowers for the reception", "29.00 EUR"),
)


def _spend(numbers: range) -> None:
    for number in numbers:
        what, amount = _EXPENSES[number]
        _by("jon").start(f"expense-{900 + number}", expense, "Jon Berg", what, amount)


def _spend_some() -> None:
    _spend(range(2))


def _approve_some() -> None:
    ids = [_question(f"expense-{900 + number}") for number in range(2)]
    job = bulk.prepare(_actor("finn"), ids=ids)
    bulk.start(job, Answer("approve", "With receipts."))


def _spend_more() -> None:
    _spend(range(2, len(_EXPENSES)))


# --- The company ---


def _open_early() -> None:
    _by("mia").start("review-opening-hours", review, "New opening hours", ARTICLE)


def _send_back() -> None:
    comment = "Say which Monday, and who to call."
    _answer("jon", "review-opening-hours", "rework", comment)


def _ask_for_access() -> None:
    until = datetime.fromtimestamp(now_ms() / 1000, UTC) + timedelta(hours=20)
    _by("jon").start("access-payroll", grant_access, "Jon Berg", "the payroll", until)


def _ask_again() -> None:
    until = datetime.fromtimestamp(now_ms() / 1000, UTC) + timedelta(hours=6)
    _by("jon").start("access-reports", grant_access, "Jon Berg", "the reports", until)


def _take_on() -> None:
    claims.claim(_question("access-reports"), _actor("olga"))


def _renew() -> None:
    at = datetime.fromtimestamp(now_ms() / 1000, UTC) + timedelta(days=12)
    _by("finn").start("contract-kestrel", renew_contract, "Kestrel Storage", at)


def _run_late() -> None:
    """Something whose deadline passes before anybody answers."""
    order = Order("4706", "Ice cream for the party", "Gelato Nord", Decimal(180), "EUR", "Jon")
    _by("jon", timedelta(hours=9)).start("purchase-4706", purchase, order)


def _deploy_search() -> None:
    _by("olga").start("deploy-search-6", deploy, "search", "6")


def _stop_search() -> None:
    root = Promise.objects.get(pk="deploy-search-6")
    cancellation.cancel(root, _actor("olga"), "Version 7 has the fix, and comes today.")


def _deploy_shop() -> None:
    _by("olga").start("deploy-shop-42", deploy, "shop", "42")


def _count_stock() -> None:
    durable.start("stock-november", count_stock, 36)


def _close_month() -> None:
    durable.options(target="reports").start("month-october", close_month, "October")


def _be_away() -> None:
    now = now_ms()
    jon, mia = find_person("jon"), find_person("mia")
    ends = now + 5 * 24 * _HOUR_MS
    delegations.delegate(_actor("jon"), mia, starts_at=now, ends_at=ends)
    starts = now + 20 * 24 * _HOUR_MS
    delegations.delegate(
        _actor("mia"),
        find_person("finn"),
        starts_at=starts,
        ends_at=starts + 7 * 24 * _HOUR_MS,
        group=mia.groups.get(name="finance"),
    )
    delegations.forget(jon)


# --- Webhooks ---

_ADDRESS = "203.0.113.40"


def _make_webhooks() -> None:
    _make_webhook("github", "settle", "pull-requests", "Pull requests")
    _make_webhook("stripe", "start", "shop-payments", "Shop payments")


def _make_webhook(preset: str, action: str, slug: str, name: str) -> None:
    given = {
        "name": name,
        "slug": slug,
        "event_id": presets.PRESETS[preset].event_id,
        "mapping": json.dumps(examples.example(preset, action)),
        "networks": "",
        "max_bytes": "100000",
        "tolerance_s": str(presets.PRESETS[preset].scheme.tolerance),
        "secret": keys.make_secret(),
        "is_active": "on",
    }
    form = EndpointForm(preset, action, given)
    if not form.is_valid():
        raise ValueError(form.errors.as_text())
    endpoints.make_endpoint(preset, action, form.columns, given["secret"], _actor("olga"))


def _start_release() -> None:
    _by("olga").start("release-2.4", release, "2.4", 128)


def _post(event: str, body: Mapping[str, Any], *, signed_with: str = "") -> None:
    """Send what GitHub would send."""
    endpoint = WebhookEndpoint.objects.get(slug="pull-requests")
    raw = json.dumps(body).encode()
    signature = sign(endpoint.scheme, signed_with or keys.live_secrets(endpoint)[0], raw, "")
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "GitHub-Hookshot/8a2f01c",
        "X-GitHub-Event": "pull_request",
        "X-GitHub-Delivery": event,
        endpoint.signature_header: signature,
    }
    receive(endpoint, Incoming(headers, raw, len(raw), _ADDRESS))


def _pull_request(number: int, action: str, *, merged: bool = False) -> dict[str, Any]:
    return {
        "action": action,
        "pull_request": {
            "number": number,
            "merged": merged,
            "merged_by": {"login": "nbecker"} if merged else None,
            "head": {"sha": "b7e23ec29af22b0b4e41da31e868d57226121c84"},
        },
        "sender": {"login": "nbecker"},
    }


def _open_pull_request() -> None:
    _post("5f1d6c20-8b7e-11f0", _pull_request(128, "opened"))


def _merge_pull_request() -> None:
    merged = _pull_request(128, "closed", merged=True)
    _post("9ac03b54-8b91-11f0", merged)
    _post("9ac03b54-8b91-11f0", merged)
    _post("a04417e2-8b91-11f0", _pull_request(131, "closed"))
    _post("b3c8d9f0-8b92-11f0", merged, signed_with="what somebody guessed")


_EVENTS: tuple[tuple[float, Callable[[], None]], ...] = (
    (BEGAN, _make_webhooks),
    (71.5, _start_release),
    (70.0, _buy_chairs),
    (66.2, _decide_on_chairs),
    (53.0, _open_pull_request),
    (50.0, _run_late),
    (49.3, _bill_paper),
    (47.0, _renew),
    (46.1, _pay_paper),
    (44.0, _merge_pull_request),
    (31.0, _open_early),
    (29.0, _ask_for_access),
    (27.5, _send_back),
    (26.0, _deploy_search),
    (25.9, _offer_ovens),
    (25.2, _stop_search),
    (24.0, _send_other_offer),
    (23.0, _spend_some),
    (22.4, _approve_some),
    (21.0, _refund_lamp),
    (20.5, _pay_lamp_back),
    (9.5, _count_stock),
    (8.99, _let_time_pass),
    (7.4, _bill_desks),
    (6.0, _begin_to_pay_desks),
    (5.39, _let_time_pass),
    (5.1, _refund_shelf),
    (4.6, partial(_order, 0)),
    (4.2, _ask_about_shelf),
    (3.8, _be_away),
    (3.39, _let_time_pass),
    (3.1, partial(_order, 1)),
    (3.0, _spend_more),
    (2.6, _deploy_shop),
    (2.2, _ask_again),
    (1.9, _take_on),
    (1.39, partial(_order, 2)),
    (1.1, _close_month),
    (0.7, _rent_a_hall),
    (0.4, partial(_order, 3)),
    (0.3, _put_off),
)
