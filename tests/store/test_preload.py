"""What a reply brings along for replay, and which promises belong together."""

from typing import Any

import pytest

from durable.protocol import tags
from durable.protocol.records import Value
from durable.protocol.requests import Reply
from durable.protocol.states import PromiseState
from durable.store.database import DatabaseStore
from durable.store.lineage import fetch_descendants
from durable.store.rows import function_of
from tests.machine.factories import (
    EXTERNAL,
    INTERNAL,
    TARGETED,
    acquire,
    create,
    fence,
    release,
    settle,
    start,
    suspend,
)
from tests.store.support import rows
from tests.store.timing import MINUTE, START, Clock

FAR = START + 60 * MINUTE
ROOT = TARGETED | {tags.ORIGIN: "r", tags.BRANCH: "r", tags.PARENT: "r"}
LOCAL = {tags.ORIGIN: "r", tags.BRANCH: "r", tags.PARENT: "r"}


def preloaded(reply: Reply) -> list[str]:
    return [one.id for one in reply.preload]


def test_a_new_task_has_nothing_to_load(timed: DatabaseStore) -> None:
    [reply] = timed.run(start("r", FAR, promise_tags=ROOT), preload=True)
    assert reply.preload == ()


def test_local_children_come_with_every_reply_that_may_carry_them(timed: DatabaseStore) -> None:
    timed.run(create("r", ROOT, FAR))
    timed.run(*(create(one, LOCAL, FAR) for one in ("r.b", "r.a")), settle("r.a"))
    timed.run(create("r.remote", LOCAL | TARGETED | {tags.BRANCH: "r.remote"}, FAR))
    timed.run(create("x", EXTERNAL, FAR), settle("x"))
    for request in (
        acquire("r"),
        fence(create("r.c", LOCAL, FAR), "r"),
        suspend("r", "x"),
    ):
        [reply] = timed.run(request, preload=True)
        expected = ["r.a", "r.b"] if request.kind == "task.acquire" else ["r.a", "r.b", "r.c"]
        assert preloaded(reply) == expected, request
    assert reply.status == 300
    timed.run(release("r"))
    [reply] = timed.run(start("r", FAR, promise_tags=ROOT), preload=True)
    assert preloaded(reply) == ["r.a", "r.b", "r.c"]


def test_a_fence_brings_what_it_did_itself_as_it_is_now(timed: DatabaseStore, clock: Clock) -> None:
    timed.run(start("r", FAR, promise_tags=ROOT))
    clock.advance(5)
    [made] = timed.run(fence(create("r.a", LOCAL, START + 10), "r"), preload=True)
    assert [one.state for one in made.preload] == [PromiseState.PENDING]
    clock.advance(5)
    [again] = timed.run(fence(create("r.b", LOCAL, FAR), "r"), preload=True)
    assert [(one.id, one.state) for one in again.preload] == [
        ("r.a", PromiseState.REJECTED_TIMEDOUT),
        ("r.b", PromiseState.PENDING),
    ]


def test_nobody_gets_what_it_did_not_ask_for(timed: DatabaseStore) -> None:
    timed.run(create("r", ROOT, FAR), create("r.a", LOCAL, FAR), create("plain", TARGETED, FAR))
    [asked] = timed.run(acquire("r"))
    assert asked.preload == ()
    replies = timed.run(acquire("plain"), acquire("r"), acquire("gone"), preload=True)
    assert [preloaded(reply) for reply in replies] == [[], [], []]  # no branch; 409; 404


def lineage(promise_id: str) -> tuple[Any, ...]:
    [row] = rows(
        "select origin, replayed_by, is_root from durable_promise where id = %s", promise_id
    )
    return (row[0], row[1], bool(row[2]))


