"""The hot SQL, in the intersection of both databases; each dialect fills in what differs.

``Insert`` and ``Update`` describe set-based statements; a dialect turns each into one text, once.
"""

from dataclasses import dataclass

from durable.store import rows


@dataclass(frozen=True, eq=False)
class Insert:
    """Insert rows; ``columns`` maps names to PostgreSQL types. Conflicting rows are left alone."""

    table: str
    columns: dict[str, str]
    conflict: str = "on conflict do nothing"

    def parameters(self) -> list[tuple[str, str]]:
        """Return names and types of a row's parameters, in order."""
        return list(self.columns.items())


@dataclass(frozen=True, eq=False)
class Update:
    """Update rows by key where the guard still holds.

    A row's parameters are the key, the new values, then the old value of each guarded column; for
    one in ``nullable`` both sides read null as 0.
    """

    table: str
    key: str
    values: dict[str, str]
    guard: dict[str, str]
    nullable: tuple[str, ...] = ()

    def parameters(self) -> list[tuple[str, str]]:
        """Return names and types of a row's parameters, in order."""
        old = [(f"old_{name}", kind) for name, kind in self.guard.items()]
        return [(self.key, "text"), *self.values.items(), *old]

    def guarded(self, name: str, prefix: str = "") -> str:
        """Return the expression that a guard compares."""
        return f"coalesce({prefix}{name}, 0)" if name in self.nullable else f"{prefix}{name}"


@dataclass(frozen=True, eq=False)
class Delete:
    """Delete rows by key columns."""

    table: str
    columns: dict[str, str]

    def parameters(self) -> list[tuple[str, str]]:
        """Return names and types of a row's parameters, in order."""
        return list(self.columns.items())


type Change = Insert | Update | Delete

INSERT_PROMISE = Insert(
    "durable_promise",
    {
        "id": "text",
        "state": "text",
        "timeout_at": "bigint",
        "created_at": "bigint",
        "settled_at": "bigint",
        "param_data": "text",
        "param_headers": "jsonb",
        "value_data": "text",
        "value_headers": "jsonb",
        "tags": "jsonb",
        "origin": "text",
        "replayed_by": "text",
        "function": "text",
        "is_external": "boolean",
        "is_root": "boolean",
        "started_at": "bigint",
        "attempts": "integer",
        "last_error": "text",
        "started_by": "text",
        "is_undrained": "boolean",
    },
)
SETTLE_PROMISE = Update(
    "durable_promise",
    "id",
    {
        "state": "text",
        "settled_at": "bigint",
        "value_data": "text",
        "value_headers": "jsonb",
        "is_undrained": "boolean",
    },
    {"state": "text"},
)
MARK_DRAINED = Update(
    "durable_promise", "id", {"is_undrained": "boolean"}, {"is_undrained": "boolean"}
)
ANNOTATE_PROMISE = Update(
    "durable_promise",
    "id",
    {"started_at": "bigint", "attempts": "integer", "last_error": "text"},
    {},
)
INSERT_TASK = Insert(
    "durable_task",
    {
        "id": "text",
        "state": "text",
        "version": "integer",
        "resumes": "jsonb",
        "pid": "text",
        "ttl": "bigint",
        "expires_at": "bigint",
        "retry_at": "bigint",
        "queue": "text",
        "not_before": "bigint",
        "releases": "integer",
        "stuck": "text",
    },
)
UPDATE_TASK = Update(
    "durable_task",
    "id",
    {
        "state": "text",
        "version": "integer",
        "resumes": "jsonb",
        "pid": "text",
        "ttl": "bigint",
        "expires_at": "bigint",
        "retry_at": "bigint",
        "not_before": "bigint",
        "releases": "integer",
        "stuck": "text",
    },
    {"state": "text", "version": "integer", "expires_at": "bigint"},
    nullable=("expires_at",),
)
INSERT_CALLBACK = Insert("durable_callback", {"awaited_id": "text", "awaiter_id": "text"})
DELETE_CALLBACK = Delete("durable_callback", {"awaited_id": "text", "awaiter_id": "text"})
INSERT_LISTENER = Insert("durable_listener", {"promise_id": "text", "address": "text"})
DELETE_LISTENER = Delete("durable_listener", {"promise_id": "text", "address": "text"})
INSERT_HISTORY = Insert(
    "durable_historyevent",
    {"task_id": "text", "event": "smallint", "at": "bigint", "version": "integer", "pid": "text"},
)
SEND_EXECUTE = Insert(
    "durable_outboxmessage",
    {"promise_id": "text", "address": "text", "version": "integer"},
    "on conflict (promise_id) where version is not null"
    " do update set address = excluded.address, version = excluded.version",
)
SEND_UNBLOCK = Insert(
    "durable_outboxmessage",
    {"promise_id": "text", "address": "text", "record": "jsonb"},
    "on conflict (promise_id, address) where version is null"
    " do update set record = excluded.record",
)
INSERT_SCHEDULE = Insert(
    "durable_schedule",
    {
        "id": "text",
        "cron": "text",
        "promise_id": "text",
        "promise_timeout": "bigint",
        "promise_param_data": "text",
        "promise_param_headers": "jsonb",
        "promise_tags": "jsonb",
        "created_at": "bigint",
        "next_run_at": "bigint",
        "last_run_at": "bigint",
    },
)
ADVANCE_SCHEDULE = Update(
    "durable_schedule",
    "id",
    {"next_run_at": "bigint", "last_run_at": "bigint"},
    {"next_run_at": "bigint"},
)
DELETE_SCHEDULE = Delete("durable_schedule", {"id": "text"})

