"""Every statement about promises and tasks uses an index, on tables of a realistic size.

The statements are those that the engine's own calls send, recorded by the driver.
"""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from django.db import connection, transaction

from durable.machine.internal import LeaseExpiry, PromiseTimeout, RetryDispatch, ScheduleFire
from durable.protocol.annotations import Annotation
from durable.protocol.requests import (
    PromiseGet,
    PromiseRegisterCallback,
    Request,
    TaskGet,
    TaskHalt,
)
from durable.store import specialised
from durable.store.base import Program
from durable.store.claims import claim, heartbeat
from durable.store.database import DatabaseStore
from durable.store.due import find_due
from durable.store.lineage import fetch_descendants
from tests.machine.factories import (
    EXTERNAL,
    INTERNAL,
    TARGETED,
    acquire,
    create,
    fence,
    fulfill,
    listen,
    release,
    settle,
    suspend,
)
from tests.store.support import execute, forget_statistics
from tests.store.threads import RollBackError
from tests.store.timing import MINUTE, NEVER, START, Clock

pytestmark = pytest.mark.timeout(120)

ENDED = 50_000
"""Executions that are over: each a root and a step."""
RUNNING = 4000
"""Parked (every third from 0), leased (from 1) or pending (from 2), each with a latent child that
the parked wait for."""
NOW = START + MINUTE

type Statement = tuple[str, Sequence[Any]]
type Work = Callable[[DatabaseStore], object]


def populate() -> None:
    """Insert what a busy month leaves behind."""
    _promises("e", ENDED, state="resolved", promise_tags=TARGETED)
    _promises("e", ENDED, ".1", state="rejected", promise_tags=INTERNAL)
    _promises("r", RUNNING, state="pending", promise_tags=TARGETED)
    _promises("r", RUNNING, ".1", state="pending", promise_tags=EXTERNAL)
    execute(
        "insert into durable_task (id, state, version, resumes, queue, not_before, releases)"
        f" select 'e' || n, 'fulfilled', 2, '[]', 'g', 0, 0 from {_numbers(ENDED)}"
    )
    execute(
        "insert into durable_task (id, state, version, resumes, pid, ttl, expires_at, retry_at,"
        " queue, not_before, releases) select 'r' || n,"
        " case n % 3 when 0 then 'suspended' when 1 then 'acquired' else 'pending' end, 1,"
        " '[]', case n % 3 when 1 then 'w' || (n % 8) end,"
        f" case n % 3 when 1 then 15000 end, case n % 3 when 1 then {NOW} + n end,"
        f" case n % 3 when 2 then {START} + n end,"
        f" case when n % 50 = 2 then null else 'g' || (n % 4) end, {START} + n, 0"
        f" from {_numbers(RUNNING)}"
    )
    execute(
        "insert into durable_callback (awaited_id, awaiter_id) select 'r' || n || '.1', 'r' || n"
        f" from {_numbers(RUNNING)} where n % 3 = 0"
    )
    execute(
        "insert into durable_listener (promise_id, address) select 'r' || n, 'http://x'"
        f" from {_numbers(RUNNING)} where n % 7 = 0"
    )
    if connection.vendor == "postgresql":  # by itself, in time; nobody does for SQLite
        execute("analyze")
    else:
        forget_statistics()


def _promises(
    prefix: str, count: int, suffix: str = "", *, state: str, promise_tags: dict[str, str]
) -> None:
    settled_at = "null" if state == "pending" else f"{START} + n"
    replayed_by = f"'{prefix}' || n" if suffix else "null"
    execute(
        "insert into durable_promise (id, state, timeout_at, created_at, settled_at, tags, origin,"
        " replayed_by, is_external, is_root, is_undrained)"
        f" select '{prefix}' || n || '{suffix}', '{state}', {NEVER} - n, {START} + n,"
        f" {settled_at}, '{json.dumps(promise_tags)}', '{prefix}' || n, {replayed_by},"
        f" {'true' if promise_tags else 'false'}, {'false' if suffix else 'true'}, false"
        f" from {_numbers(count)}"
    )


