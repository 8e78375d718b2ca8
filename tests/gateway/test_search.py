"""The three searches (protocol.md 3.18): projected, in pages, by tags; and which index they use."""

import functools
import operator
from typing import Any

import pytest
from django.db import connection
from hypothesis import given, settings
from hypothesis import strategies as st

from durable.machine.memory import MemoryStore
from durable.machine.state import Config
from durable.protocol import tags
from durable.protocol.requests import (
    PromiseCreate,
    PromiseSettle,
    Request,
    ScheduleCreate,
    TaskCreate,
    TaskHalt,
)
from durable.protocol.searches import (
    PromiseSearch,
    ScheduleSearch,
    Search,
    TaskSearch,
)
from durable.protocol.states import PromiseState, TaskState
from durable.store.database import DatabaseStore
from durable.store.search import end_of_prefix, search
from durable.testing.strategies import START, Scene, any_request
from tests.gateway.clients import Client, MakeClient
from tests.store.support import execute, rows, wipe
from tests.store.timing import Clock

LATE = 2**53 - 1
TARGETED = {tags.TARGET: "g"}
TIMER = {tags.TIMER: "true"}


@pytest.fixture
def client(way_in: str, make_client: MakeClient) -> Client:
    return make_client(way_in)


def create(client: Client, promise_id: str, timeout_at: int = LATE, **given: str) -> None:
    data = {"id": promise_id, "timeoutAt": timeout_at, "tags": given}
    assert client.call("promise.create", data, at=0).status == 200


def ids(client: Client, kind: str, data: Any = None, at: int = 0) -> list[str]:
    answer = client.call(f"{kind}.search", data, at=at)
    assert answer.status == 200, answer
    return [one["id"] for one in answer.data[f"{kind}s"]]


def test_states_are_those_an_observer_sees(client: Client) -> None:
    create(client, "alive", 1001)
    create(client, "dead", 1000)
    create(client, "dead timer", 1000, **TIMER)
    create(client, "no timer", 1000, **{tags.TIMER: "yes"})
    create(client, "timer", 1001, **TIMER)
    create(client, "late")
    for name, state in (("x", "resolved"), ("y", "rejected"), ("z", "rejected_canceled")):
        create(client, name)
        assert client.call("promise.settle", {"id": name, "state": state}, at=1).status == 200
    expected = {
        "pending": ["alive", "late", "timer"],
        "resolved": ["dead timer", "x"],
        "rejected": ["y"],
        "rejected_canceled": ["z"],
        "rejected_timedout": ["dead", "no timer"],
    }
    for state, found in expected.items():
        assert ids(client, "promise", {"state": state}, at=1000) == found
        records = client.call("promise.search", {"state": state}, at=1000).data["promises"]
        assert {one["state"] for one in records} == {state}
    assert ids(client, "promise", at=1000) == sorted(
        functools.reduce(operator.iadd, expected.values(), [])
    )
    assert ids(client, "promise", {"state": "rejected_timedout"}, at=999) == []


def test_tasks_of_dead_promises_are_fulfilled(client: Client) -> None:
    create(client, "dead", 1000, **TARGETED)
    create(client, "dead halted", 1000, **TARGETED)
    create(client, "halted", **TARGETED)
    create(client, "pending", **TARGETED)
    create(client, "settled", **TARGETED)
    for name in ("dead halted", "halted"):
        assert client.call("task.halt", {"id": name}, at=1).status == 200
    client.call("promise.settle", {"id": "settled", "state": "resolved"}, at=1)
    acquisition = {"id": "pending", "version": 0, "pid": "p", "ttl": 5000}
    create(client, "acquired", **TARGETED)
    assert client.call("task.acquire", acquisition | {"id": "acquired"}, at=1).status == 200
    expected = {
        "fulfilled": ["dead", "dead halted", "settled"],
        "halted": ["halted"],
        "pending": ["pending"],
        "acquired": ["acquired"],
        "suspended": [],
    }
    for state, found in expected.items():
        assert ids(client, "task", {"state": state}, at=1000) == found
        records = client.call("task.search", {"state": state}, at=1000).data["tasks"]
        assert {one["state"] for one in records} <= {state}
    assert len(ids(client, "task", at=1000)) == 6
    assert client.call("task.search", {"state": "acquired"}, at=1).data["tasks"] == [
        {"id": "acquired", "state": "acquired", "version": 1, "resumes": 0, "ttl": 5000, "pid": "p"}
    ]


