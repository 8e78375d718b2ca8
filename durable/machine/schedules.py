"""Steps of schedule.* (protocol.md 3.17)."""

from durable.machine import cron
from durable.machine.env import Env
from durable.machine.replies import SCHEDULE_NOT_FOUND, TIMER_WITH_TARGET, invalid
from durable.machine.state import Schedule
from durable.protocol import tags
from durable.protocol.requests import OK, Reply, ScheduleCreate, ScheduleDelete, ScheduleGet


def get(env: Env, request: ScheduleGet) -> Reply:
    """schedule.get."""
    schedule = env.schedule(request.id)
    if schedule is None:
        return SCHEDULE_NOT_FOUND
    return Reply(OK, schedule=schedule.record())


def create(env: Env, request: ScheduleCreate) -> Reply:
    """schedule.create: first write wins; fires first at the next instant strictly after now."""
    if tags.is_timer(request.promise_tags) and tags.TARGET in request.promise_tags:
        return TIMER_WITH_TARGET
    if request.promise_tags.get(tags.TARGET) == "":
        return invalid("resonate:target must not be empty")
    if tags.DELAY in request.promise_tags:  # an absolute instant, so wrong for all but one
        return invalid("promiseTags must not have a resonate:delay tag")
    try:
        next_run_at = cron.next_occurrence(request.cron, env.now)
    except cron.InvalidCronError:
        return invalid("Invalid cron expression")
    schedule = env.schedule(request.id)
    if schedule is None:
        schedule = env.set_schedule(
            Schedule(
                id=request.id,
                cron=request.cron,
                promise_id=request.promise_id,
                promise_timeout=request.promise_timeout,
                promise_param=request.promise_param,
                promise_tags=request.promise_tags,
                created_at=env.now,
                next_run_at=next_run_at,
            )
        )
    return Reply(OK, schedule=schedule.record())


def delete(env: Env, request: ScheduleDelete) -> Reply:
    """schedule.delete: what was fired stays."""
    if env.schedule(request.id) is None:
        return SCHEDULE_NOT_FOUND
    env.delete_schedule(request.id)
    return Reply(OK)
