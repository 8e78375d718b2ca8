"""Rights, contracts, releases, stock and reports: other things that a company waits for."""

import time
from datetime import datetime
from typing import Any

import durable


@durable.function
async def grant_access(ctx: durable.Context, who: str, what: str, until: datetime) -> str:
    """Ask the operators; silence is a no."""
    decision = await ctx.approval(
        title=f"Give {who} access to {what}?",
        question="Needed to look into a report that came out wrong.",
        consequence=f"Approving opens {what} for eight hours.",
        facts={"Who": who, "What": what, "For": "eight hours"},
        groups=["operators"],
        type="access",
        priority="urgent",
        expires=until.isoformat(),
        on_expiry="reject",
    )
    return f"{who} may use {what}" if decision.approved else f"{who} may not use {what}"


@durable.function
async def renew_contract(ctx: durable.Context, supplier: str, ask_at: datetime) -> str:
    """Sleep until the contract can be ended, then ask."""
    await ctx.sleep(ask_at)
    decision = await ctx.approval(title=f"Renew the contract with {supplier}?", groups=["finance"])
    return "renewed" if decision.approved else "ended"


@durable.function
async def release(ctx: durable.Context, version: str, pull_request: int) -> str:
    """Wait until GitHub's webhook says that the pull request was merged, then publish."""
    merged = await ctx.promise(id=f"pr-{pull_request}-review")
    commit: dict[str, Any] = await merged
    return await ctx.run(publish_release, version, commit["commit"])


@durable.function
def publish_release(version: str, commit: str) -> str:
    """Stand in for a package registry."""
    time.sleep(0.2)
    return f"{version} from {commit[:7]}"


@durable.function
async def count_stock(ctx: durable.Context, shelves: int) -> int:
    """Count all shelves side by side."""
    counted = await ctx.all([ctx.run(count_shelf, number) for number in range(1, shelves + 1)])
    return sum(counted)


@durable.function
def count_shelf(number: int) -> int:
    """Stand in for somebody with a scanner."""
    time.sleep(0.02)
    return number * 37 % 101


@durable.function
def close_month(month: str) -> str:
    """Stand in for what takes long, and runs in a worker group of its own."""
    time.sleep(120)
    return f"{month} is closed"
