"""The demo's orders: what one must look like, and who may post one."""

import json
from decimal import Decimal

import pytest

from examples.orders import Order, OrderError, parse_order, read_orders

GOOD = {
    "order_id": "99",
    "item": "Lamp",
    "supplier": "Lumen",
    "amount": 12.5,
    "currency": "EUR",
    "requester": "Sara",
}


def test_the_file_of_the_repository_is_right() -> None:
    orders = list(read_orders())
    assert orders[0] == Order(
        order_id="4711",
        item="Standing desks (6)",
        supplier="Nordholz Furniture",
        amount=Decimal("4200.00"),
        currency="EUR",
        requester="Jon",
    )
    assert len({order.order_id for order in orders}) == len(orders) == 4


@pytest.mark.parametrize(
    ("change", "field", "message"),
    [
        ({"item": None}, "item", "item must be a text that is not empty"),
        ({"item": "  "}, "item", "item must be a text that is not empty"),
        ({"item": "x" * 201}, "item", "item must not be longer than 200 characters"),
        ({"currency": "EURO"}, "currency", "currency must be a code of three letters"),
        ({"order_id": "a:b"}, "order_id", "order_id must not contain a colon"),
        ({"amount": True}, "amount", "amount must be a number"),
        ({"amount": "many"}, "amount", "amount must be a number"),
        ({"amount": [1]}, "amount", "amount must be a number"),
        ({"amount": "NaN"}, "amount", "amount must be more than 0 and at most 1000000000"),
        ({"amount": 0}, "amount", "amount must be more than 0 and at most 1000000000"),
    ],
)
def test_a_wrong_order_names_its_field(change, field, message) -> None:
    with pytest.raises(OrderError) as caught:
        parse_order(GOOD | change)
    assert (caught.value.field, str(caught.value)) == (field, message)


@pytest.mark.parametrize("field", sorted(GOOD))
def test_a_missing_field_is_named(field) -> None:
    with pytest.raises(OrderError, match=f"^{field} is missing$"):
        parse_order({name: value for name, value in GOOD.items() if name != field})


def post(client, body: bytes | str, **extra):
    return client.post("/demo/orders", body, content_type="application/json", **extra)


def test_a_posted_order_starts_an_execution(client, db) -> None:
    from durable.models import Promise

    response = post(client, json.dumps(GOOD))
    assert response.status_code == 201
    assert response.json() == {"execution": "purchase-99"}
    assert Promise.objects.get(id="purchase-99").function == "purchase"


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        (
            json.dumps({**GOOD, "supplier": ""}),
            {"error": "supplier must be a text that is not empty", "field": "supplier"},
        ),
        ("[]", {"error": "the body is no JSON object: it is a list"}),
        (
            "{",
            {
                "error": "the body is no JSON object: Expecting property name enclosed in double "
                "quotes: line 1 column 2 (char 1)"
            },
        ),
    ],
)
def test_a_bad_body_is_400(client, db, body, answer) -> None:
    response = post(client, body)
    assert response.status_code == 400
    assert response.json() == answer


def test_bytes_that_are_no_text_are_400(client, db) -> None:
    assert post(client, b"\xff\xfe\x00").status_code == 400


def test_a_large_body_is_413(client, db) -> None:
    assert post(client, b" " * 20_000).status_code == 413


@pytest.mark.parametrize("address", ["10.0.0.1", "2001:db8::1", ""])
def test_only_this_machine_may_post(client, db, address) -> None:
    response = post(client, json.dumps(GOOD), REMOTE_ADDR=address)
    assert response.status_code == 403
    assert response.json() == {"error": "only this machine may post orders"}


def test_get_is_refused(client, db) -> None:
    assert client.get("/demo/orders").status_code == 405