def _numbers(count: int) -> str:
    if connection.vendor == "postgresql":
        return f"generate_series(0, {count - 1}) s(n)"
    return (
        "(with recursive s(n) as"
        f" (select 0 union all select n + 1 from s where n < {count - 1}) select n from s) s"
    )


def _specialised(store: DatabaseStore, *requests: Request) -> object:
    if connection.vendor == "sqlite":  # it has none
        return store.run(*requests)
    program = Program(requests)
    clock = store.statement_clock()
    answered, _ = specialised.run(store.connection, [program], store.config, clock)
    return answered[program]


HELD = {f"r{number}": 1 for number in range(1, 600, 24)}
"""What one worker of eight holds."""

WORK: dict[str, tuple[Work, set[str]]] = {
    "read": (lambda s: s.run(PromiseGet("r5"), TaskGet("r7")), set()),
    "create": (lambda s: s.run(create("new", TARGETED, NEVER)), set()),
    "acquire": (lambda s: s.run(acquire("r5", 1), preload=True), set()),
    "checkpoint": (
        lambda s: s.run(
            fence(create("r7.2", INTERNAL, NEVER), "r7"),
            fence(settle("r7.2"), "r7"),
            annotations={"r7.2": Annotation(attempts=1)},
            preload=True,
        ),
        set(),
    ),
    "settle what is awaited": (lambda s: s.run(settle("r9.1")), set()),
    "settle what is listened to": (lambda s: s.run(settle("r14")), set()),
    "suspend": (lambda s: s.run(suspend("r10", "r11.1")), set()),
    "fulfill": (lambda s: s.run(fulfill("r13")), set()),
    "release": (lambda s: s.run(release("r16")), set()),
    "halt": (lambda s: s.run(TaskHalt("r17")), set()),
    "listen": (lambda s: s.run(listen("r20"), PromiseRegisterCallback("r20.1", "r20")), set()),
    "fire": (
        lambda s: s.fire(
            LeaseExpiry("r19"), PromiseTimeout("r21.1"), RetryDispatch("r23"), ScheduleFire("s")
        ),
        set(),
    ),
    "claim": (
        lambda s: claim(s, ["g1"], pid="w", ttl=15_000, limit=16),
        {"durable_task_claim", "durable_promise_lineage"},
    ),
    "beat": (lambda s: heartbeat(s, "w1", HELD), set()),
    "beat for what is lost": (lambda s: heartbeat(s, "w1", {**HELD, "e1": 1}), set()),
    "look for what is due": (
        lambda s: find_due(s, limit=200, groups=False),
        {
            "durable_promise_deadline",
            "durable_task_lease",
            "durable_task_retry",
            "durable_promise_undrained",
        },
    ),
    "start, specialised": (
        lambda s: _specialised(s, create("new", {"resonate:target": "g1"}, NEVER)),
        set(),
    ),
    "checkpoint, specialised": (
        lambda s: _specialised(
            s, fence(create("r7.2", INTERNAL, NEVER), "r7"), fence(settle("r7.2"), "r7")
        ),
        set(),
    ),
    "ending, specialised": (lambda s: _specialised(s, fulfill("r22")), set()),
    "descendants": (lambda s: fetch_descendants(s, "r25"), {"durable_promise_lineage"}),
}


@pytest.fixture
def recorded(timed: DatabaseStore, clock: Clock) -> Iterator[dict[str, list[Statement]]]:
    """What each kind of work sent to the database."""
    populate()
    clock.now = NOW
    yield {name: list(_record(timed, work)) for name, (work, _) in WORK.items()}
    if connection.vendor == "postgresql":  # faster than deleting row by row
        execute("truncate durable_promise cascade")


def _record(store: DatabaseStore, work: Work) -> Iterator[Statement]:
    found: list[Statement] = []
    with pytest.raises(RollBackError), transaction.atomic():
        with _recording(found):
            assert work(store) is not None
        raise RollBackError
    for sql, params in found:
        if re.match(
            r"\W*(select|with|update|delete)\b.*\bdurable_", sql, re.IGNORECASE | re.DOTALL
        ):
            yield sql, params


