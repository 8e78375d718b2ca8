"""No page and no stream reads more of the database because more has happened in it.

The statements are those that the pages send. Besides the plan, what a statement reads is counted:
an index that is gone through from end to end looks well in a plan.
"""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.db import connection, transaction
from django.test import Client
from pytest_django import DjangoDbBlocker

from dashboard.queries import key_of
from dashboard.states import Status
from dashboard.versions import read_versions
from durable.clock import now_ms
from tests.dashboard import crowd
from tests.dashboard.crowd import BIG, EXECUTIONS, HOUR_MS, RARE_FUNCTION
from tests.dashboard.people import client_of, make_user, task_url
from tests.dashboard.reading import HTMX
from tests.store.support import execute

pytestmark = [pytest.mark.django_db, pytest.mark.timeout(120)]

TABLES = {
    "durable_promise",
    "durable_task",
    "durable_historyevent",
    "signoff_humantask",
    "signoff_decider",
    "signoff_auditentry",
}

MOST_ROWS = EXECUTIONS * 3 // 10
"""Rows that a statement may read on PostgreSQL: a few for everything that is open."""
MOST_STEPS = EXECUTIONS * 3
"""Instructions that a statement may take on SQLite; another row takes four or more."""

ASKED, ANSWERED, OPEN = "e457:2", "e53:2", "e457"
MIDDLE_MS = 2 * HOUR_MS + EXECUTIONS * 500
"""How long ago the half of the executions had been started."""

type Page = tuple[str, str]

SMALL: dict[str, Page] = {
    **{
        f"inbox of {user}, {tab}": (user, f"/inbox/?tab={tab}")
        for user in ("mia", "olga")
        for tab in (
            "answer",
            "mine",
            "groups",
            "unclaimed",
            "waiting",
            "snoozed",
            "unassigned",
            "all",
            "done",
        )
    },
    **{
        f"changes for {user}, {tab}": (user, f"/inbox/changes/?tab={tab}&since={{now}}&known=0")
        for user in ("mia", "olga")
        for tab in ("answer", "all", "done")
    },
    "badge of mia": ("mia", "/inbox/badge/"),
    "badge of olga": ("olga", "/inbox/badge/"),
    "question": ("mia", task_url(ASKED)),
    "question's state": ("mia", f"{task_url(ASKED)}state/"),
    "question that is over": ("mia", task_url(ANSWERED)),
    "list": ("olga", "/executions/"),
    "list, all": ("olga", "/executions/?" + "&".join(f"status={one.slug}" for one in Status)),
    "list, some": ("olga", "/executions/?status=stuck&status=cancelled&status=timedout"),
    **{
        f"list, {name}": ("olga", f"/executions/?{query}")
        for name, query in (
            ("rare function", f"function={RARE_FUNCTION}"),
            ("common function", "function=invoice"),
            ("prefix of few", "prefix=e1234"),
            ("prefix of all", "prefix=e"),
            ("older", "older={middle}~e1"),
            ("newer", "newer={middle}~e1"),
        )
    },
    **{
        f"list, {status.slug}{name}": ("olga", f"/executions/?status={status.slug}{more}")
        for status in Status
        for name, more in (
            ("", ""),
            (" of a rare function", f"&function={RARE_FUNCTION}"),
            (" of a common function", "&function=fulfil"),
            (" of a prefix", "&prefix=e"),
            (", older", "&older={middle}~e1"),
            (", newer", "&newer={middle}~e1"),
        )
    },
    **{
        f"{what} of {execution}": ("olga", f"/executions/{execution}/{rest}")
        for execution in (OPEN, "e0", "e9", "e97", "e12344")
        for what, rest in (("tree", ""), ("history", "?tab=history"), ("cancellation", "cancel/"))
    },
    "search": ("olga", "/search/?q=e500:2"),
    "search for nothing": ("olga", "/search/?q=nothing"),
    "address of a step": ("olga", "/executions/e500:2/"),
}
LARGE: dict[str, Page] = {
    f"{name} of {root}": ("olga", f"/executions/{root}/{rest}")
    for root in ("big", "spent")
    for name, rest in (
        ("tree", ""),
        ("step", f"?step={root}:7777"),
        ("members", f"?open={key_of(root, 'step', 'fetch')}"),
        ("history", "?tab=history"),
        ("older history", "?tab=history&before={hour}~1~99"),
        ("history of a step", f"?tab=history&step={root}:7777"),
        ("cancellation", "cancel/"),
    )
}