def test_all_given_tags_must_be_there(client: Client) -> None:
    create(client, "a", x="1", y="2")
    create(client, "b", x="1")
    create(client, "c", y="2")
    create(client, "d")
    for wanted, found in (
        ({}, "abcd"),
        ({"x": "1"}, "ab"),
        ({"x": "1", "y": "2"}, "a"),
        ({"x": "2"}, ""),
        ({"z": "1"}, ""),
        ({"x": ""}, ""),
    ):
        assert ids(client, "promise", {"tags": wanted}) == list(found)
    assert ids(client, "promise", {"tags": {"x": "1"}, "state": "resolved"}) == []


def test_schedules_are_found_by_the_tags_of_their_promises(client: Client) -> None:
    for name, given_tags in (("a", {"x": "1"}), ("b", {}), ("c", {"x": "1", "y": "2"})):
        data = {
            "id": name,
            "cron": "* * * * *",
            "promiseId": "{{.timestamp}}",
            "promiseTimeout": 1,
            "promiseTags": given_tags,
        }
        assert client.call("schedule.create", data, at=0).status == 200
    assert ids(client, "schedule") == ["a", "b", "c"]
    assert ids(client, "schedule", {"tags": {"x": "1"}}) == ["a", "c"]
    [record] = client.call("schedule.search", {"limit": 1}, at=0).data["schedules"]
    assert record == client.call("schedule.get", {"id": "a"}, at=0).data["schedule"]


@pytest.mark.parametrize(("kind", "default"), [("promise", 100), ("task", 100), ("schedule", 10)])
def test_pages(client: Client, kind: str, default: int) -> None:
    names = [f"p{n:03}" for n in range(default + 5)]
    for name in names:
        if kind == "schedule":
            data = {"id": name, "cron": "* * * * *", "promiseId": "x", "promiseTimeout": 1}
            client.call("schedule.create", data, at=0)
        else:
            create(client, name, **TARGETED)
    first = client.call(f"{kind}.search", at=0).data
    assert [one["id"] for one in first[f"{kind}s"]] == names[:default]
    rest = client.call(f"{kind}.search", {"cursor": first["cursor"]}, at=0).data
    assert [one["id"] for one in rest[f"{kind}s"]] == names[default:]
    assert "cursor" not in rest
    whole = client.call(f"{kind}.search", {"limit": len(names)}, at=0).data
    assert "cursor" not in whole
    assert client.call(f"{kind}.search", {"limit": len(names) - 1}, at=0).data["cursor"]


def test_ids_are_in_the_order_of_their_bytes(client: Client) -> None:
    names = ["a", "B", "Z", "a.b", "a:b", "é", "z", "漢", "\U0001f600", "\uffff", " "]
    for name in names:
        create(client, name)
    expected = sorted(names, key=str.encode)
    assert ids(client, "promise") == expected
    for n, name in enumerate(expected):
        assert ids(client, "promise", {"cursor": name}) == expected[n + 1 :]
    assert ids(client, "promise", {"cursor": "a0"}) == expected[expected.index("a:b") :]


@pytest.mark.parametrize("kind", ["promise", "task", "schedule"])
@pytest.mark.parametrize(
    ("limit", "text"),
    [
        (0, "Limit must be a positive integer"),
        (-1, "Limit must be a positive integer"),
        (-(10**300), "Limit must be a positive integer"),
        (1001, "Invalid 'limit' — must be between 1 and 1000"),
        (2**63, "Invalid 'limit' — must be between 1 and 1000"),
    ],
)
def test_bad_limits(client: Client, kind: str, limit: int, text: str) -> None:
    assert client.call(f"{kind}.search", {"limit": limit}) == (400, text)


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("promise", {"state": "open"}),
        ("promise", {"state": "acquired"}),
        ("task", {"state": "resolved"}),
        ("task", {"state": ""}),
        ("promise", {"limit": "1"}),
        ("promise", {"limit": 1.5}),
        ("promise", {"limit": True}),
        ("promise", {"cursor": 7}),
        ("promise", {"cursor": "a\0"}),
        ("promise", {"cursor": "x" * 1025}),
        ("promise", {"tags": {"a": 1}}),
        ("promise", {"tags": ["a"]}),
        ("promise", {"tags": {"a": "\0"}}),
        ("promise", {"tags": {str(n): "" for n in range(129)}}),
        ("schedule", {"tags": {"a": None}}),
    ],
)
def test_bad_searches(client: Client, kind: str, data: Any) -> None:
    assert client.call(f"{kind}.search", data).status == 400


def test_absent_and_null_are_the_same(client: Client) -> None:
    create(client, "a")
    nothing = {"state": None, "tags": None, "limit": None, "cursor": None}
    assert ids(client, "promise", nothing) == ["a"]
    assert ids(client, "promise", {"limit": 1000, "cursor": ""}) == ["a"]


