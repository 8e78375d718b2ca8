"""Money: invoices that several approve, refunds with a form, offers to edit, small expenses."""

import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import durable

TWO_AND_THE_HEAD = {
    "all_of": [
        {"group": "finance", "count": 2},
        {
            "label": "Head of finance, or the board",
            "any_of": [{"user": "ida"}, {"group": "board", "after": "PT8H"}],
        },
    ],
}
_NUDGES = {
    "reminders": [{"at": "50%"}, {"at": "due"}],
    "ladder": [{"at": "due+PT2H", "add": {"groups": ["board"]}}],
}

REFUND = {
    "type": "object",
    "properties": {
        "much": {
            "title": "How much",
            "oneOf": [
                {"const": "all", "title": "All of it"},
                {"const": "part", "title": "A part"},
            ],
        },
        "reason": {
            "title": "Reason",
            "enum": ["damaged", "came too late", "wrong item", "goodwill"],
        },
        "goes_back": {"title": "The goods come back", "type": "boolean", "default": True},
        "note": {
            "title": "Note to the customer",
            "type": "string",
            "maxLength": 500,
            "description": "Goes into the mail as it stands.",
        },
    },
    "required": ["much", "reason"],
    "if": {"properties": {"much": {"const": "part"}}, "required": ["much"]},
    "then": {
        "properties": {
            "amount": {"title": "Amount in EUR", "type": "string", "format": "decimal"},
        },
        "required": ["amount"],
    },
}

OFFER = {
    "type": "object",
    "properties": {
        "customer": {"title": "Customer", "type": "string"},
        "price": {"title": "Price in EUR", "type": "integer", "minimum": 1},
        "discount": {"title": "Discount in percent", "type": "integer", "maximum": 30},
        "delivery": {"title": "Delivery", "type": "string", "format": "date"},
        "terms": {"title": "Terms", "type": "string", "format": "textarea"},
    },
    "required": ["customer", "price", "discount", "delivery", "terms"],
}


class CardClosedError(Exception):
    """The bank no longer knows the card."""


@durable.function
async def pay_invoice(
    ctx: durable.Context, number: str, supplier: str, amount: str, goods: str
) -> str:
    """Two of finance and the head of it approve; then it is paid."""
    received = await ctx.run(match_delivery, number, goods)
    decision = await ctx.approval(
        title=f"Pay invoice {number} to {supplier}?",
        question="Is the amount right, and did we get the goods?",
        consequence=f"Approving pays {amount} today.",
        context=f"The delivery note says **{received}**. The order was placed in spring:\n\n"
        "- half was paid in advance\n- the warranty runs for three years",
        facts={"Amount": amount, "Supplier": supplier, "Invoice": number, "Goods": goods},
        summary=["Amount", "Supplier"],
        type="invoice",
        priority="high",
        policy=TWO_AND_THE_HEAD,
        due=timedelta(hours=4),
        answers=["approve", "rework", "reject"],
        **_NUDGES,
    )
    if not decision.approved:
        return f"not paid: {decision.comment}"
    return await ctx.run(transfer, supplier, amount)


@durable.function
async def pay_deposit(ctx: durable.Context, landlord: str, amount: str, account: str) -> str:
    """Much money to a new account: who approves types its last characters, and may take it back."""
    decision = await ctx.approval(
        title=f"Pay a deposit of {amount} to {landlord}?",
        question="The account is new to us. Compare it with the lease before you answer.",
        consequence=f"Approving sends {amount} at once. The bank does not call it back.",
        facts={"Amount": amount, "Landlord": landlord, "Account": account},
        summary=["Amount", "Landlord"],
        groups=["finance"],
        type="deposit",
        confirm={"text": account[-4:], "label": "Last four digits of the account, to confirm"},
        undo=30,
    )
    return await ctx.run(transfer, landlord, amount) if decision.approved else "not paid"


@durable.function
def match_delivery(number: str, goods: str) -> str:
    """Stand in for the delivery notes."""
    time.sleep(0.1)
    return f"{goods}, complete, with invoice {number}"


@durable.function
def transfer(to: str, amount: str) -> str:
    """Stand in for the bank."""
    time.sleep(0.3)
    return f"{amount} to {to}"


@durable.function
async def refund(ctx: durable.Context, order: str, customer: str, amount: str, card: str) -> str:
    """Somebody of finance fills in how much goes back and why; then the card gets it."""
    decision = await ctx.approval(
        title=f"Refund order {order} to {customer}?",
        question="The customer writes that the delivery was not what they had ordered.",
        consequence="Approving sends the money back to the card.",
        facts={"Amount": amount, "Customer": customer, "Card": card, "Order": order},
        summary=["Amount", "Customer"],
        secrets=["/facts/Card"],
        groups=["finance"],
        type="refund",
        form=REFUND,
        due=timedelta(hours=6),
    )
    if not decision.approved:
        return "nothing was sent back"
    return await ctx.run(pay_back, card, decision.values)


@durable.function(retry=durable.Constant(delay=0.2, max_attempts=3))
def pay_back(card: str, wanted: Mapping[str, Any]) -> str:
    """Stand in for the bank, which does not know every card."""
    if card.startswith("0"):
        message = f"the card that ends with {card[-4:]} was closed"
        raise CardClosedError(message)
    return f"paid back: {wanted.get('amount', 'all')}"


@durable.function
async def send_offer(ctx: durable.Context, offer: dict[str, Any]) -> str:
    """Somebody of sales reads the offer, changes what is not right, and lets it go."""
    decision = await ctx.approval(
        title=f"Send this offer to {offer['customer']}?",
        question="Price, discount and terms can be changed before it goes out.",
        consequence="Approving mails the offer as it stands then.",
        facts={"Asked for": "by mail, on Monday", "Customer since": "2019"},
        groups=["sales"],
        type="offer",
        proposal=offer,
        editable=["/price", "/discount", "/delivery", "/terms"],
        form=OFFER,
        due=timedelta(hours=24),
    )
    if not decision.approved:
        return "not sent"
    return await ctx.run(mail_offer, decision.values)


@durable.function
def mail_offer(offer: Mapping[str, Any]) -> str:
    """Stand in for a mail server."""
    return f"offer over {offer['price']} EUR sent to {offer['customer']}"


@durable.function
async def expense(ctx: durable.Context, who: str, what: str, amount: str) -> str:
    """Something small, of which there are many: they are answered several at once."""
    decision = await ctx.approval(
        title=f"{what}, {amount}",
        facts={"By": who, "Amount": amount},
        groups=["finance"],
        type="expense",
        priority="low",
    )
    return f"{amount} to {who}" if decision.approved else "not paid"