_promise = ", ".join(f"p.{column}" for column in rows.PROMISE_COLUMNS)
_task = ", ".join(f"t.{column}" for column in rows.TASK_COLUMNS)
_schedule = ", ".join(rows.SCHEDULE_COLUMNS)

LOAD = (
    f"select {_promise}, p.origin, {_task},"
    " (select cast({json_list}(c.awaiter_id) as text) from durable_callback c"
    " where c.awaited_id = p.id),"
    " (select cast({json_list}(l.address) as text) from durable_listener l"
    " where l.promise_id = p.id)"
    " from durable_promise p left join durable_task t on t.id = p.id where p.id {in_list}"
)
LOAD_SCHEDULES = f"select {_schedule} from durable_schedule where id {{in_list}}"
_HISTORY = (
    f"select p.replayed_by, {_promise} from durable_promise p"
    " join {pairs} on p.origin = k.a and p.replayed_by = k.b order by p.id"
)
LOAD_HISTORY = _HISTORY
LOAD_CLAIMED_HISTORY = _HISTORY.replace(
    "{pairs}",
    "(select e->>0 as a, e->>1 as b from jsonb_array_elements("
    "coalesce(nullif(current_setting('durable.replayed', true), ''), '[]')::jsonb) e) k",
)
"""After ``CLAIM`` in one transaction, in a snapshot of its own: what was recorded until then."""
CANDIDATES = (  # of one group: in the order of its index
    "select t.not_before, t.id, t.version from durable_task t join durable_promise p on p.id = t.id"
    " where t.state = 'pending' and t.queue = %s and t.not_before <= %s - %s"
    " and p.state = 'pending' and p.timeout_at > %s"
    " and (p.function is null or (p.function {in_list}) = %s) order by t.not_before limit %s"
)
ORIGINS = "select id, origin from durable_promise where id {in_list}"
CLAIM = (  # group by group, in the order of the index: a backlog is not sorted for each claim
    "with clock as (select {clock} as now), due as materialized ("
    "select d.id from clock, {texts} q(name), lateral ("
    "select t.id, t.not_before from durable_task t join durable_promise p on p.id = t.id"
    " where t.state = 'pending' and t.queue = q.name and t.not_before <= clock.now - %s"
    " and p.state = 'pending' and p.timeout_at > clock.now"
    " and (p.function is null or (p.function {in_list}) = %s)"
    " order by t.not_before limit %s for no key update of t skip locked) d"
    " order by d.not_before limit %s),"
    " claimed as (update durable_task t set state = 'acquired', version = t.version + 1,"
    " resumes = '[]', pid = %s, ttl = %s, expires_at = clock.now + %s, retry_at = null"
    " from due, clock where t.id = due.id returning t.*),"
    " logged as (insert into durable_historyevent (task_id, event, at, version, pid)"
    " select id, %s, clock.now, version, pid from claimed, clock)"
    f" select clock.now, {_promise}, p.origin, {_task}"
    " from claimed t join durable_promise p on p.id = t.id, clock,"
    " (select set_config('durable.replayed', coalesce(json_agg(json_build_array(p.origin, p.id))"
    " filter (where c.version > 1), '[]')::text, true)"
    " from claimed c join durable_promise p on p.id = c.id) kept order by t.not_before"
)
HEARTBEAT = (
    "update durable_task set expires_at = {clock} + ttl where id in ("
    "select t.id from durable_task t join durable_promise p on p.id = t.id"
    " join {pairs} on k.a = t.id and k.b = cast(t.version as text)"
    " where t.state = 'acquired' and t.pid = %s"
    " and p.state = 'pending' and p.timeout_at > {clock} {skip_locked}) returning id, version"
)
HELD = (
    "select t.id, t.version from durable_task t join durable_promise p on p.id = t.id"
    " where t.id {in_list} and t.state = 'acquired' and t.pid = %s"
    " and p.state = 'pending' and p.timeout_at > {clock}"
)
_DUE = (
    "select * from (select 'timeout' as kind, id as a, '' as b, timeout_at as at"
    " from durable_promise where state = 'pending' and is_external{is_true}"
    " order by timeout_at limit %s) timeouts"
    " union all select * from (select 'lease', id, '', expires_at from durable_task"
    " where state = 'acquired' order by expires_at limit %s) leases"
    " union all select * from (select 'retry', id, '', retry_at from durable_task"
    " where state = 'pending' and not_before <= {clock}{which}"
    " order by retry_at limit %s) retries"
    " union all select * from (select 'schedule', id, '', next_run_at from durable_schedule"
    " order by next_run_at limit %s) schedules"
    " union all select * from (select 'callback', c.awaited_id, c.awaiter_id, 0"
    " from durable_promise p cross join durable_callback c"  # SQLite: in this order
    " where c.awaited_id = p.id and p.is_undrained{is_true} limit %s) callbacks"
    " union all select * from (select 'listener', l.promise_id, l.address, 0"
    " from durable_promise p cross join durable_listener l"
    " where l.promise_id = p.id and p.is_undrained{is_true} limit %s) listeners"
    " union all select 'now', '', '', {clock}"
)
DUE = _DUE.replace("{which}", "")
DUE_WITHOUT_GROUPS = _DUE.replace("{which}", " and queue is null")
ACQUIRED = "select id from durable_task where id {in_list} and state = 'acquired'"
LOAD_LINEAGE = (
    f"select {_promise} from durable_promise p where p.origin ="
    " (select origin from durable_promise where id = %s) order by p.id"
)
