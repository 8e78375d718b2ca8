"""What somebody has set up for themselves, as every page needs it: saved views and preferences.

It is read along with the first query about a user, and so takes none of its own.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser, Group
from django.db import connections
from django.db.models import Exists, Func, JSONField, OuterRef, QuerySet
from django.db.models.expressions import RawSQL
from django.db.models.functions import JSONObject

from dashboard.models import DefaultView, Preference, SavedView
from dashboard.statements import KEPT_STATEMENTS, Statement, statement_of
from durable.conf import database_alias

type AnyUser = AbstractBaseUser | AnonymousUser

_MEMO = "_signoff_belongings"
"""On the user object, which lives as long as a request."""
_VIEWS, _PREFERENCES = "own_saved_views", "own_preferences"


@dataclass(frozen=True, slots=True)
class View:
    """A saved view as its reader sees it; ``group`` is empty unless it is shared with one."""

    id: int
    place: str
    name: str
    query: str
    group: str
    is_for_all: bool
    is_mine: bool
    is_first: bool

    @property
    def is_shared(self) -> bool:
        """Whether others see it as well."""
        return self.is_for_all or bool(self.group)


@dataclass(frozen=True, slots=True)
class Belongings:
    """All of it; the views in order: the one that is seen first, then one's own, by name."""

    views: Sequence[View]
    has_single_keys: bool = True
    advances: bool = False
    is_compact: bool = False


class _Item(JSONObject):
    """Columns of a row as one value."""

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        # Django's own first asks each connection whether it can: every SQLite that it takes can.
        return Func.as_sql(self, compiler, connection, **context)


def visible_views(user_key: Any) -> QuerySet[SavedView]:
    """Return one's own views, those of one's groups, and those for all."""
    views = SavedView.objects.using(database_alias())
    groups = Group.objects.filter(user=user_key).values("pk")
    # A set for each way, from an index of its own: asked in one condition, all views are read.
    ways = [views.filter(owner=user_key), views.filter(group__in=groups)]
    seen = views.filter(is_for_all=True).values("pk").union(*(way.values("pk") for way in ways))
    return views.filter(pk__in=seen)


def belongings_of(user: AnyUser) -> Belongings:
    """Return what somebody has. One query, or none when ``columns`` went along with another."""
    if _MEMO not in user.__dict__:
        users: QuerySet[Any] = get_user_model()._default_manager.using(database_alias())
        for row in users.filter(pk=user.pk).values(**columns(user)):
            remember(user, row)
    found: Belongings = user.__dict__.get(_MEMO, Belongings([]))
    return found


def forget_belongings(user: AnyUser) -> None:
    """Read them anew next time: they were changed in this request."""
    user.__dict__.pop(_MEMO, None)


def columns(user: AnyUser) -> dict[str, Any]:
    """Return what to read along with a query about a user, for ``remember``."""
    if _MEMO in user.__dict__:
        return {}
    return {
        name: RawSQL(*statement, output_field=JSONField())  # noqa: S611 - Django's own
        for name, statement in zip((_VIEWS, _PREFERENCES), _statements(user.pk), strict=True)
    }


@lru_cache(maxsize=KEPT_STATEMENTS)
def _statements(user_key: Any) -> Sequence[Statement]:
    return _list_of(_views(user_key)), _list_of(_preferences(user_key))


def _list_of(items: QuerySet[Any]) -> Statement:
    """Return a statement of the column ``item`` of all rows, as one value."""
    sql, params = statement_of(items)
    is_postgresql = connections[database_alias()].vendor == "postgresql"
    listed = (
        "COALESCE(jsonb_agg(listed.item), '[]')"
        if is_postgresql
        else "json_group_array(json(listed.item))"
    )
    return f"SELECT {listed} FROM ({sql}) listed", params  # noqa: S608 - Django's own


def remember(user: AnyUser, row: Mapping[str, Any]) -> None:
    """Keep what ``columns`` read."""
    if _VIEWS in row:
        user.__dict__[_MEMO] = _made(user, row[_VIEWS], row[_PREFERENCES])


def _views(user_key: Any) -> QuerySet[Any]:
    first = DefaultView.objects.filter(view=OuterRef("pk"), user=user_key)
    return (
        visible_views(user_key)
        .order_by()
        .values(
            item=_Item(
                id="pk",
                place="place",
                name="name",
                query="query",
                group="group__name",
                is_for_all="is_for_all",
                owner="owner",
                is_first=Exists(first),
            )
        )
    )


def _preferences(user_key: Any) -> QuerySet[Any]:
    return (
        Preference.objects.using(database_alias())
        .filter(user=user_key)
        .values(
            item=_Item(
                has_single_keys="has_single_keys", advances="advances", is_compact="is_compact"
            )
        )
    )


def _made(
    user: AnyUser, views: Iterable[Mapping[str, Any]], preferences: Iterable[Mapping[str, Any]]
) -> Belongings:
    found = [
        View(
            id=one["id"],
            place=one["place"],
            name=one["name"],
            query=one["query"],
            group=one["group"] or "",
            # SQLite has numbers for them.
            is_for_all=bool(one["is_for_all"]),
            is_mine=str(one["owner"]) == str(user.pk),
            is_first=bool(one["is_first"]),
        )
        for one in views
    ]
    found.sort(key=lambda one: (not one.is_first, not one.is_mine, one.name.casefold(), one.id))
    kept = [{name: bool(value) for name, value in one.items()} for one in preferences]
    return Belongings(found, **kept[0] if kept else {})
