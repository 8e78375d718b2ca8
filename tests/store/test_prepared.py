"""Plans of prepared statements do not outlive the tables that they were made for."""

import pytest
from django.db import connection

from durable import prepared

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.postgres_only(reason="SQLite plans each statement as the tables are"),
]

_SQL = "select count(*) from grown where name = %s"
_SCANS = ("enable_indexscan", "enable_indexonlyscan", "enable_bitmapscan")


@pytest.fixture
def table():
    with connection.cursor() as cursor:
        cursor.execute("create temporary table grown (name text primary key)")
    yield
    with connection.cursor() as cursor:
        cursor.execute("reset plan_cache_mode")
        cursor.execute("drop table grown")


def plan_of_the_only_statement() -> str:
    with connection.cursor() as cursor:
        cursor.execute(
            "select name from pg_prepared_statements where statement like '%from grown%'"
        )
        [[name]] = cursor.fetchall()
        cursor.execute(f"explain execute {name}('x')")
        return "\n".join(line for [line] in cursor.fetchall())


def test_a_plan_for_an_empty_table_is_made_anew(table: None) -> None:
    for name in _SCANS:
        connection.connection.execute(f"set {name} = off")
    connection.connection.execute("set plan_cache_mode = force_generic_plan")
    prepared.execute(connection, _SQL, ["x"])
    for name in _SCANS:
        connection.connection.execute(f"reset {name}")
    assert "Seq Scan" in plan_of_the_only_statement()

    plans = prepared._plans[connection.connection]
    plans.due_at = 0.0
    assert prepared.execute(connection, _SQL, ["x"]).fetchall() == [(0,)]
    assert "Index" in plan_of_the_only_statement()


def test_pauses_grow_up_to_a_minute() -> None:
    plans = prepared._Plans(100.0)
    due = [plans.due_at]
    for _ in range(8):
        plans.wait_longer(due[-1])
        due.append(plans.due_at)
    pauses = [later - earlier for earlier, later in zip([100.0, *due], due, strict=False)]
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_a_failed_transaction_stays_failed_and_says_so(table: None) -> None:
    from django.db import transaction
    from psycopg.errors import InFailedSqlTransaction, UndefinedTable

    prepared.execute(connection, _SQL, ["x"])
    with pytest.raises(InFailedSqlTransaction), transaction.atomic():
        with pytest.raises(UndefinedTable):
            prepared.execute(connection, "select 1 from nowhere")
        prepared._plans[connection.connection].due_at = 0.0
        prepared.execute(connection, _SQL, ["x"])
