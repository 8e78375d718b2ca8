"""Filters kept under a name: what they ask for, who else sees them, which of them comes first.

A view is a query string. Whoever opens it sees what they would see anyway, narrowed by it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlencode

from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet
from django.http import QueryDict
from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from dashboard import auditing, execution_list, inbox_filters
from dashboard.answering import Actor
from dashboard.belongings import View, belongings_of
from dashboard.inbox_queries import tab_named, tabs_of
from dashboard.models import Action, DefaultView, Place, SavedView, TargetKind
from dashboard.permissions import VIEW_EXECUTIONS, AnyUser, has
from durable.clock import now_ms
from durable.conf import database_alias

MAX_NAME = 60
MAX_VIEWS = 50
MAX_QUERY = 2000
SHOWN = 8
"""More than these stand on a page of their own."""
SHARE_VIEWS = "signoff.share_views"
UNFILTERED = "view=all"
"""An address with a query asks for what it says, one without for somebody's first view."""
ALL = "all"
_GROUP = "group-"


@dataclass(frozen=True, slots=True)
class Tag:
    """A saved view with its address, which is what it asks for and so the same for everybody."""

    view: View
    url: str
    is_current: bool


@dataclass(frozen=True, slots=True)
class Strip:
    """What stands above a list.

    address: of the list as it was asked for. all_url: of the list without a view.
    save_url: empty when there is nothing to save. more: how many views are left out.
    """

    tags: Sequence[Tag]
    address: str
    all_url: str
    is_unfiltered: bool
    save_url: str
    more: int

    @classmethod
    def of(cls, user: AnyUser, place: Place, given: QueryDict) -> Self:
        """Return the strip for a list that was asked for with a query string."""
        query = normalised(user, place, given)
        usual = unfiltered(user, place)
        all_url = address_of(place)
        if usual or first_url(user, place):
            all_url += f"?{usual or UNFILTERED}"
        # What a view asks for depends on its reader, who may have other lists than its owner.
        tags = [
            Tag(one, url_of(one), normalised(user, place, QueryDict(one.query)) == query)
            for one in belongings_of(user).views
            if one.place == place
        ]
        is_saved = any(one.is_current for one in tags)
        shown = sorted(tags, key=lambda one: not one.is_current)[:SHOWN]
        save = urlencode({"place": place.value, "query": query})
        return cls(
            tags=[one for one in tags if one in shown],
            address=f"{address_of(place)}?{query}" if query else all_url,
            all_url=all_url,
            is_unfiltered=query == usual,
            save_url="" if query == usual or is_saved else f"{reverse('signoff:save_view')}?{save}",
            more=len(tags) - len(shown),
        )


def address_of(place: str) -> str:
    """Return the address of a list."""
    return reverse("signoff:executions" if place == Place.EXECUTIONS else "signoff:inbox")


def url_of(view: View | SavedView) -> str:
    """Return the address of a view."""
    return f"{address_of(view.place)}?{view.query}"


def places_of(user: AnyUser) -> list[Place]:
    """Return the lists that somebody has."""
    return [one for one in Place if one is Place.INBOX or has(user, VIEW_EXECUTIONS)]


def normalised(user: AnyUser, place: Place, given: QueryDict) -> str:
    """Return what a query string asks of a list, in one way of saying it; the rest is dropped."""
    if any("\0" in str(value) for _name, values in given.lists() for value in values):
        return unfiltered(user, place)
    if place is Place.EXECUTIONS:
        return execution_list.Filters.parse(given).query().urlencode()
    tab = tab_named(given.get("tab", ""), tabs_of(user))
    return urlencode({"tab": tab.value} | inbox_filters.Filters.read(given).words)


def unfiltered(user: AnyUser, place: Place) -> str:
    """Return what the list asks for by itself."""
    return normalised(user, place, QueryDict())


def first_url(user: AnyUser, place: Place) -> str:
    """Return the address of the view that somebody sees first; empty without one."""
    views = belongings_of(user).views
    return next((url_of(one) for one in views if one.place == place and one.is_first), "")


# --- Writing ---


def audiences_of(user: AnyUser, view: SavedView | None = None) -> list[tuple[str, Any]]:
    """Return with whom a user may share a view, as choices; those of the view are among them."""
    groups = Group.objects.filter(user=user.pk)
    if view is not None and view.group_id is not None:
        groups |= Group.objects.filter(pk=view.group_id)
    found: list[tuple[str, Any]] = [("", _("Nobody: it is for me"))]
    found += [
        (f"{_GROUP}{one.pk}", _("Group %(name)s") % {"name": one.name})
        for one in groups.distinct().order_by("name")
    ]
    if has(user, SHARE_VIEWS) or (view is not None and view.is_for_all):
        found.append((ALL, _("Everybody")))
    return found


