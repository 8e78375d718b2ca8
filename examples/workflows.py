"""Three workflows: a purchase, a review in rounds, a deployment with a timed wait.

More are in ``finance`` and ``company``; workers look for them here.
"""

import hashlib
import time
from collections.abc import Generator
from datetime import timedelta
from typing import Any

import durable
from examples import company, finance, ledger  # noqa: F401 - importing registers functions
from examples.orders import Order

CANARY_WAIT = timedelta(seconds=20)
ROUNDS = 3


@durable.function
async def purchase(ctx: durable.Context, order: Order) -> str:
    """Ask finance, then book the order: the ledger's entry and the step's result are one commit."""
    await ctx.run(check_supplier, order.supplier)
    decision = await ctx.approval(
        title=f"Buy {order.item} from {order.supplier}?",
        question=f"{order.requester} asks to spend {order.amount:,} {order.currency}.",
        consequence=f"Approving books {order.amount:,} {order.currency} to the ledger.",
        facts={
            "Amount": f"{order.amount:,} {order.currency}",
            "Requested by": order.requester,
            "Supplier": order.supplier,
            "Order": order.order_id,
        },
        groups=["finance"],
        due=timedelta(hours=4),
    )
    if not decision.approved:
        return f"rejected by {decision.by}"
    entry = await ctx.transaction(ledger.book, order, decision.by)
    await ctx.run(place_order, order)
    await ctx.run(ledger.export)
    return f"booked as entry {entry}"


@durable.function
def check_supplier(supplier: str) -> str:
    """Stand in for a call to a supplier register."""
    time.sleep(0.2)
    return f"{supplier} is known"


@durable.function
def place_order(order: Order) -> str:
    """Stand in for a call to the supplier: the same order always gets the same confirmation."""
    time.sleep(0.5)
    return "C-" + hashlib.sha256(order.order_id.encode()).hexdigest()[:8].upper()


@durable.function
def review(ctx: durable.Context, title: str, text: str) -> Generator[Any, Any, str]:
    """A draft that is sent back is revised and shown again, with what was said of it before."""
    earlier = None
    for number in range(1, ROUNDS + 1):
        asked = yield ctx.begin_approval(
            title=f"Publish “{title}”?",
            question=text,
            consequence="Approving publishes the text as it stands.",
            facts={"Length": f"{len(text.split())} words"},
            groups=["editors"],
            answers=["approve", *(["rework"] if number < ROUNDS else []), "reject"],
            previous=earlier,
            round=number,
            rounds=ROUNDS,
        )
        decision = yield asked
        if decision.approved:
            address = yield ctx.run(publish, title, text)
            return f"published at {address}"
        if decision.answer != "rework":
            break
        text = yield ctx.run(revise, text, decision.comment)
        earlier = asked.id
    return f"rejected by {decision.by}"


@durable.function
def revise(text: str, comment: str) -> str:
    """Stand in for an author."""
    return f"{text}\n\nRevised after: {comment}"


@durable.function
def publish(title: str, text: str) -> str:
    """Stand in for a publishing system."""
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    return f"/articles/{title.lower().replace(' ', '-')}-{digest}"


@durable.function
async def deploy(ctx: durable.Context, service: str, version: str) -> str:
    """Build, put on one machine, wait and watch, ask, then roll out everywhere in parallel."""
    image = await ctx.run(build, service, version)
    await ctx.run(roll_out, image, "canary")
    await ctx.sleep(CANARY_WAIT)
    decision = await ctx.approval(
        title=f"Roll out {service} {version} everywhere?",
        question="The canary has run without errors.",
        consequence="Approving replaces the running version in three regions.",
        facts={"Service": service, "Version": version, "Image": image},
        groups=["operators"],
    )
    if not decision.approved:
        return await ctx.run(roll_back, service)
    regions = await ctx.all(
        [ctx.rpc(roll_out, image, region) for region in ("north", "south", "west")]
    )
    return ", ".join(regions)


@durable.function
def build(service: str, version: str) -> str:
    """Stand in for a build system."""
    time.sleep(1)
    return f"{service}:{version}"


@durable.function
def roll_out(image: str, region: str) -> str:
    """Stand in for a deployment to one region."""
    time.sleep(0.5)
    return f"{image} runs in {region}"


@durable.function
def roll_back(service: str) -> str:
    """Stand in for taking the canary away."""
    return f"{service} rolled back"
