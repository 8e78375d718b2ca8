"""Reads promises as pages see them: their status by now, titles, roots, and who started them.

A row may say pending although its deadline has passed: every status is projected to ``now``.
"""

import hashlib
from collections.abc import Collection, Iterable
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db.models import Func, Model, QuerySet, TextField, Value
from django.db.models.lookups import Exact

from dashboard.models import HumanTask
from dashboard.people import name_of, starter_id, starter_of
from dashboard.states import Status, projected, settled_status
from durable import conf
from durable.models import Promise
from durable.protocol import tags


class Tag(Func):
    """A tag of a promise. Tags are text, so that Django's cases for other JSON can be left out."""

    template = "(%(expressions)s ->> '%(tag)s')"
    output_field = TextField()

    def __init__(self, name: str) -> None:
        """``name`` is one of ours, never a visitor's."""
        super().__init__("tags", tag=name)


IS_TIMER = Exact(Tag(tags.TIMER), Value(tags.TRUE))


def rows[M: Model](model: type[M]) -> QuerySet[M]:
    """Return the rows of a model of the engine, in the engine's database."""
    return model._default_manager.using(conf.database_alias())


def key_of(*parts: str) -> str:
    """Return a short name, safe in ids of elements and in query strings."""
    return hashlib.blake2s("\0".join(parts).encode(), digest_size=6).hexdigest()


def status_of(row: Promise, now: int) -> Status | None:
    """Return the final status of a promise; None while it is pending."""
    seen = projected(row.state, row.timeout_at, now, is_timer=tags.is_timer(row.tags))
    return settled_status(seen)


def end_of(row: Promise, now: int) -> int | None:
    """Return when a promise was settled; None while it is pending."""
    if row.settled_at is not None:
        return row.settled_at
    return row.timeout_at if row.timeout_at <= now else None


def titles_of(promise_ids: Collection[str]) -> dict[str, str]:
    """Return the titles of questions. One query: joined to many promises, all titles are read."""
    return dict(rows(HumanTask).filter(pk__in=promise_ids).values_list("pk", "title"))


def names_of_starters(starters: Iterable[str | None]) -> dict[str, str]:
    """Return names for ``user:<id>``, ``token:<name>`` and ``worker:<pid>``. One query at most."""
    known = {starter for starter in starters if starter}
    user_ids = {key for starter in known if (key := starter_id(starter)) is not None}
    users = {}
    if ids := [number for number in map(_primary_key, user_ids) if number is not None]:
        found = get_user_model()._default_manager.filter(pk__in=ids)
        users = {starter_of(user): name_of(user) for user in found}
    return {starter: users.get(starter) or starter.replace(":", " ", 1) for starter in known}


def _primary_key(text: str) -> Any:
    try:
        return get_user_model()._meta.pk.to_python(text)
    except (ValidationError, ValueError):
        return None


def find_root(promise_id: str) -> tuple[Promise, Promise] | None:
    """Return the promise with this id and the root of its call tree, which may be itself."""
    # One after the other: either condition has its index, together they have none.
    found = rows(Promise).select_related("task")
    row = found.filter(id=promise_id).first()
    if row is None:
        return None
    root = row if row.origin == row.id else found.filter(id=row.origin).first()
    return row, root or row
