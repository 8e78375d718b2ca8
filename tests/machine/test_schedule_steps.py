"""The guard table of schedule.* (protocol.md 3.17), row by row."""

import pytest

from durable.protocol import tags
from durable.protocol.records import ScheduleRecord
from durable.protocol.requests import (
    PromiseGet,
    Reply,
    Request,
    ScheduleDelete,
    ScheduleGet,
)
from tests.machine.checked import CheckedStore, copied
from tests.machine.factories import (
    INTERNAL,
    NOW,
    TARGETED,
    TIMER,
    VALUE,
    Given,
    give,
    schedule,
)

MINUTES = 60_000


@pytest.mark.parametrize(
    ("given", "request_", "status", "text"),
    [
        pytest.param((), ScheduleGet("s"), 404, "Schedule not found", id="get unknown"),
        pytest.param((), ScheduleDelete("s"), 404, "Schedule not found", id="delete unknown"),
        pytest.param(
            [schedule()],
            schedule(promise_tags=TARGETED | TIMER),
            400,
            "A promise cannot be a timer and have a resonate:target tag",
            id="create of timers with a target",
        ),
        pytest.param(
            (),
            schedule(promise_tags={tags.TARGET: ""}),
            400,
            "resonate:target must not be empty",
            id="create with an empty target",
        ),
        pytest.param(
            (),
            schedule(promise_tags=TARGETED | {tags.DELAY: "5"}),
            400,
            "promiseTags must not have a resonate:delay tag",
            id="create with a delay",
        ),
        pytest.param(
            [schedule()],
            schedule(cron="every day"),
            400,
            "Invalid cron expression",
            id="create with nonsense, though it exists",
        ),
        pytest.param(
            (),
            schedule(cron="0 0 31 2 *"),
            400,
            "Invalid cron expression",
            id="create with an impossible date",
        ),
    ],
)
def test_refusals_change_nothing(
    store: CheckedStore, given: Given, request_: Request, status: int, text: str
) -> None:
    give(store, given)
    before = copied(store.state)
    assert store.ask(request_, NOW) == Reply(status, text)
    assert store.state == before


@pytest.mark.parametrize("promise_tags", [INTERNAL, TARGETED, TIMER])
def test_create_answers_with_the_record(store: CheckedStore, promise_tags: dict[str, str]) -> None:
    reply = store.ask(schedule(promise_tags=promise_tags, promise_param=VALUE), NOW)
    expected = ScheduleRecord(
        id="s",
        cron="*/5 * * * *",
        promise_id="{{.id}}-{{.timestamp}}",
        promise_timeout=3_600_000,
        promise_param=VALUE,
        promise_tags=promise_tags,
        created_at=NOW,
        next_run_at=5 * MINUTES,
    )
    assert reply == Reply(200, schedule=expected)
    assert store.ask(ScheduleGet("s"), NOW) == reply


@pytest.mark.parametrize(
    ("now", "next_run_at"),
    [(0, 5), (5 * MINUTES - 1, 5), (5 * MINUTES, 10), (5 * MINUTES + 1, 10)],
)
def test_first_run_is_strictly_after_now(store: CheckedStore, now: int, next_run_at: int) -> None:
    found = store.ask(schedule(), now).schedule
    assert found.next_run_at == next_run_at * MINUTES
    assert found.last_run_at is None


def test_create_again_answers_with_what_was_first(store: CheckedStore) -> None:
    first = store.ask(schedule(), 0)
    again = schedule(cron="* * * * *", promise_id="x", promise_timeout=1, promise_tags=TARGETED)
    assert store.ask(again, NOW) == first


def test_ids_may_contain_the_separators(store: CheckedStore) -> None:
    for schedule_id in ("a.b", "a:b"):
        assert store.ask(schedule(schedule_id), NOW).status == 200


def test_delete_keeps_what_was_fired(store: CheckedStore) -> None:
    give(store, [schedule()])
    store.tick(5 * MINUTES)
    assert store.ask(ScheduleDelete("s"), 5 * MINUTES) == Reply(200)
    assert store.ask(ScheduleGet("s"), 5 * MINUTES).status == 404
    assert store.ask(PromiseGet(f"s-{5 * MINUTES}"), 5 * MINUTES).status == 200
    store.tick(60 * MINUTES)
    assert len(store.state.promises) == 1


def test_create_after_delete_starts_anew(store: CheckedStore) -> None:
    give(store, [schedule(), ScheduleDelete("s")])
    found = store.ask(schedule(cron="0 * * * *"), NOW).schedule
    assert (found.created_at, found.next_run_at) == (NOW, 60 * MINUTES)
