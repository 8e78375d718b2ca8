"""Sets of ids that several parts of one statement look into: each is made once."""

from collections.abc import Callable, Iterable
from typing import Any

from django.db.models import QuerySet
from django.db.models.expressions import RawSQL

from dashboard.statements import Statement, compiled


class SharedSets:
    """Common table expressions, by name, for a statement that is put together by hand."""

    def __init__(self) -> None:
        self._made: dict[str, Statement] = {}
        self._names: dict[str, list[str]] = {}

    def share(self, name: str, make: Callable[[], Iterable[QuerySet[Any, Any]]]) -> list[RawSQL]:
        """Return what stands for each of some querysets of ids, as in ``pk__in``.

        ``make`` is called for a name the first time it is asked for. What finds nothing is left
        out.
        """
        if name not in self._names:
            found = [one for one in map(compiled, make()) if one is not None]
            made = {f"{name}_{place}": one for place, one in enumerate(found)}
            self._names[name] = list(made)
            self._made |= made
        return [
            RawSQL(f"SELECT id FROM {one}", ())  # noqa: S608, S611 - of this package
            for one in self._names[name]
        ]

    def prefix(self) -> Statement:
        """Return the beginning of the statement."""
        if not self._made:
            return "", ()
        parts = [f"{name}(id) AS MATERIALIZED ({sql})" for name, (sql, _) in self._made.items()]
        params = tuple(one for _sql, params in self._made.values() for one in params)
        return f"WITH {', '.join(parts)} ", params
