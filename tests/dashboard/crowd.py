"""A database as a busy month leaves it, written in SQL: what makes a bad plan of a page visible.

Of ``EXECUTIONS`` few are open, one function and some states are rare and old, one lineage is big,
and the newest roots are no executions.
"""

import json
from typing import Any

from django.db import connection

from durable.protocol import tags
from durable.protocol.validation import MAX_INSTANT
from tests.dashboard.people import HOUR_MS, pack
from tests.store.support import execute, forget_statistics

EXECUTIONS = 100_000
"""``e0`` is the oldest; each has two more promises, ``:1`` and ``:2``."""
OPEN_EVERY = 50
BIG = 20_000
"""Steps of ``big``, which runs, and of ``spent``, which failed."""
BARE = 5000
"""Promises with nothing above or below them and no function, newer than every execution."""
NEVER = MAX_INSTANT

RARE_FUNCTION = "audit_books"

_CALL = pack({"func": "fulfil", "args": ["order", 199], "kwargs": {}, "version": 1})
_ERROR = pack({"__type": "error", "name": "CardError", "message": "declined"})
_DESCRIPTION = {"schema": 1, "title": "Ship?", "groups": ["finance"], "facts": {"Total": "199"}}
_ENDED = "('cancelled', 'timedout', 'failed', 'asked', 'done')"

# The state of an execution and of its second promise hang on its kind.
_KIND = f"""
    case when n < 3 then 'stuck' when n < 6 then 'overdue' when n < 11 then 'cancelled'
    when n < 15 then 'timedout' when n % 97 = 0 then 'failed' when n % 10 in (3, 5, 6) then 'asked'
    when n % {OPEN_EVERY} <> 7 then 'done' else case n / {OPEN_EVERY} % 40
    when 0 then 'running' when 1 then 'queued' when 2 then 'waiting' when 3 then 'waiting'
    when 4 then 'sleeping' when 5 then 'sleeping' when 6 then 'sleeping' else 'human' end end
"""
_STATE = """
    case kind when 'cancelled' then 'rejected_canceled' when 'timedout' then 'rejected_timedout'
    when 'failed' then 'rejected' when 'asked' then 'resolved' when 'done' then 'resolved'
    else 'pending' end
"""
_FUNCTION = f"""
    case when n in (2, 8, 13, 20, 21) then '{RARE_FUNCTION}'
    when n % 20 = 0 then 'invoice' else 'fulfil' end
"""
_COLUMNS = (
    "id, state, timeout_at, created_at, settled_at, param_data, value_data, tags, origin,"
    " replayed_by, function, is_external, is_root, is_undrained"
)


def populate(now: int, *, finance: int, mia: int) -> None:
    """Write it all; ``finance`` and ``mia`` are a group and a user who may answer, by key."""
    _write_executions(now)
    for root, state in (("big", "pending"), ("spent", "rejected")):
        _write_lineage(root, state, now)
    _write_bare(now)
    _write_tasks(now)
    _write_questions(now, finance, mia)
    if connection.vendor == "postgresql":  # by itself, in time
        execute("analyze")
    else:
        forget_statistics()


