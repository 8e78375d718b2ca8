"""How somebody likes pages and messages to be."""

from typing import Any, Literal

from msgspec import UNSET, Struct, UnsetType, structs

from dashboard.api.filling import given_in, require_valid
from dashboard.api.operations import Call, operation
from dashboard.api.problems import not_found
from dashboard.belongings import belongings_of, forget_belongings
from dashboard.channels.base import Channel, channels
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
    """When messages come. ``muted`` keeps some of the kinds that are muted so far."""

    way: Way
    hours: list[int] = []
    muted: list[str] = []


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
    form = NotificationForm(call.user, found, given)
    require_valid(form)
    form.save()
    return Notification.of(call.user, found)