def audience_of(view: SavedView) -> str:
    """Return with whom a view is shared, as one of the choices."""
    if view.is_for_all:
        return ALL
    return "" if view.group_id is None else f"{_GROUP}{view.group_id}"


def save_view(
    actor: Actor, place: Place, given: QueryDict, *, name: str, audience: str = ""
) -> SavedView:
    """Keep what a query string asks for under a name.

    ``audience`` is one of ``audiences_of``. What is shared leaves an audit row. Raises
    ``ValidationError`` when there is nothing to keep or too much of it, when the name is taken, and
    when somebody has too many.
    """
    user = actor.user
    query = normalised(user, place, given)
    if query == unfiltered(user, place):
        raise ValidationError(_("There is no filter to save."))
    if len(query) > MAX_QUERY:
        raise ValidationError(_("These filters are too long to be saved."))
    if own_views(user).count() >= MAX_VIEWS:
        message = _("You have %(count)d views and cannot have more. Delete one first.")
        raise ValidationError(message, params={"count": MAX_VIEWS})
    view = SavedView(place=place, owner_id=user.pk, query=query, made_at=now_ms())
    _write(view, actor, Action.ADD, name=name, audience=audience)
    return view


def change_view(view: SavedView, actor: Actor, *, name: str, audience: str) -> None:
    """Name and share a view; raises ``ValidationError`` when its owner has another so named.

    There is an audit row if others see the view, or saw it before.
    """
    _write(view, actor, Action.CHANGE, name=name, audience=audience)


def delete_view(view: SavedView, actor: Actor) -> None:
    """Delete a view, with an audit row if others see it."""
    with transaction.atomic(using=database_alias()):
        if shown := _shown(view):
            _record(Action.REMOVE, view, actor, shown, {})
        view.delete(using=database_alias())


def _write(view: SavedView, actor: Actor, action: Action, *, name: str, audience: str) -> None:
    before = _shown(view)
    view.name, view.is_for_all = name, audience == ALL
    is_group = audience.startswith(_GROUP)
    view.group_id = int(audience.removeprefix(_GROUP)) if is_group else None
    try:
        with transaction.atomic(using=database_alias()):
            view.save(using=database_alias())
            after = _shown(view)
            if after != before:
                _record(action, view, actor, before, after)
    except IntegrityError as error:
        raise ValidationError(_("You have a view of this name already.")) from error


def _shown(view: SavedView) -> dict[str, str]:
    """Return what others see of a view, and who; nothing of one that is its owner's alone."""
    if view.is_for_all:
        audience = "everybody"
    elif view.group_id is None:
        return {}
    else:
        group = Group.objects.filter(pk=view.group_id)
        audience = group.values_list("name", flat=True).first() or ""
    return {"name": view.name, "query": view.query, "for": audience}


def _record(
    action: Action,
    view: SavedView,
    actor: Actor,
    before: Mapping[str, str],
    after: Mapping[str, str],
) -> None:
    """Add the audit row: what the view was called, asked for and was shared with, and is."""
    auditing.record(
        action,
        str(view.pk),
        actor,
        kind=TargetKind.VIEW,
        details={"list": str(view.place), "before": dict(before), "after": dict(after)},
    )


def set_first(user: Any, view: SavedView) -> None:
    """Let a list begin with a view that its reader sees."""
    DefaultView.objects.using(database_alias()).update_or_create(
        user_id=user.pk, place=view.place, defaults={"view": view}
    )


def unset_first(user: Any, view: SavedView) -> bool:
    """Let the list begin without a view again; return whether it began with that."""
    found = DefaultView.objects.using(database_alias()).filter(user=user.pk, view=view)
    return found.delete()[0] > 0


def own_views(user: AnyUser) -> QuerySet[SavedView]:
    """Return the views that somebody may name and share."""
    return SavedView.objects.using(database_alias()).filter(owner=user.pk)


def removable_views(user: AnyUser) -> QuerySet[SavedView]:
    """Return the views that somebody may delete: their own, and with the right those for all."""
    wanted = Q(owner=user.pk)
    if has(user, SHARE_VIEWS):
        wanted |= Q(is_for_all=True)
    return SavedView.objects.using(database_alias()).filter(wanted)