def _write_executions(now: int) -> None:
    ended_at = f"case when kind in {_ENDED} then created + 500 end"
    deadline = f"""case kind when 'overdue' then {now - HOUR_MS} when 'timedout'
        then created + 500 else {NEVER} end"""
    error = f"case kind when 'failed' then '{_ERROR}' end"
    root = _json({tags.ORIGIN: "@", tags.BRANCH: "@", tags.TARGET: "poll://any@default"})
    execute(
        f"insert into durable_promise ({_COLUMNS}) select id, {_STATE}, {deadline}, created,"
        f" {ended_at}, '{_CALL}', {error}, {root}, id, null, {_FUNCTION}, true, true, false"
        f" from {_executions(now)}"
    )
    step = _json({tags.ORIGIN: "@", tags.PARENT: "@", tags.SCOPE: tags.SCOPE_LOCAL})
    execute(
        f"insert into durable_promise ({_COLUMNS}) select id || ':1', 'resolved', {NEVER},"
        f" created + 100, created + 100, '{_CALL}', '{_CALL}', {step}, id, id, 'charge', false,"
        f" false, false from {_executions(now)}"
    )
    below = {tags.ORIGIN: "@", tags.PARENT: "@"}
    timer = _json(below | {tags.TIMER: tags.TRUE})
    question = _json(below | {tags.EXTERNAL: tags.TRUE})
    is_open = "kind in ('human', 'sleeping')"
    execute(
        f"insert into durable_promise ({_COLUMNS}) select id || ':2',"
        f" case when {is_open} then 'pending' when kind = 'failed' then 'rejected'"
        f" else 'resolved' end, case kind when 'sleeping' then {now + HOUR_MS} + n"
        f" else {NEVER} end, created + 200, case when not ({is_open}) then created + 200 end,"
        f" '{_CALL}', {error}, case when kind = 'sleeping' then {timer}"
        f" when kind in ('human', 'asked') then {question} else {step} end, id, id,"
        f" case when kind in ('human', 'asked', 'sleeping') then null else 'ship' end,"
        f" kind in ('human', 'asked', 'sleeping'), false, false from {_executions(now)}"
    )


def _write_lineage(root: str, state: str, now: int) -> None:
    began = now - HOUR_MS - 60_000
    ended = "null" if state == "pending" else str(began + BIG + 1)
    own = {tags.ORIGIN: root, tags.BRANCH: root, tags.TARGET: "poll://any@default"}
    error = "null" if state == "pending" else f"'{_ERROR}'"
    execute(
        f"insert into durable_promise ({_COLUMNS}) values ('{root}', '{state}', {NEVER}, {began},"
        f" {ended}, '{_CALL}', {error}, {_json(own)}, '{root}', null, 'crawl', true, true, false)"
    )
    below = {tags.ORIGIN: root, tags.PARENT: root, tags.SCOPE: tags.SCOPE_LOCAL}
    execute(
        f"insert into durable_promise ({_COLUMNS}) select '{root}:' || n,"
        f" case n % 1000 when 7 then 'rejected' else 'resolved' end, {NEVER}, {began} + n,"
        f" {began} + n, '{_CALL}', case n % 1000 when 7 then '{_ERROR}' end, {_json(below)},"
        f" '{root}', '{root}', case n % 500 when 1 then 'store' else 'fetch' end, false, false,"
        f" false from {_numbers(BIG)}"
    )


def _write_bare(now: int) -> None:
    execute(
        f"insert into durable_promise ({_COLUMNS}) select 'bare' || n, case n when 0 then 'pending'"
        f" else 'resolved' end, {NEVER}, {now - HOUR_MS} + n, case when n > 0 then"
        f" {now - HOUR_MS} + n end, null, null, {_json({})}, 'bare' || n, null, null, true, true,"
        f" false from {_numbers(BARE)}"
    )


