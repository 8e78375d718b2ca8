"""Saved views: all that somebody sees, and the forms to save, name, share and delete them."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from django import forms
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from dashboard.answering import Actor
from dashboard.belongings import View, belongings_of, visible_views
from dashboard.models import Place, SavedView
from dashboard.saved_views import (
    MAX_NAME,
    audience_of,
    audiences_of,
    change_view,
    delete_view,
    own_views,
    places_of,
    removable_views,
    save_view,
    set_first,
    unset_first,
    url_of,
)
from dashboard.views.inbox import for_people

TEMPLATE = "dashboard/inbox/saved_views.html"
UNPROCESSABLE = 422


class ViewForm(forms.Form):
    """The name of a view, and with whom it is shared."""

    name = forms.CharField(label=_("Name"), max_length=MAX_NAME)
    audience = forms.ChoiceField(label=_("Who else sees it"), required=False)

    def __init__(self, user: Any, view: SavedView | None, *args: Any, **kwargs: Any) -> None:
        """``view`` is what is changed; None for a new one."""
        super().__init__(*args, **kwargs)
        self.fields["audience"].choices = audiences_of(user, view)  # type: ignore[attr-defined]


class NewViewForm(ViewForm):
    """A view that is about to be saved."""

    is_first = forms.BooleanField(label=_("Open the list with it"), required=False)


class Line(NamedTuple):
    """A view on the page of all."""

    view: View
    url: str
    may_delete: bool


@for_people
@require_safe
def index(request: HttpRequest) -> HttpResponse:
    """Show the views that somebody sees, list by list."""
    removable = set(removable_views(request.user).values_list("pk", flat=True))
    views = belongings_of(request.user).views
    lists = [
        (place.label, [Line(one, url_of(one), one.id in removable) for one in _at(place, views)])
        for place in places_of(request.user)
    ]
    return render(request, TEMPLATE, {"section": "inbox", "lists": lists})


@for_people
@require_http_methods(["GET", "HEAD", "POST"])
def save(request: HttpRequest) -> HttpResponse:
    """Ask for a name for the filters in the address; with POST, save them."""
    place = next((one for one in places_of(request.user) if one == request.GET.get("place")), None)
    if place is None:
        raise Http404
    form = NewViewForm(request.user, None, _sent(request))
    status = 200
    if request.method == "POST":
        given = QueryDict(request.GET.get("query", ""))
        if form.is_valid() and (view := _saved(form, Actor.of(request), place, given)) is not None:
            return HttpResponseRedirect(url_of(view), status=303)
        status = UNPROCESSABLE
    return render(request, TEMPLATE, {"section": _section(place), "form": form}, status=status)


@for_people
@require_http_methods(["GET", "HEAD", "POST"])
def change(request: HttpRequest, view_id: int) -> HttpResponse:
    """Show the form to name and share one of one's views; with POST, do so."""
    view = get_object_or_404(own_views(request.user).select_related("group"), pk=view_id)
    now = {"name": view.name, "audience": audience_of(view)}
    form = ViewForm(request.user, view, _sent(request), initial=now)
    status = 200
    if request.method == "POST":
        if form.is_valid() and _changed(form, view, Actor.of(request)):
            return HttpResponseRedirect(reverse("signoff:views"), status=303)
        status = UNPROCESSABLE
    context = {"section": _section(view.place), "form": form, "view_id": view.pk}
    return render(request, TEMPLATE, context, status=status)


@for_people
@require_POST
def first(request: HttpRequest, view_id: int) -> HttpResponse:
    """Let the list begin with a view, or with ``off`` no longer."""
    view = get_object_or_404(visible_views(request.user.pk), pk=view_id)
    if request.POST.get("first") == "off":
        unset_first(request.user, view)
    else:
        set_first(request.user, view)
    return HttpResponseRedirect(reverse("signoff:views"), status=303)


@for_people
@require_POST
def delete(request: HttpRequest, view_id: int) -> HttpResponse:
    """Delete a view."""
    view = get_object_or_404(removable_views(request.user), pk=view_id)
    delete_view(view, Actor.of(request))
    return HttpResponseRedirect(reverse("signoff:views"), status=303)


def _sent(request: HttpRequest) -> QueryDict | None:
    return request.POST if request.method == "POST" else None


def _saved(form: NewViewForm, actor: Actor, place: Place, given: QueryDict) -> SavedView | None:
    wanted = form.cleaned_data
    try:
        view = save_view(actor, place, given, name=wanted["name"], audience=wanted["audience"])
    except ValidationError as error:
        form.add_error("name", error)
        return None
    if wanted["is_first"]:
        set_first(actor.user, view)
    return view


def _changed(form: ViewForm, view: SavedView, actor: Actor) -> bool:
    try:
        change_view(view, actor, **form.cleaned_data)
    except ValidationError as error:
        form.add_error("name", error)
        return False
    return True


def _at(place: Place, views: Iterable[View]) -> list[View]:
    return [one for one in views if one.place == place]


def _section(place: str) -> str:
    return "executions" if place == Place.EXECUTIONS else "inbox"
