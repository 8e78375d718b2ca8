"""Purchase orders: where they come from, and what one must look like."""

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

ORDERS = Path(__file__).with_name("orders.csv")
_TEXTS = ("order_id", "item", "supplier", "currency", "requester")
_MAX_LENGTH = 200
_CURRENCY_LENGTH = 3
_MAX_AMOUNT = Decimal(10) ** 9


@dataclass(frozen=True)
class Order:
    """A purchase that somebody asks for."""

    order_id: str
    item: str
    supplier: str
    amount: Decimal
    currency: str
    requester: str


class OrderError(ValueError):
    """An order is not one; ``field`` says where."""

    def __init__(self, field: str, problem: str) -> None:
        """``problem`` continues the sentence that the field starts."""
        super().__init__(f"{field} {problem}")
        self.field = field


def parse_order(given: Mapping[str, Any]) -> Order:
    """Return the order that a mapping describes; raises ``OrderError`` naming the wrong field."""
    texts = {name: _text(name, given) for name in _TEXTS}
    if len(texts["currency"]) != _CURRENCY_LENGTH:
        raise OrderError("currency", "must be a code of three letters")
    if ":" in texts["order_id"]:
        raise OrderError("order_id", "must not contain a colon")
    return Order(amount=_amount(given), **texts)


def _text(name: str, given: Mapping[str, Any]) -> str:
    if name not in given:
        raise OrderError(name, "is missing")
    value = given[name]
    if not isinstance(value, str) or not value.strip():
        raise OrderError(name, "must be a text that is not empty")
    if len(value) > _MAX_LENGTH:
        raise OrderError(name, f"must not be longer than {_MAX_LENGTH} characters")
    return value.strip()


def _amount(given: Mapping[str, Any]) -> Decimal:
    if "amount" not in given:
        raise OrderError("amount", "is missing")
    value = given["amount"]
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise OrderError("amount", "must be a number")
    try:
        amount = Decimal(str(value))
    except InvalidOperation as error:
        raise OrderError("amount", "must be a number") from error
    if not (amount.is_finite() and 0 < amount <= _MAX_AMOUNT):
        raise OrderError("amount", f"must be more than 0 and at most {_MAX_AMOUNT}")
    return amount.quantize(Decimal("0.01"))


def read_orders(path: Path = ORDERS) -> Iterator[Order]:
    """Yield the orders of a CSV file with a header row; raises ``OrderError``."""
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            yield parse_order(row)
