"""Saved views: those that one sees, one's own to keep, name, share and delete."""

from typing import NoReturn

from django.core.exceptions import ValidationError
from django.http import QueryDict
from django.utils.translation import gettext as _
from msgspec import UNSET, Struct, UnsetType

from dashboard import saved_views
from dashboard.api.filling import given_in, require_valid
from dashboard.api.lookups import row_of
from dashboard.api.operations import Call, Reply, operation
from dashboard.api.problems import ProblemError, Wrong, not_found, refuse
from dashboard.belongings import View, belongings_of, forget_belongings, visible_views
from dashboard.models import Place
from dashboard.saved_views import (
    audience_of,
    audiences_of,
    change_view,
    own_views,
    places_of,
    removable_views,
    save_view,
    set_first,
    unset_first,
)
from dashboard.views.saved_views import NewViewForm, ViewForm


class ViewLine(Struct):
    """A saved view: a list, and the query string that narrows it."""

    id: int
    place: Place
    name: str
    query: str
    group: str
    is_for_all: bool
    is_mine: bool
    is_first: bool

    @classmethod
    def of(cls, one: View) -> "ViewLine":
        """Return the line of a view."""
        return cls(
            id=one.id,
            place=Place(one.place),
            name=one.name,
            query=one.query,
            group=one.group,
            is_for_all=one.is_for_all,
            is_mine=one.is_mine,
            is_first=one.is_first,
        )


class Audience(Struct):
    """With whom one may share a view: what to send, and what it means."""

    audience: str
    label: str


class Views(Struct):
    """The views that one sees, and with whom one may share."""

    items: list[ViewLine]
    audiences: list[Audience]


class NewViewBody(Struct, forbid_unknown_fields=True):
    """What to keep: the query string of a list, as in the address of its page.

    is_first: whether the list begins with it from now on.
    """

    place: Place
    query: str
    name: str
    audience: str = ""
    is_first: bool = False


class ViewChange(Struct, forbid_unknown_fields=True):
    """Another name, others who see it; what is left out stays."""

    name: str | UnsetType = UNSET
    audience: str | UnsetType = UNSET


@operation("GET", "views", result=Views)
def list_views(call: Call) -> Views:
    """List the saved views that one sees."""
    places = places_of(call.user)
    found = [one for one in belongings_of(call.user).views if one.place in places]
    audiences = [Audience(value, str(label)) for value, label in audiences_of(call.user)]
    return Views([ViewLine.of(one) for one in found], audiences)


@operation("POST", "views", body=NewViewBody, result=ViewLine, statuses=(201,))
def keep_view(call: Call) -> ViewLine:
    """Keep what a query string asks of a list under a name."""
    body: NewViewBody = call.body
    if body.place not in places_of(call.user):
        refuse("place", _("You have no such list."))
    form = NewViewForm(call.user, None, given_in(body))
    require_valid(form)
    wanted = form.cleaned_data
    try:
        view = save_view(
            call.actor,
            body.place,
            QueryDict(body.query),
            name=wanted["name"],
            audience=wanted["audience"],
        )
    except ValidationError as error:
        _refuse(error)
    if wanted["is_first"]:
        set_first(call.user, view)
    return _line_of(call, view.pk)


@operation("PATCH", "views/{view_id}", body=ViewChange, result=ViewLine)
def name_view(call: Call, view_id: int) -> ViewLine:
    """Name and share one of one's own views."""
    view = row_of(own_views(call.user).select_related("group"), view_id)
    now = {"name": view.name, "audience": audience_of(view)}
    form = ViewForm(call.user, view, now | given_in(call.body))
    require_valid(form)
    try:
        change_view(view, call.actor, **form.cleaned_data)
    except ValidationError as error:
        _refuse(error)
    return _line_of(call, view_id)


@operation("DELETE", "views/{view_id}", result=None, statuses=(204,))
def delete_view(call: Call, view_id: int) -> Reply:
    """Delete a view: one's own, or with the right one that is shared with everybody."""
    saved_views.delete_view(row_of(removable_views(call.user), view_id), call.actor)
    return Reply(None, 204)


@operation("POST", "views/{view_id}/first", result=ViewLine)
def begin_with_view(call: Call, view_id: int) -> ViewLine:
    """Let one's list begin with a view."""
    set_first(call.user, row_of(visible_views(call.user.pk), view_id))
    return _line_of(call, view_id)


@operation("DELETE", "views/{view_id}/first", result=ViewLine)
def begin_without_view(call: Call, view_id: int) -> ViewLine:
    """Let one's list begin without a view again."""
    if not unset_first(call.user, row_of(visible_views(call.user.pk), view_id)):
        raise not_found()
    return _line_of(call, view_id)


def _line_of(call: Call, view_id: int) -> ViewLine:
    forget_belongings(call.user)
    views = belongings_of(call.user).views
    found = next((one for one in views if one.id == view_id), None)
    if found is None:
        raise not_found()
    return ViewLine.of(found)


def _refuse(error: ValidationError) -> NoReturn:
    raise ProblemError(422, errors=[Wrong("name", one) for one in error.messages]) from None
