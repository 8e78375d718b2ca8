"""Durable functions of the pages' own: they run on the workers of the group ``SIGNOFF_GROUP``."""

import durable
from dashboard import bulk, holding
from dashboard.attendance import FUNCTION
from dashboard.channels import digests, executions
from dashboard.descriptions.timing import EXPIRY
from dashboard.timekeeping import Fired, fire
from durable.workflow.instants import to_datetime

_FOR_EVER = durable.Exponential(max_attempts=None, max_delay=300)
_FOR_AN_HOUR = durable.Exponential(delay=2, factor=3, max_delay=900, max_attempts=10)
_FOR_A_WHILE = durable.Exponential(delay=60, max_attempts=5)


@durable.function(name=FUNCTION)
async def attend(
    ctx: durable.Context,
    promise_id: str,
    asked_at: int,
    started_at: int,
    moments: list[tuple[int, str]],
) -> str:
    """Wait for the times of a question, and do what is to be done then, until it is over."""
    reached = 0
    for at, key in moments:
        if at > reached:
            await ctx.sleep(to_datetime(at) or 0)
            reached = at
        step = ctx.transaction(fire, promise_id, asked_at, started_at, key).options(
            retry=_FOR_EVER if key == EXPIRY else _FOR_A_WHILE
        )
        try:
            if await step == Fired.OVER:
                break
        except Exception:  # a reminder that fails must not keep the expiry from coming
            ctx.logger.exception("cannot do what is due", extra={"action": "attend", "key": key})
    return "over"


@durable.function(name=bulk.FUNCTION)
async def answer_in_bulk(ctx: durable.Context, job_id: str) -> str:
    """Answer the questions of a job, some at a time, until none is left or it is stopped."""
    while await ctx.run(bulk.answer_some, job_id):
        pass
    return "over"


@durable.function(name=holding.FUNCTION)
async def send_answer(ctx: durable.Context, held_id: str, at: int) -> str:
    """Wait as long as an answer can be taken back, then give it."""
    await ctx.sleep(to_datetime(at) or 0)
    return await ctx.transaction(holding.send, held_id).options(retry=_FOR_EVER)


@durable.function(name=digests.FUNCTION)
async def send_digest(ctx: durable.Context, preference_id: int, at: int) -> str:
    """Wait for the hour of a digest, send it, and leave the next to another execution."""
    await ctx.sleep(to_datetime(at) or 0)
    try:
        await ctx.run(digests.send, preference_id, ctx.info.id).options(retry=_FOR_AN_HOUR)
    except Exception:  # one that cannot be sent must not keep the next from coming
        ctx.logger.exception("cannot send a digest", extra={"action": "digest"})
    await ctx.transaction(digests.go_on, preference_id, ctx.info.id, at).options(retry=_FOR_EVER)
    return "over"


@durable.function(name=executions.OPENING)
async def await_opening(ctx: durable.Context, promise_id: str, asked_at: int, at: int) -> str:
    """Wait until a part of a question's policy opens, then ask those whose turn it is."""
    await ctx.sleep(to_datetime(at) or 0)
    tell = ctx.transaction(executions.tell_whose_turn_it_became, promise_id, asked_at, at)
    await tell.options(retry=_FOR_EVER)
    return "over"
