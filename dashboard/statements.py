"""Statements that are made once and sent often: Django takes longer to build some than to run them.

Where only a time changes from one page to the next, a ``Slot`` stands in its place; whoever sends
the statement fills it in.
"""

from collections.abc import Mapping
from typing import Any

from django.core.exceptions import EmptyResultSet
from django.db.models import BigIntegerField, Expression, QuerySet

from durable.conf import database_alias

KEPT_STATEMENTS = 512
"""Of each kind, in a process."""

type Statement = tuple[str, tuple[Any, ...]]


class Slot(Expression):
    """Stands for a whole number that is known when the statement is sent."""

    def __init__(self, name: str) -> None:
        super().__init__(output_field=BigIntegerField())
        self.name = name

    def as_sql(self, compiler: Any, connection: Any) -> Statement:  # noqa: ARG002 - as Django calls it
        """Stand among the parameters, for ``filled``."""
        return "%s", (self,)


NOW, SINCE = Slot("now"), Slot("since")

type Moment = int | Slot
"""A time, epoch ms, or what stands for it in a statement that is kept."""


def compiled(queryset: QuerySet[Any, Any]) -> Statement | None:
    """Return the statement of a queryset; None when it is known to find nothing."""
    try:
        return statement_of(queryset)
    except EmptyResultSet:
        return None


def statement_of(queryset: QuerySet[Any, Any]) -> Statement:
    """Return the statement of a queryset; raises ``EmptyResultSet``."""
    sql, params = queryset.query.get_compiler(using=database_alias()).as_sql()
    return sql, tuple(params)


def filled(statement: Statement, values: Mapping[Slot, int]) -> Statement:
    """Return a statement with numbers where slots are."""
    sql, params = statement
    return sql, tuple(values[one] if isinstance(one, Slot) else one for one in params)
