"""How somebody likes pages and messages to be."""

from typing import Annotated, Any, Literal

from django.http.response import HttpResponseBase
from django.utils.translation import get_language
from django.utils.translation import gettext as _
from msgspec import UNSET, Meta, Struct, UnsetType, structs

from dashboard.api.filling import given_in, require_valid
from dashboard.api.operations import Call, operation, respond
from dashboard.api.problems import not_found, refuse
from dashboard.belongings import belongings_of, forget_belongings
from dashboard.channels.base import Channel, channels
from dashboard.languages import choices
from dashboard.looks import keep_language, keep_theme, theme_of
from dashboard.views.notifications import NotificationForm
from dashboard.views.preferences import PreferenceForm


class Preferences(Struct):
    """What is switched on, of the pages."""

    has_single_keys: bool
    advances: bool
    is_compact: bool

    @classmethod
    def of(cls, user: Any) -> "Preferences":
        """Return those of a user."""
        own = belongings_of(user)
        return cls(own.has_single_keys, own.advances, own.is_compact)


class PreferenceChange(Struct, forbid_unknown_fields=True):
    """What to switch; what is left out stays."""

    has_single_keys: bool | UnsetType = UNSET
    advances: bool | UnsetType = UNSET
    is_compact: bool | UnsetType = UNSET


type Theme = Literal["system", "light", "dark"]


class Language(Struct):
    """A language in which the pages can be read, with its own name."""

    code: str
    name: str


class Looks(Struct):
    """How the pages look in the browser that asks, and the languages to choose from."""

    theme: Theme
    language: str
    languages: list[Language]


class LooksChange(Struct, forbid_unknown_fields=True):
    """What to change; what is left out stays."""

    theme: Theme | UnsetType = UNSET
    language: str | UnsetType = UNSET


MAX_KIND = 1024
MAX_KINDS = 200

type Kind = Annotated[str, Meta(max_length=MAX_KIND)]
type Way = Literal["each", "digest", "none"]


class Notification(Struct):
    """When messages come on one channel.

    way: ``each`` at once, ``digest`` at set hours, ``none``.
    hours: of the day, for digests. muted: kinds of questions that no message is about.
    """

    channel: str
    way: Way
    hours: list[int]
    muted: list[str]

    @classmethod
    def of(cls, user: Any, channel: Channel) -> "Notification":
        """Return what somebody wants on a channel."""
        now: Any = NotificationForm(user, channel).initial
        return cls(channel.name, now["way"], now["hours"], now["muted"])


class Notifications(Struct):
    """What one is told, by channel."""

    items: list[Notification]


class NotificationBody(Struct, forbid_unknown_fields=True):
    """When messages come. ``muted`` are all kinds of questions that no message is to be about."""

    way: Way
    hours: list[int] = []
    muted: Annotated[list[Kind], Meta(max_length=MAX_KINDS)] = []


@operation("GET", "preferences", result=Preferences)
def read_preferences(call: Call) -> Preferences:
    """Show how one likes the pages to behave."""
    return Preferences.of(call.user)


@operation("PATCH", "preferences", body=PreferenceChange, result=Preferences)
def change_preferences(call: Call) -> Preferences:
    """Change how one likes the pages to behave."""
    form = PreferenceForm(structs.asdict(Preferences.of(call.user)) | given_in(call.body))
    require_valid(form)
    form.save(call.user)
    forget_belongings(call.user)
    return Preferences.of(call.user)


@operation("GET", "looks", result=Looks)
def read_looks(call: Call) -> Looks:
    """Show theme and language of the pages, as the cookies of the request say."""
    theme: Any = theme_of(call.request) or "system"
    languages = [Language(code, name) for code, name in choices()]
    return Looks(theme, get_language() or "", languages)


@operation("PATCH", "looks", body=LooksChange, result=Looks)
def change_looks(call: Call) -> HttpResponseBase:
    """Change theme and language of the pages; the answer has the cookies that keep them."""
    given = given_in(call.body)
    if "language" in given and given["language"] not in dict(choices()):
        refuse("language", _("The pages are not to be had in this language."))
    response = respond(structs.replace(read_looks.perform(call), **given), 200)
    if "theme" in given:
        keep_theme(call.request, response, given["theme"])
    if "language" in given:
        keep_language(response, given["language"])
    return response


@operation("GET", "notifications", result=Notifications)
def list_notifications(call: Call) -> Notifications:
    """Show when one is told of questions, channel by channel."""
    return Notifications([Notification.of(call.user, one) for one in channels() if one.can_digest])


@operation("PUT", "notifications/{channel}", body=NotificationBody, result=Notification)
def change_notifications(call: Call, channel: str) -> Notification:
    """Say when one wants to be told of questions on a channel."""
    found = next((one for one in channels() if one.can_digest and one.name == channel), None)
    if found is None:
        raise not_found()
    given = {f"{channel}-{name}": value for name, value in given_in(call.body).items()}
    form = NotificationForm(call.user, found, given, more_kinds=call.body.muted)
    require_valid(form)
    form.save()
    return Notification.of(call.user, found)