# Against the machine

_NAMES = st.text(st.sampled_from("ab/\U0010ffff\ud7ffé"), min_size=1, max_size=3)
_TAG_NAMES = st.sampled_from(["a", 'q"x', "k.[0]", "$", "\\", "ü", "", tags.ORIGIN, tags.TIMER])
_TAG_VALUES = st.sampled_from(["1", "true", "", 'a"b', "\\n", "null", "1.0", "a"])
_TAGS = st.dictionaries(_TAG_NAMES, _TAG_VALUES, max_size=3)


@st.composite
def a_search(draw: st.DrawFn) -> Search:
    limit = draw(st.none() | st.integers(1, 4))
    cursor = draw(st.none() | _NAMES)
    match draw(st.sampled_from([PromiseSearch, TaskSearch, ScheduleSearch])):
        case found if found is TaskSearch:
            return TaskSearch(limit, cursor, draw(st.none() | st.sampled_from(TaskState)))
        case found if found is ScheduleSearch:
            return ScheduleSearch(limit, cursor, draw(st.none() | _TAGS))
        case _:
            state = draw(st.none() | st.sampled_from(PromiseState))
            return PromiseSearch(limit, cursor, state, draw(st.none() | _TAGS))


@st.composite
def some_requests(draw: st.DrawFn) -> list[Request]:
    made: list[Request] = []
    for name in draw(st.lists(_NAMES, unique=True, max_size=8)):
        promise_tags = draw(_TAGS)
        kind = draw(st.integers(0, 3))
        at = START + draw(st.sampled_from([1000, 2000, 10**6]))
        if kind == 0:
            made.append(ScheduleCreate(name, "0 0 1 1 *", name, 1, promise_tags=promise_tags))
        elif kind == 1 and promise_tags.get(tags.TIMER) != "true":
            action = PromiseCreate(name, at, tags=promise_tags | TARGETED)
            made.append(TaskCreate("p", 10**7, action))
            made.append(TaskHalt(name))
        else:
            made.append(PromiseCreate(name, at, tags=promise_tags))
            if kind == 2:
                state = draw(st.sampled_from(PromiseState))
                made.append(PromiseSettle(name, state))
    return made + draw(st.lists(any_request(Scene(START)), max_size=6))


def expected_page(memory: MemoryStore, request: Search, prefix: str, now: int) -> list[Any]:
    state = memory.state
    records: dict[str, Any]
    match request:
        case PromiseSearch():
            records = {key: one.record(now) for key, one in state.promises.items()}
            wanted = lambda one: has_tags(one.tags, request.tags)  # noqa: E731
        case TaskSearch():
            records = {
                key: one.record(state.promises[key], now) for key, one in state.tasks.items()
            }
            wanted = lambda _one: True  # noqa: E731
        case ScheduleSearch():
            records = {key: one.record() for key, one in state.schedules.items()}
            wanted = lambda one: has_tags(one.promise_tags, request.tags)  # noqa: E731
    asked = getattr(request, "state", None)
    return [
        records[key]
        for key in sorted(records)
        if key.startswith(prefix)
        and (request.cursor is None or key > request.cursor)
        and wanted(records[key])
        and (asked is None or records[key].state is asked)
    ]


def has_tags(found: dict[str, str], wanted: dict[str, str] | None) -> bool:
    return all(found.get(key) == value for key, value in (wanted or {}).items())


