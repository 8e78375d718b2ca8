"""Purchases, invoices, refunds, offers and expenses."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from django.http import QueryDict

from dashboard import bulk, saved_views, snoozing
from dashboard.answering import Answer
from dashboard.models import Comment, HumanTask, Place
from durable.clock import now_ms
from examples.finance import expense, pay_deposit, pay_invoice, refund, send_offer
from examples.orders import Order, read_orders
from examples.story import actors
from examples.workflows import purchase

_HOUR_MS = 3_600_000


def _buy(order_id: str, item: str, supplier: str, amount: str) -> None:
    order = Order(order_id, item, supplier, Decimal(amount), "EUR", "Jon")
    actors.by("jon").start(f"purchase-{order_id}", purchase, order)


def buy_chairs() -> None:
    _buy("4708", "Office chairs (12)", "Nordholz Furniture", "3480.00")
    _buy("4709", "Drone with camera", "Skyward", "2199.00")


def decide_on_chairs() -> None:
    actors.answer("mia", "purchase-4708", "approve", "In the budget.")
    actors.answer("finn", "purchase-4709", "reject", "The old one still flies.")


def buy_from_file(place: int) -> None:
    order = list(read_orders())[place]
    actors.by("jon").start(f"purchase-{order.order_id}", purchase, order)


def bill_paper() -> None:
    actors.by("jon").start(
        "invoice-20415", pay_invoice, "20415", "Papierhaus Lenz", "612.40 EUR", "80 reams of paper"
    )


def pay_paper() -> None:
    actors.answer("mia", "invoice-20415", "approve")
    actors.answer("finn", "invoice-20415", "approve", "Counted them myself.")
    actors.answer("ida", "invoice-20415", "approve")


def bill_desks() -> None:
    actors.by("jon").start(
        "invoice-20417",
        pay_invoice,
        "20417",
        "Nordholz Furniture",
        "8,940.00 EUR",
        "six standing desks",
    )


def begin_to_pay_desks() -> None:
    actors.answer("finn", "invoice-20417", "approve", "Desks are up, one drawer is missing.")
    actors.say("jon", "invoice-20417", "The drawer comes on Friday.", Comment.Kind.REMARK)


def rent_a_hall() -> None:
    account = "DK50 0040 0440 1162 43"
    start = actors.by("jon").start
    start(
        "deposit-harbour", pay_deposit, "Harbour Halls", "18,000.00 EUR", account.replace(" ", "")
    )


def put_off() -> None:
    """Mia looks at one purchase later, and keeps a list of what is dear to her."""
    mia = actors.actor("mia")
    snoozing.snooze(actors.question("purchase-4713"), mia, now_ms() + _HOUR_MS)
    for name, query in (
        ("Invoices", "type=invoice"),
        ("Overdue refunds", "type=refund&due=overdue"),
    ):
        saved_views.save_view(mia, Place.INBOX, QueryDict(query), name=name)


def refund_lamp() -> None:
    start = actors.by("jon").start
    start("refund-3388", refund, "3388", "Tove Nyman", "59.00 EUR", "0000 4412 8810 2277")


def pay_lamp_back() -> None:
    actors.answer(
        "mia", "refund-3388", "approve", much="all", reason="damaged", goes_back=False, note=""
    )


def refund_shelf() -> None:
    start = actors.by("jon").start
    start("refund-3391", refund, "3391", "Karim Haddad", "248.00 EUR", "4929 1102 7730 5514")


def ask_about_shelf() -> None:
    actors.say("mia", "refund-3391", "Which boards were scratched?", Comment.Kind.ASKED)
    actors.say(
        "jon", "refund-3391", "The two long ones. Photos are in the case.", Comment.Kind.REPLIED
    )


def _offer(execution: str, customer: str, price: int, discount: int) -> None:
    delivery = datetime.fromtimestamp(now_ms() / 1000, UTC).date() + timedelta(days=20)
    offer = {
        "customer": customer,
        "price": price,
        "discount": discount,
        "delivery": delivery.isoformat(),
        "terms": "Payable within 30 days.\nInstallation is included.",
    }
    actors.by("jon").start(execution, send_offer, offer)


def offer_ovens() -> None:
    _offer("offer-871", "Hansen Bakery", 12_400, 12)
    _offer("offer-869", "Café Lumen", 3_150, 15)


def send_other_offer() -> None:
    question = HumanTask.objects.get(pk=actors.question("offer-869"))
    offer = question.description["proposal"]
    changed = offer | {"price": 3_290, "discount": 10}
    actors.answer("mia", "offer-869", "approve", "15 percent is for large orders.", **changed)


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
        actors.by("jon").start(f"expense-{900 + number}", expense, "Jon Berg", what, amount)


def spend_some() -> None:
    _spend(range(2))


def approve_some() -> None:
    ids = [actors.question(f"expense-{900 + number}") for number in range(2)]
    job = bulk.prepare(actors.actor("finn"), ids=ids)
    bulk.start(job, Answer("approve", "With receipts."))


def spend_more() -> None:
    _spend(range(2, len(_EXPENSES)))