@contextmanager
def _recording(found: list[Statement]) -> Iterator[None]:
    if connection.vendor == "sqlite":
        connection.connection.set_trace_callback(lambda sql: found.append((sql, ())))
        yield
        connection.connection.set_trace_callback(None)
        return
    execute = psycopg.Cursor.execute

    def record(cursor: Any, query: Any, params: Any = None, **options: Any) -> Any:
        found.append((str(query), tuple(params or ())))
        return execute(cursor, query, params, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(psycopg.Cursor, "execute", record)
        yield


@pytest.mark.postgres_only(reason="the next one is SQLite's")
@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
def test_postgresql_uses_the_indexes(
    mode: str, recorded: dict[str, list[Statement]], subtests: pytest.Subtests
) -> None:
    """The driver prepares statements: planned at first for their values, later for any."""
    for name, found in recorded.items():
        with subtests.test(name):
            assert found
            used: set[str] = set()
            for sql, params in found:
                nodes = list(_explain(sql, params, mode))
                scanned = [n.get("Relation Name") for n in nodes if n["Node Type"] == "Seq Scan"]
                assert {"durable_promise", "durable_task"}.isdisjoint(scanned), (sql, nodes)
                used.update(node["Index Name"] for node in nodes if "Index Name" in node)
                assert not any(map(_sorts_a_backlog, nodes)), (sql, nodes)
            assert WORK[name][1] <= used


def _sorts_a_backlog(node: dict[str, Any]) -> bool:
    """The head of an index is wanted, not the head of everything sorted."""
    return node["Node Type"] in {"LockRows", "Subquery Scan"} and "Sort" in node["Plans"]


def _explain(sql: str, params: Sequence[Any], mode: str) -> Iterator[dict[str, Any]]:
    numbers = iter(range(1, 100))
    prepared = re.sub("%s", lambda _: f"${next(numbers)}", sql)
    execute(f"set plan_cache_mode = {mode}")
    connection.connection.execute(f"prepare hot{_types(params)} as {prepared}")
    try:
        values = f"({', '.join(['%s'] * len(params))})" if params else ""
        with connection.cursor() as cursor:  # writes the values into the text, as needed here
            cursor.execute(f"explain (format json) execute hot{values}", params or None)
            [[plan]] = cursor.fetchall()
    finally:
        execute("deallocate hot")
        execute("reset plan_cache_mode")
    plans = json.loads(plan) if isinstance(plan, str) else plan
    yield from _nodes(plans[0]["Plan"])


def _types(params: Sequence[Any]) -> str:
    """The types that the driver sends along."""
    if not params:
        return ""
    names = {bool: "boolean", int: "bigint"}
    return f"({', '.join(names.get(type(value), 'unknown') for value in params)})"


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    children = plan.get("Plans", [])
    yield plan | {"Plans": [child["Node Type"] for child in children]}
    for child in children:
        yield from _nodes(child)


@pytest.mark.sqlite_only(reason="the one before is PostgreSQL's")
def test_sqlite_uses_the_indexes(
    recorded: dict[str, list[Statement]], subtests: pytest.Subtests
) -> None:
    for name, found in recorded.items():
        with subtests.test(name):
            assert found
            plans: list[str] = []
            for sql, _ in found:
                plan = [
                    row[3] for row in connection.connection.execute(f"explain query plan {sql}")
                ]
                scans = [
                    one
                    for one in plan
                    if re.match(r"SCAN (durable_promise|durable_task|[pt])\b", one)
                ]
                assert [one for one in scans if not _is_by_index(one)] == [], (sql, plan)
                if "order by t.not_before" in sql:
                    assert "USE TEMP B-TREE FOR ORDER BY" not in plan, (sql, plan)
                plans += plan
            needed = WORK[name][1] - {"durable_task_retry"}  # or that of claims: both are short
            assert {one for one in needed if any(f" {one} " in f"{p} " for p in plans)} == needed


def _is_by_index(scan: str) -> bool:
    """A scan of a partial index in its order, cut off by a limit, is what is wanted."""
    return bool(
        re.search(
            r"USING (COVERING )?INDEX durable_(promise_deadline|promise_undrained|task_)", scan
        )
    )