@pytest.mark.timeout(60 + settings().max_examples // 5)
def test_searches_find_what_the_machine_would(transactional_db: None) -> None:
    clock = Clock(START)
    store = DatabaseStore("default", Config(), clock=clock)

    @settings(max_examples=settings().max_examples)
    @given(
        made=some_requests(),
        searches=st.lists(
            st.tuples(a_search(), st.sampled_from(["", "a", "b", "\U0010ffff"])), max_size=8
        ),
        later=st.sampled_from([0, 1000, 1500, 2000, 10**7]),
        has_statistics=st.booleans(),
    )
    def compare(
        made: list[Request],
        searches: list[tuple[Search, str]],
        later: int,
        has_statistics: bool,
    ) -> None:
        wipe()
        clock.now = START
        store.rewind()
        memory = MemoryStore(Config())
        for request in made:
            assert memory.run(request, now=START) == store.run(request)
        clock.advance(later)
        if has_statistics:  # they make for other plans
            execute("analyze")
        for request, prefix in searches:
            page = search(store, request, prefix=prefix)
            expected = expected_page(memory, request, prefix, clock.now)
            assert page.records == expected[: request.page_size], request
            has_more = len(expected) > request.page_size
            assert page.cursor == (expected[request.page_size - 1].id if has_more else None)

    try:
        compare()
    finally:
        store.close()


@pytest.mark.parametrize(
    ("prefix", "end"),
    [
        ("a", "b"),
        ("az", "a{"),
        ("\ud7ff", "\ue000"),
        ("a\U0010ffff", "b"),
        ("\U0010ffff", None),
        ("", None),
        ("\uffff", "\U00010000"),
    ],
)
def test_where_a_prefix_ends(prefix: str, end: str | None) -> None:
    assert end_of_prefix(prefix) == end


# Plans


@pytest.fixture
def crowd(transactional_db: None) -> None:
    """Twenty thousand promises, as a busy site has them: nearly all resolved, in short lineages."""
    rows_of = (
        "(with recursive n(n) as (select 0 union all select n + 1 from n where n < 19999)"
        " select n from n) s"
    )
    is_postgres = connection.vendor == "postgresql"
    origin = "'o' || (n / 5)"
    if is_postgres:
        rows_of = "generate_series(0, 19999) s(n)"
        tags_of = f"jsonb_build_object('resonate:origin', {origin})"
        boolean = ("true", "false")
    else:
        tags_of = f"json_object('resonate:origin', {origin})"
        boolean = ("1", "0")
    state = (
        "case when n % 400 = 0 then 'pending' when n % 401 = 0 then 'rejected' else 'resolved' end"
    )
    with connection.cursor() as cursor:
        cursor.execute(
            "insert into durable_promise (id, state, timeout_at, created_at, settled_at, tags,"
            " origin, is_external, is_root, is_undrained)"
            f" select 'p' || n, {state}, {LATE}, 1, case when n % 400 = 0 then null else 2 end,"
            f" {tags_of}, {origin}, {boolean[0]}, {boolean[1]}, {boolean[1]} from {rows_of}"
        )
        cursor.execute("analyze")


@pytest.mark.parametrize(
    ("request_", "index"),
    [
        (PromiseSearch(limit=10, state=PromiseState.PENDING), "durable_promise_pending"),
        (PromiseSearch(limit=10, state=PromiseState.REJECTED), "durable_promise_unresolved"),
        (
            PromiseSearch(limit=10, state=PromiseState.REJECTED_TIMEDOUT),
            "durable_promise_unresolved",
        ),
        (PromiseSearch(limit=10, tags={tags.ORIGIN: "o7"}), "durable_promise_lineage"),
        (PromiseSearch(limit=10, tags={tags.ORIGIN: "o7"}), "durable_promise_other_origin"),
    ],
    ids=["pending", "rejected", "timed out", "lineage", "other origins"],
)
def test_searches_use_their_indexes(
    crowd: None, request_: PromiseSearch, index: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from durable.store import dialects

    explain = "explain query plan " if connection.vendor == "sqlite" else "explain "
    seen: list[str] = []
    dialect = type(dialects.get_dialect(connection))
    fetch = dialect.fetch

    def look(self: Any, wrapper: Any, sql: str, params: Any) -> Any:
        seen.extend(str(row) for row in fetch(self, wrapper, explain + sql, params))
        return fetch(self, wrapper, sql, params)

    monkeypatch.setattr(dialect, "fetch", look)
    search(DatabaseStore("default", Config()), request_)
    plan = "\n".join(seen)
    assert index in plan
    assert "Seq Scan on durable_promise" not in plan


def test_a_lineage_is_found_whatever_its_rows_say_it_is(crowd: None) -> None:
    """A promise created under a task of another lineage keeps the origin that its tag says.

    With a crowd's statistics, and a join, SQLite 3.40 loses it.
    """
    from tests.machine.factories import fence, start

    store = DatabaseStore("default", Config())
    own = {tags.ORIGIN: "mine"}
    store.run(
        start("root", LATE),
        fence(PromiseCreate("mine", LATE, tags=own), "root"),
        PromiseCreate("mine:1", LATE, tags=own | {"resonate:branch": "mine:1"}),
    )
    store.close()
    made = "'root', 'mine', 'mine:1'"
    assert rows(f"select id, origin from durable_promise where id in ({made}) order by id") == [
        ("mine", "root"),
        ("mine:1", "mine"),
        ("root", "root"),
    ]
    for _ in range(2):
        page = search(store, PromiseSearch(tags=own))
        assert [one.id for one in page.records] == ["mine", "mine:1"]
        execute("analyze")