@pytest.fixture(scope="module")
def clients(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[dict[str, Any]]:
    """Clients of people, in one transaction with all the rows for all tests of the module."""
    with django_db_blocker.unblock(), transaction.atomic():
        mia = make_user("mia", groups=("finance",))
        rights = ("settle_any", "view_executions", "cancel_executions")
        olga = make_user("olga", rights=rights)
        User.objects.bulk_create(User(username=f"user-{number}") for number in range(300))
        finance = Group.objects.get(name="finance")
        crowd.populate(now_ms(), finance=finance.pk, mia=mia.pk)
        yield {"mia": client_of(mia), "olga": client_of(olga)}
        transaction.set_rollback(True)


@pytest.fixture(autouse=True)
def _unchecked(clients: dict[str, Client], db: None) -> Iterator[None]:
    """Spare Django's look for broken foreign keys among all rows after each test."""
    yield
    transaction.set_rollback(True)


@pytest.mark.parametrize("name", SMALL)
def test_page_reads_what_it_shows(name: str, clients: dict[str, Client]) -> None:
    _check(lambda: _get(clients, SMALL[name]), MOST_ROWS, MOST_STEPS)


@pytest.mark.parametrize("name", LARGE)
def test_page_of_a_large_execution_reads_nothing_else(
    name: str, clients: dict[str, Client]
) -> None:
    _check(lambda: _get(clients, LARGE[name]), MOST_ROWS + 3 * BIG, MOST_STEPS + 400 * BIG)


def test_stream_reads_what_is_watched(clients: dict[str, Client]) -> None:
    _check(lambda: read_versions([OPEN, "e1", "e97"]), MOST_ROWS, MOST_STEPS)
    _check(lambda: read_versions(["big"]), MOST_ROWS + 3 * BIG, MOST_STEPS + 40 * BIG)


@pytest.mark.parametrize(
    ("index", "name"),
    [
        ("durable_promise_roots", "list"),
        pytest.param(
            "durable_promise_root_state",
            "list, cancelled",
            marks=pytest.mark.sqlite_only(reason="PostgreSQL finds these few by other indexes too"),
        ),
        ("durable_promise_root_call", "list, rare function"),
        ("durable_promise_lineage", f"tree of {OPEN}"),
        ("signoff_task_done", "inbox of olga, done"),
        ("signoff_decider_group", "inbox of mia, groups"),
    ],
)
def test_missing_index_is_seen(index: str, name: str, clients: dict[str, Client]) -> None:
    with transaction.atomic():
        execute(f"drop index {index}")
        with pytest.raises(AssertionError):
            _check(lambda: _get(clients, SMALL[name]), MOST_ROWS, MOST_STEPS)
        transaction.set_rollback(True)


def _get(clients: dict[str, Client], page: Page) -> None:
    user, path = page
    now = now_ms()
    path = path.format(now=now, middle=now - MIDDLE_MS, hour=now - HOUR_MS)
    fragment = "/changes/" in path or path.endswith("/state/")
    response = clients[user].get(path, headers=HTMX if fragment else {})
    assert response.status_code in {200, 204, 302}, (path, response.status_code)


def _check(work: Callable[[], object], most_rows: int, most_steps: int) -> None:
    found: list[tuple[str, Any]] = []

    def record(run: Callable[..., Any], sql: str, params: Any, *rest: Any) -> Any:
        found.append((sql, params))
        return run(sql, params, *rest)

    with connection.execute_wrapper(record):
        work()
    found = [one for one in found if any(table in one[0] for table in TABLES)]
    assert found
    for sql, params in found:
        if connection.vendor == "postgresql":
            _check_postgresql(sql, params, most_rows)
        else:
            _check_sqlite(sql, params, most_steps)


def _check_postgresql(sql: str, params: Any, most: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"explain (analyze, timing off, format json) {sql}", params)
        [[plan]] = cursor.fetchall()
    plans = json.loads(plan) if isinstance(plan, str) else plan
    scans = [node for node in _nodes(plans[0]["Plan"]) if "Relation Name" in node]
    whole = {node["Relation Name"] for node in scans if node["Node Type"] == "Seq Scan"}
    assert not whole & TABLES, (whole, sql)
    rows = sum(map(_rows_read, scans))
    assert rows <= most, (rows, [(node["Node Type"], _rows_read(node)) for node in scans], sql)


def _rows_read(node: dict[str, Any]) -> int:
    removed = ("Rows Removed by Filter", "Rows Removed by Index Recheck")
    return int(
        (node["Actual Rows"] + sum(node.get(one, 0) for one in removed)) * node["Actual Loops"]
    )


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from _nodes(child)


def _check_sqlite(sql: str, params: Any, most: int) -> None:
    aliases = dict(re.findall(r'"(\w+)" "([A-Z]+\d+)"', sql))
    tables = TABLES | {aliases[table] for table in TABLES & aliases.keys()}
    with connection.cursor() as cursor:
        cursor.execute(f"explain query plan {sql}", params)
        plan = [row[3] for row in cursor.fetchall()]
        whole = [line for line in plan if line.removeprefix("SCAN ") in tables]
        assert not whole, (plan, sql)
        steps = 0

        def count() -> int:
            nonlocal steps
            steps += 100
            return 0

        connection.connection.set_progress_handler(count, 100)
        try:
            cursor.execute(sql, params)
            cursor.fetchall()
        finally:
            connection.connection.set_progress_handler(None, 0)
    assert steps <= most, (steps, plan, sql)