def _write_tasks(now: int) -> None:
    state = f"""case when kind in {_ENDED} then 'fulfilled' when kind in ('queued', 'stuck')
        then 'pending' when kind = 'running' then 'acquired' else 'suspended' end"""
    leased = "case kind when 'running' then {} end"
    columns = (
        "id, state, version, resumes, pid, ttl, expires_at, retry_at, queue, not_before, releases,"
        " stuck"
    )
    execute(
        f"insert into durable_task ({columns}) select id, {state}, 2, {_json([])},"
        f" {leased.format("'w' || n % 8")}, {leased.format('60000')},"
        f" {leased.format(now + HOUR_MS)},"
        f" case when kind in ('queued', 'stuck') then created end, 'default', 0, 0,"
        f" case kind when 'stuck' then 'It changed.' end from {_executions(now)}"
    )
    for root in ("big", "spent"):
        runs = root == "big"
        lease = f"'w1', 60000, {now + HOUR_MS}" if runs else "null, null, null"
        state = "acquired" if runs else "fulfilled"
        execute(
            f"insert into durable_task ({columns}) values ('{root}', '{state}', 9, {_json([])},"
            f" {lease}, null, 'default', 0, 0, null)"
        )
    execute(
        "insert into durable_callback (awaited_id, awaiter_id) select case kind when 'waiting'"
        f" then 'bare0' else id || ':2' end, id from {_executions(now)}"
        " where kind in ('human', 'sleeping', 'waiting')"
    )
    execute(
        "insert into durable_historyevent (task_id, event, at, version, pid)"
        f" select id, k, created + k * 100, 1, 'w1' from {_executions(now)},"
        " (select 1 as k union all select 2) events"
    )
    execute(
        "insert into durable_historyevent (task_id, event, at, version, pid)"
        f" select 'big', n % 3 + 1, {now - HOUR_MS} + n, n / 3, 'w1' from {_numbers(BIG)}"
    )
    execute(
        "insert into durable_worker (pid, groups, functions, host, system_pid, concurrency,"
        f" started_at, seen_at, is_draining, running) select 'w' || n, {_json(['default'])},"
        f" {_json([])}, 'web', n, 8, {now}, {now} - n * 60000, false, {_json([])}"
        f" from {_numbers(200)}"
    )


def _write_questions(now: int, finance: int, mia: int) -> None:
    asked = f"{_executions(now)} where kind in ('human', 'asked')"
    execute(
        "insert into signoff_humantask (promise_id, title, question, due_at, created_at,"
        " settled_at, is_unassigned, origin, function, description, problem)"
        f" select id || ':2', 'Ship?', '', case n % 3 when 0 then {now} + n else {NEVER} end,"
        " created + 200, case kind when 'asked' then created + 200 end, n % 4 = 3, id, 'fulfil',"
        f" {_json(_DESCRIPTION)}, '' from {asked}"
    )
    # Everybody else is somebody: users and groups by the hundred.
    execute(
        "insert into signoff_decider (task_id, kind, name, user_id, group_id, is_unknown, is_open)"
        " select id || ':2', case n % 2 when 0 then 'group' else 'user' end, 'x' || n % 2,"
        f" case when n % 2 = 1 then case when n % 40 in (13, 17)"
        f" then {mia} else {mia} + 1 + n % 300 end"
        f" end, case when n % 2 = 0 then {finance} + n % 50 end, false, kind = 'human'"
        f" from {asked} and n % 4 <> 3"
    )
    moment = "timestamp '2026-11-01'" if connection.vendor == "postgresql" else "'2026-11-01'"
    execute(
        "insert into signoff_auditentry (at, actor_id, actor_name, on_behalf_of_name, sign_in,"
        " user_agent, action, answer, target_kind, target, reason, is_effective, is_override,"
        " state_before, state_after, details, payload_hash, request_key)"
        f" select {moment}, {mia} + n % 7, 'Mia', '', 'session', '', 'approve', 'approve', 'task',"
        f" id || ':2', '', true, false, 'pending', 'resolved', '{{}}', '', 'k' || n"
        f" from {_executions(now)} where kind = 'asked'"
    )


def _executions(now: int) -> str:
    first = now - 2 * HOUR_MS - EXECUTIONS * 1000
    return (
        f"(select n, 'e' || n as id, {first} + n * 1000 as created, {_KIND} as kind"
        f" from {_numbers(EXECUTIONS)}) e"
    )


def _numbers(count: int) -> str:
    if connection.vendor == "postgresql":
        return f"generate_series(0::bigint, {count - 1}) s(n)"
    return (
        "(with recursive s(n) as"
        f" (select 0 union all select n + 1 from s where n < {count - 1}) select n from s) s"
    )


def _json(value: Any) -> str:
    """Write a document, with the id of the execution where it says ``@``."""
    text = "'" + json.dumps(value).replace('"@"', "\"' || id || '\"") + "'"
    return f"({text})::jsonb" if connection.vendor == "postgresql" else text
