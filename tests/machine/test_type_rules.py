"""The type rules common to all requests (protocol.md 3.0): a 400 before anything is looked up."""

import pytest

from durable.machine.state import Config
from durable.protocol import requests, tags
from durable.protocol.records import Value
from durable.protocol.requests import PromiseGet, Reply, Request
from durable.protocol.validation import (
    MAX_CRON_BYTES,
    MAX_ID_BYTES,
    MAX_INSTANT,
    MAX_TAGS,
    MAX_TAGS_BYTES,
    find_error,
)
from tests.machine.checked import CheckedStore
from tests.machine.factories import (
    ADDRESS,
    INTERNAL,
    NOW,
    TARGETED,
    acquire,
    create,
    fence,
    fulfill,
    heartbeat,
    listen,
    release,
    schedule,
    settle,
    start,
    suspend,
)

TOO_LATE = MAX_INSTANT + 1
CALLBACK = requests.PromiseRegisterCallback


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        (PromiseGet(""), "Promise ID is required"),
        (PromiseGet("a\0b"), "Promise ID must not contain null bytes"),
        (create(""), "Promise ID is required"),
        (create("\0"), "Promise ID must not contain null bytes"),
        (create(timeout_at=-1), "TimeoutAt must be a non-negative integer"),
        (create(timeout_at=TOO_LATE), f"TimeoutAt must not exceed {MAX_INSTANT}"),
        (settle(""), "Promise ID is required"),
        (CALLBACK("", "a"), "Awaited promise ID is required"),
        (CALLBACK("a", ""), "Awaiter promise ID is required"),
        (CALLBACK("a", "\0"), "Awaiter promise ID must not contain null bytes"),
        (listen("", ADDRESS), "Promise ID is required"),
        (listen("a", ""), "Address is required"),
        (listen("a", "http://\0"), "Address must not contain null bytes"),
        (requests.TaskGet(""), "Task ID is required"),
        (start(pid=""), "Process ID is required"),
        (start(ttl=0), "TTL must be a positive integer"),
        (start(ttl=-5), "TTL must be a positive integer"),
        (start(ttl=TOO_LATE), f"TTL must not exceed {MAX_INSTANT}"),
        (start(""), "Promise ID is required"),
        (start(timeout_at=-1), "TimeoutAt must be a non-negative integer"),
        (acquire(""), "Task ID is required"),
        (acquire(version=-1), "Version must be a non-negative integer"),
        (acquire(pid=""), "Process ID is required"),
        (acquire(ttl=0), "TTL must be a positive integer"),
        (fence(create("x"), ""), "Task ID is required"),
        (fence(create("x"), version=-1), "Version must be a non-negative integer"),
        (fence(create("")), "Promise ID is required"),
        (fence(settle("")), "Promise ID is required"),
        (heartbeat(("a", 1), pid=""), "Process ID is required"),
        (heartbeat(("", 1)), "Task ID is required"),
        (heartbeat(("a", -1)), "Version must be a non-negative integer"),
        (suspend("", "b"), "Task ID is required"),
        (suspend("a", "b", version=-1), "Version must be a non-negative integer"),
        (suspend("a", ""), "Awaited promise ID is required"),
        (fulfill(""), "Task ID is required"),
        (fulfill("a", -1), "Version must be a non-negative integer"),
        (
            requests.TaskFulfill("a", 1, settle("")),
            "Promise ID is required",
        ),
        (release(""), "Task ID is required"),
        (release("a", -1), "Version must be a non-negative integer"),
        (requests.TaskHalt(""), "Task ID is required"),
        (requests.TaskContinue(""), "Task ID is required"),
        (requests.ScheduleGet(""), "Schedule ID is required"),
        (requests.ScheduleDelete("s\0"), "Schedule ID must not contain null bytes"),
        (schedule(""), "Schedule ID is required"),
        (schedule(cron=""), "Cron is required"),
        (schedule(promise_id=""), "Promise ID is required"),
        (schedule(promise_id="\0"), "Promise ID must not contain null bytes"),
        (schedule(promise_timeout=-1), "PromiseTimeout must be a non-negative integer"),
        (schedule(promise_timeout=TOO_LATE), f"PromiseTimeout must not exceed {MAX_INSTANT}"),
    ],
)
def test_broken_type_rules_are_refused(store: CheckedStore, request_: Request, text: str) -> None:
    assert store.ask(request_, NOW) == Reply(400, text)


LONG = "é" * (MAX_ID_BYTES // 2)
HALF = "\ud800"
MANY = {str(n): "" for n in range(MAX_TAGS + 1)}


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        (create(LONG + "x"), f"Promise ID must not exceed {MAX_ID_BYTES} bytes"),
        (create(HALF), "Promise ID must not contain unpaired surrogates"),
        (create("a", MANY), f"Tags must not be more than {MAX_TAGS}"),
        (create("a", {"\0": "x"}), "Tags must not contain null bytes"),
        (create("a", {"x": HALF}), "Tags must not contain unpaired surrogates"),
        (
            create("a", {"x": "y" * MAX_TAGS_BYTES}),
            f"Tags must not exceed {MAX_TAGS_BYTES} bytes",
        ),
        (
            create("a", {tags.TARGET: LONG + "x"}),
            f"resonate:target must not exceed {MAX_ID_BYTES} bytes",
        ),
        (create("a", param=Value(data="\0")), "Param data must not contain null bytes"),
        (settle("a", value=Value(data=HALF)), "Value data must not contain unpaired surrogates"),
        (
            settle("a", value=Value(headers={"x": "\0"})),
            "Value headers must not contain null bytes",
        ),
        (start("a", promise_tags={"\0": "x"}), "Tags must not contain null bytes"),
        (fence(create("x", {"\0": "x"})), "Tags must not contain null bytes"),
        (fulfill("a", value=Value(data="\0")), "Value data must not contain null bytes"),
        (schedule(cron="*" * 257), f"Cron must not exceed {MAX_CRON_BYTES} bytes"),
        (schedule(promise_tags={"\0": "x"}), "PromiseTags must not contain null bytes"),
        (schedule(promise_param=Value(data="\0")), "PromiseParam data must not contain null bytes"),
        (
            schedule("s" * 600, promise_id="{{.id}}{{.id}}"),
            f"Promise ID, when expanded, must not exceed {MAX_ID_BYTES} bytes",
        ),
    ],
)
def test_what_cannot_be_stored_is_refused(
    store: CheckedStore, request_: Request, text: str
) -> None:
    assert store.ask(request_, NOW) == Reply(400, text)


def test_edges_of_the_type_rules_pass(store: CheckedStore) -> None:
    for request in (
        create("a", INTERNAL, MAX_INSTANT),
        create("b", TARGETED, 0),
        create("é 漢/.:{}", INTERNAL),
        create(LONG, {tags.TARGET: LONG}, param=Value({"x": "y"}, "z" * 100_000)),
        start("c", ttl=1),
        start("d", ttl=MAX_INSTANT),
        schedule(promise_timeout=0),
        schedule("t", promise_timeout=MAX_INSTANT),
    ):
        assert find_error(request) is None
        assert store.ask(request, NOW).status == 200


def test_retries_must_move_on() -> None:
    for retry_timeout in (0, -1):
        with pytest.raises(
            ValueError, match=f"^retry_timeout must be positive, not {retry_timeout}$"
        ):
            Config(retry_timeout=retry_timeout)
