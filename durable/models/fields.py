"""Columns that both databases hold alike, and the manager that guards the protocol's rows."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NoReturn

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.sql.compiler import SQLCompiler

if TYPE_CHECKING:
    _TextField = models.TextField[str, str]
else:
    _TextField = models.TextField


class IdField(_TextField):
    """Text compared byte by byte, as the protocol orders ids; on PostgreSQL that is ``C``."""

    def db_type(self, connection: BaseDatabaseWrapper) -> str | None:
        """Return the column type; on PostgreSQL spelled so that Django adds no index for LIKE.

        It would make each new row dearer, and ``C`` needs none.
        """
        if connection.vendor == "postgresql":
            return "character varying"
        return super().db_type(connection)

    def db_parameters(self, connection: BaseDatabaseWrapper) -> Any:
        """Return the column type with the collation of the database at hand."""
        parameters = super().db_parameters(connection)
        if connection.vendor == "postgresql":
            parameters["collation"] = "C"
        return parameters


class OriginTag(models.Func):
    """The value of a promise's ``resonate:origin`` tag, as searches write it."""

    arity = 1
    template = "(%(expressions)s ->> 'resonate:origin')"
    output_field = models.TextField()

    def as_sqlite(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: Any
    ) -> Any:
        """Return the expression with SQLite's function."""
        template = "json_extract(%(expressions)s, '$.\"resonate:origin\"')"
        return super().as_sql(compiler, connection, template=template, **context)


class Differs(models.Func):
    """Whether two texts are both there and not the same."""

    arity = 2
    template = "%(expressions)s"
    arg_joiner = " <> "
    output_field = models.BooleanField()
    conditional = True


class IsTargeted(models.Func):
    """Whether the tags of a promise name a target: whether it has a task."""

    arity = 1
    template = "((%(expressions)s ->> 'resonate:target') IS NOT NULL)"
    output_field = models.BooleanField()
    conditional = True

    def as_sqlite(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: Any
    ) -> Any:
        """Return the expression with SQLite's function."""
        template = "(json_extract(%(expressions)s, '$.\"resonate:target\"') IS NOT NULL)"
        return super().as_sql(compiler, connection, template=template, **context)


class ProtocolRowError(TypeError):
    """Somebody tried to write a row of the protocol past the machine."""

    def __init__(self, model: str) -> None:
        """``model`` is the name of the model."""
        super().__init__(
            f"{model} rows are written by durable.store only; use durable.promises or a request"
        )


class ProtocolQuerySet[M: models.Model](models.QuerySet[M]):
    """Reads like any query set and refuses to write."""

    def _refuse(self) -> NoReturn:
        raise ProtocolRowError(self.model.__name__)

    def create(self, **_kwargs: Any) -> NoReturn:
        """Refuse."""
        self._refuse()

    def bulk_create(  # type: ignore[override]
        self, _objs: Iterable[M], *_args: Any, **_kwargs: Any
    ) -> NoReturn:
        """Refuse."""
        self._refuse()

    def bulk_update(  # type: ignore[override]
        self, _objs: Iterable[M], *_args: Any, **_kwargs: Any
    ) -> NoReturn:
        """Refuse."""
        self._refuse()

    def update(self, **_kwargs: Any) -> NoReturn:
        """Refuse."""
        self._refuse()

    def delete(self) -> NoReturn:
        """Refuse."""
        self._refuse()


class ProtocolModel(models.Model):
    """A row that only the store writes."""

    objects = ProtocolQuerySet.as_manager()

    class Meta:
        abstract = True

    def save(self, *_args: Any, **_kwargs: Any) -> NoReturn:
        """Refuse."""
        raise ProtocolRowError(type(self).__name__)

    def delete(self, *_args: Any, **_kwargs: Any) -> NoReturn:
        """Refuse."""
        raise ProtocolRowError(type(self).__name__)
