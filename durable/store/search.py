"""The three searches (protocol.md 3.18): by projected state and by tags, in pages by id.

A promise past its deadline counts as what an observer sees, whatever its row says. Tags without an
index are matched along the primary key; with many promises, and searches for rare tags, PostgreSQL
uses a GIN index on ``tags jsonb_path_ops`` when an operator adds one.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple

from django.db.backends.base.base import BaseDatabaseWrapper
from msgspec import json

from durable.protocol import tags
from durable.protocol.records import PromiseRecord, ScheduleRecord, TaskRecord
from durable.protocol.searches import Page, PromiseSearch, ScheduleSearch, Search, TaskSearch
from durable.protocol.states import PromiseState, TaskState
from durable.store import rows
from durable.store.database import DatabaseStore
from durable.store.dialects import get_dialect

_promise = ", ".join(f"p.{column}" for column in rows.PROMISE_COLUMNS)
_task = ", ".join(f"t.{column}" for column in rows.TASK_COLUMNS)
_schedule = ", ".join(f"s.{column}" for column in rows.SCHEDULE_COLUMNS)
_TASK_AT = 1 + len(rows.PROMISE_COLUMNS)

_CLOCK = "with clock as (select {clock} as now)"
# No join: with one, and statistics, SQLite 3.40 puts a Bloom filter on an index of an expression
# and loses rows.
_NOW = "(select now from clock)"
_DEAD = f"p.state = 'pending' and p.timeout_at <= {_NOW}"
_UNRESOLVED = (
    PromiseState.REJECTED,
    PromiseState.REJECTED_CANCELED,
    PromiseState.REJECTED_TIMEDOUT,
)
_PARKED = (TaskState.SUSPENDED, TaskState.HALTED)
_LAST_CODE_POINT = 0x10FFFF
_SURROGATES = range(0xD800, 0xE000)

type AnyPage = Page[PromiseRecord] | Page[TaskRecord] | Page[ScheduleRecord]


class _Syntax(NamedTuple):
    """What the two databases write differently about JSON."""

    has_tags: str
    is_timer: str
    origin_tag: str
    has_other_origin: str


_POSTGRES = _Syntax(
    has_tags="{tags} @> %s::jsonb",
    is_timer="coalesce(p.tags ->> 'resonate:timer', '') = 'true'",
    origin_tag="(p.tags ->> 'resonate:origin')",
    has_other_origin="(p.tags ->> 'resonate:origin') <> p.origin",
)
_SQLITE = _Syntax(
    has_tags="not exists (select 1 from json_each(%s) w where not exists ("
    "select 1 from json_each({tags}) h where h.key = w.key and h.value = w.value))",
    is_timer="coalesce(json_extract(p.tags, '$.\"resonate:timer\"'), '') = 'true'",
    origin_tag="json_extract(p.tags, '$.\"resonate:origin\"')",
    # as the condition of the index durable_promise_other_origin has it
    has_other_origin="json_extract(p.tags, '$.\"resonate:origin\"') <> p.origin = 1",
)


class _Condition(NamedTuple):
    sql: str
    params: tuple[object, ...] = ()


class _Query:
    """Puts together one search; each part brings its parameters, in the order of the text."""

    def __init__(self, store: DatabaseStore, search: Search, prefix: str) -> None:
        self.store = store
        self.search = search
        self.prefix = prefix
        self.syntax = _syntax(store.connection)

    def after(self, column: str) -> Iterator[_Condition]:
        """Yield the conditions of the page: after its cursor, within the prefix."""
        if self.search.cursor is not None:
            yield _Condition(f"{column} > %s", (self.search.cursor,))
        if self.prefix:
            yield _Condition(f"{column} >= %s", (self.prefix,))
            if (end := end_of_prefix(self.prefix)) is not None:
                yield _Condition(f"{column} < %s", (end,))

    def tagged(self, column: str, wanted: Mapping[str, str] | None) -> Iterator[_Condition]:
        """Yield the condition that all of the tags are there."""
        if wanted:
            sql = self.syntax.has_tags.replace("{tags}", column)
            yield _Condition(sql, (json.encode(wanted).decode(),))

    def fetch(self, sql: str, params: list[object]) -> list[rows.Row]:
        """Run the query and remember the time it read."""
        connection = self.store.connection
        connection.ensure_connection()
        found = get_dialect(connection).fetch(
            connection, f"{_CLOCK}{sql}", (*self.store.statement_clock(), *params)
        )
        if found:
            self.store.advance(found[0][0])
        return found


def search(store: DatabaseStore, request: Search, *, prefix: str = "") -> AnyPage:
    """Return one page; only of ids that begin with ``prefix``."""
    query = _Query(store, request, prefix)
    match request:
        case PromiseSearch():
            return _search_promises(query, request)
        case TaskSearch():
            return _search_tasks(query, request)
        case ScheduleSearch():
            return _search_schedules(query, request)
        case _:
            raise TypeError(request)


def _search_promises(query: _Query, request: PromiseSearch) -> Page[PromiseRecord]:
    shared = [*query.after("p.id"), *query.tagged("p.tags", request.tags)]
    branches = [
        _select(
            f"{_NOW}, {_promise}",
            "durable_promise p",
            [*shared, *state, *lineage],
            "p.id",
            request.page_size,
        )
        for state in _promise_states(request.state, query.syntax)
        for lineage in _lineages((request.tags or {}).get(tags.ORIGIN), query.syntax)
    ]
    sql, params = _union(branches, 2, request.page_size)
    found = query.fetch(f" {sql}", params)
    return _page([rows.to_promise(row[1:]).record(row[0]) for row in found], request)


def _lineages(origin: str | None, syntax: _Syntax) -> list[list[_Condition]]:
    """Return the ways to have an origin tag, an index for each; no promise has it in two."""
    if origin is None:
        return [[]]
    tagged = _Condition(f"{syntax.origin_tag} = %s", (origin,))
    return [
        [_Condition("p.origin = %s", (origin,))],
        [tagged, _Condition(syntax.has_other_origin)],
    ]


def _promise_states(state: PromiseState | None, syntax: _Syntax) -> list[list[_Condition]]:
    """Return the ways to be seen in a state; no promise is found in two of them."""
    stored = [] if state is None else [_is_in("p", state, _UNRESOLVED)]
    match state:
        case PromiseState.PENDING:
            return [[*stored, _Condition(f"p.timeout_at > {_NOW}")]]
        case PromiseState.RESOLVED:
            return [stored, [_Condition(f"{_DEAD} and {syntax.is_timer}")]]
        case PromiseState.REJECTED_TIMEDOUT:
            return [stored, [_Condition(f"{_DEAD} and not ({syntax.is_timer})")]]
        case _:
            return [stored]


def _search_tasks(query: _Query, request: TaskSearch) -> Page[TaskRecord]:
    source = "durable_task t join durable_promise p on p.id = t.id"
    branches = [
        _select(
            f"{_NOW}, {_promise}, {_task}",
            source,
            [*query.after("t.id"), *state],
            "t.id",
            request.page_size,
        )
        for state in _task_states(request.state)
    ]
    sql, params = _union(branches, 2, request.page_size)
    records = []
    for row in query.fetch(f" {sql}", params):
        promise = rows.to_promise(row[1:_TASK_AT])
        records.append(rows.to_task(promise.id, row[_TASK_AT:]).record(promise, row[0]))
    return _page(records, request)


def _task_states(state: TaskState | None) -> list[list[_Condition]]:
    if state is None:
        return [[]]
    stored = _is_in("t", state, _PARKED)
    if state is TaskState.FULFILLED:
        return [[stored], [_Condition(f"t.state <> 'fulfilled' and {_DEAD}")]]
    return [[stored, _Condition(f"not ({_DEAD})")]]


def _is_in(
    table: str, state: PromiseState | TaskState, indexed: Collection[PromiseState | TaskState]
) -> _Condition:
    """Return the condition of a state, said as the partial indexes say it: in literals."""
    condition = f"{table}.state = '{state.value}'"
    if state in indexed:  # SQLite concludes nothing by itself
        among = ", ".join(f"'{one.value}'" for one in indexed)
        condition += f" and {table}.state in ({among})"
    return _Condition(condition)


def _search_schedules(query: _Query, request: ScheduleSearch) -> Page[ScheduleRecord]:
    conditions = [*query.after("s.id"), *query.tagged("s.promise_tags", request.tags)]
    branch = _select(
        f"{_NOW}, {_schedule}",
        "durable_schedule s",
        conditions,
        "s.id",
        request.page_size,
    )
    sql, params = _union([branch], 2, request.page_size)
    found = query.fetch(f" {sql}", params)
    return _page([rows.to_schedule(row[1:]).record() for row in found], request)


type _Branch = tuple[str, list[object]]


def _select(
    columns: str, source: str, conditions: list[_Condition], order: str, limit: int
) -> _Branch:
    where = " and ".join(condition.sql for condition in conditions) or "true"
    params = [param for condition in conditions for param in condition.params]
    sql = f"select {columns} from {source} where {where} order by {order} limit %s"
    return sql, [*params, limit + 1]


def _union(branches: list[_Branch], order: int, limit: int) -> _Branch:
    """Merge pages that are each in order of the id; one row more says that there is a next page."""
    if len(branches) == 1:
        return branches[0]
    united = " union all ".join(
        f"select * from ({sql}) b{number}" for number, (sql, _) in enumerate(branches)
    )
    params = [param for _, params in branches for param in params]
    return f"select * from ({united}) u order by {order} limit %s", [*params, limit + 1]


def _page[R: PromiseRecord | TaskRecord | ScheduleRecord](
    records: list[R], request: Search
) -> Page[R]:
    page = records[: request.page_size]
    return Page(page, page[-1].id if len(records) > len(page) else None)


def end_of_prefix(prefix: str) -> str | None:
    """Return the first text after all that begin with the prefix; None when there is none.

    In the order of code points, which is the byte order of UTF-8.
    """
    head = prefix.rstrip(chr(_LAST_CODE_POINT))
    if not head:
        return None
    following = ord(head[-1]) + 1
    if following in _SURROGATES:
        following = _SURROGATES.stop
    return head[:-1] + chr(following)


def _syntax(connection: BaseDatabaseWrapper) -> Any:
    return _POSTGRES if connection.vendor == "postgresql" else _SQLITE
