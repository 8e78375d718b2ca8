"""Texts, rights, contracts and deployments; and who is away."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import durable
from dashboard import cancellation, claims, delegations
from durable.clock import now_ms
from durable.models import Promise
from examples.company import close_month, count_stock, grant_access, renew_contract
from examples.orders import Order
from examples.people import find_person
from examples.story import actors
from examples.workflows import deploy, purchase, review

ARTICLE = (
    "From Monday the office in Aarhus opens at eight. Deliveries go to the door in the yard, and"
    " guests ring at the front. Please tell your suppliers."
)
_HOUR_MS = 3_600_000


def open_early() -> None:
    actors.by("mia").start("review-opening-hours", review, "New opening hours", ARTICLE)


def send_back() -> None:
    comment = "Say which Monday, and who to call."
    actors.answer("jon", "review-opening-hours", "rework", comment)


def ask_for_access() -> None:
    until = datetime.fromtimestamp(now_ms() / 1000, UTC) + timedelta(hours=20)
    actors.by("jon").start("access-payroll", grant_access, "Jon Berg", "the payroll", until)


def ask_again() -> None:
    until = datetime.fromtimestamp(now_ms() / 1000, UTC) + timedelta(hours=6)
    actors.by("jon").start("access-reports", grant_access, "Jon Berg", "the reports", until)


def take_on() -> None:
    claims.claim(actors.question("access-reports"), actors.actor("olga"))


def renew() -> None:
    at = datetime.fromtimestamp(now_ms() / 1000, UTC) + timedelta(days=12)
    actors.by("finn").start("contract-kestrel", renew_contract, "Kestrel Storage", at)


def run_late() -> None:
    """Something whose deadline passes before anybody answers."""
    order = Order("4706", "Ice cream for the party", "Gelato Nord", Decimal(180), "EUR", "Jon")
    actors.by("jon", timedelta(hours=9)).start("purchase-4706", purchase, order)


def deploy_search() -> None:
    actors.by("olga").start("deploy-search-6", deploy, "search", "6")


def stop_search() -> None:
    root = Promise.objects.get(pk="deploy-search-6")
    cancellation.cancel(root, actors.actor("olga"), "Version 7 has the fix, and comes today.")


def deploy_shop() -> None:
    actors.by("olga").start("deploy-shop-42", deploy, "shop", "42")


def begin_to_count_stock() -> None:
    durable.start("stock-november", count_stock, 36)


def begin_to_close_month() -> None:
    durable.options(target="reports").start("month-october", close_month, "October")


def be_away() -> None:
    now = now_ms()
    jon, mia = find_person("jon"), find_person("mia")
    ends = now + 5 * 24 * _HOUR_MS
    delegations.delegate(actors.actor("jon"), mia, starts_at=now, ends_at=ends)
    starts = now + 20 * 24 * _HOUR_MS
    delegations.delegate(
        actors.actor("mia"),
        find_person("finn"),
        starts_at=starts,
        ends_at=starts + 7 * 24 * _HOUR_MS,
        group=mia.groups.get(name="finance"),
    )
    delegations.forget(jon)