def test_rows_know_their_tree_and_who_replays_them(timed: DatabaseStore) -> None:
    timed.run(
        create("plain", INTERNAL, FAR),
        create("r", ROOT, FAR),
        create("r.local", LOCAL, FAR),
        create("r.remote", LOCAL | TARGETED | {tags.BRANCH: "r.remote"}, FAR),
        create("r.remote.1", {tags.ORIGIN: "r", tags.BRANCH: "r.remote", tags.PARENT: "r.x"}, FAR),
        create("branch only", {tags.BRANCH: "b"}, FAR),
        acquire("r"),
        fence(create("fenced", INTERNAL, FAR), "r"),
        fence(create("fenced remote", TARGETED | {tags.PARENT: "r"}, FAR), "r"),
        acquire("fenced remote"),
        fence(create("below", INTERNAL, FAR), "fenced remote"),
    )
    assert {one: lineage(one) for [one] in rows("select id from durable_promise")} == {
        "plain": ("plain", None, True),
        "r": ("r", None, True),
        "r.local": ("r", "r", False),
        "r.remote": ("r", None, False),
        "r.remote.1": ("r", "r.remote", False),
        "branch only": ("b", "b", False),
        "fenced": ("r", "r", False),
        "fenced remote": ("r", "r", False),
        "below": ("r", "fenced remote", False),
    }


def test_descendants_are_found_by_their_parents(timed: DatabaseStore) -> None:
    def below(parent: str) -> dict[str, str]:
        return {tags.ORIGIN: "r", tags.PARENT: parent}

    timed.run(
        create("r", ROOT, FAR), create("r.1", below("r"), FAR), create("r.2", below("r"), FAR)
    )
    timed.run(create("r.1.1", below("r.1"), FAR), create("r.1.1.1", below("r.1.1"), FAR))
    timed.run(create("detached", {tags.ORIGIN: "detached", tags.PARENT: "r"}, FAR))
    timed.run(create("other", TARGETED, FAR), settle("r.2"))
    assert [one.id for one in fetch_descendants(timed, "r")] == ["r.1", "r.2", "r.1.1", "r.1.1.1"]
    assert [one.id for one in fetch_descendants(timed, "r.1")] == ["r.1.1", "r.1.1.1"]
    assert fetch_descendants(timed, "r.2") == []
    assert fetch_descendants(timed, "missing") == []


def test_a_circle_of_parents_ends(timed: DatabaseStore) -> None:
    """Anybody may set tags."""
    timed.run(create("r", ROOT, FAR))
    timed.run(create("a", {tags.ORIGIN: "r", tags.PARENT: "b"}, FAR))
    timed.run(create("b", {tags.ORIGIN: "r", tags.PARENT: "a"}, FAR))
    assert fetch_descendants(timed, "r") == []
    assert [one.id for one in fetch_descendants(timed, "a")] == ["b", "a"]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ('{"func":"ship","args":[1]}', "ship"),
        ('{"func":"ü"}', "ü"),
        ('{"func":""}', ""),
        ('{"func":1}', None),
        ('{"func":null}', None),
        ('{"name":"ship"}', None),
        ('{"func":"a\\u0000b"}', None),
        ('["func"]', None),
        ('"ship"', None),
        ("{", None),
        ("", None),
        ('{"x":' + "[" * 100_000, None),
        ('{"x":' + "[" * 50_000 + "]" * 50_000 + ',"func":"ship"}', None),
    ],
)
def test_the_function_called_is_read_from_the_param(text: str, name: str | None) -> None:
    import base64

    assert function_of(Value(data=base64.b64encode(text.encode()).decode())) == name


@pytest.mark.parametrize("data", [None, "", "ship", "eyJmdW5jIjoi", "ümlaut", "e30=\n", "=" * 9])
def test_a_param_that_is_something_else_calls_nothing(data: str | None) -> None:
    assert function_of(Value(data=data)) is None


def test_a_param_too_deep_to_read_is_stored_all_the_same(timed: DatabaseStore) -> None:
    import base64

    deep = base64.b64encode(b'{"x":' + b"[" * 50_000 + b"]" * 50_000 + b"}").decode()
    [reply] = timed.run(create("a", EXTERNAL, FAR, Value(data=deep)))
    assert reply.is_ok
    assert rows("select function from durable_promise") == [(None,)]
