"""What a channel is, and which ones the setting ``SIGNOFF_CHANNELS`` opens."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Container, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser
from django.utils.module_loading import import_string

from dashboard.channels.contents import Outcome
from dashboard.channels.digest_contents import Digest
from dashboard.models import HumanTask, Message
from dashboard.policies import groups_in_turn, groups_of
from durable.clock import now_ms

logger = logging.getLogger(__name__)

BUILT_IN = {
    "mail": "dashboard.channels.mail.MailChannel",
    "slack": "dashboard.channels.slack.SlackChannel",
    "teams": "dashboard.channels.teams.TeamsChannel",
    "webhook": "dashboard.channels.webhook.WebhookChannel",
}


_USER = "user:"


class ChannelError(Exception):
    """A message could not be sent; it is tried again unless that ``is_final``."""

    def __init__(self, channel: str, problem: str, *, is_final: bool = False) -> None:
        """``problem`` is for operators."""
        super().__init__(f"{channel}: {problem}")
        self.is_final = is_final


class ChannelSettingError(ValueError):
    """An entry of the setting is wrong; ``hint`` says how it would be right."""

    def __init__(self, problem: str, hint: str) -> None:
        """Take the sentences of the system check."""
        super().__init__(problem)
        self.hint = hint


class Recipient(NamedTuple):
    """A user at an address, or an address that is nobody's own: a room, a URL."""

    address: str
    user: AbstractBaseUser | None = None

    @property
    def key(self) -> str:
        """What tells recipients of a channel apart."""
        return self.address if self.user is None else f"{_USER}{self.user.pk}"


def rooms_of(task: HumanTask, by_group: Container[str]) -> list[str] | None:
    """Return the groups that have a room and are asked now; None when none of a question's has."""
    if not any(one in by_group for one in groups_of(task)):
        return None
    return [one for one in groups_in_turn(task, now_ms()) if one in by_group]


def is_personal(message: Message) -> bool:
    """Whether a message is for a user, also for one who is gone by now."""
    return message.recipient.startswith(_USER)


class Sent(NamedTuple):
    """What a channel remembers of a message: its reference, and what it stood under."""

    reference: str
    subject: str = ""


class Channel(ABC):
    """One way to reach people. ``options`` are its entry in the setting.

    can_edit: whether a message that was sent can be changed to the outcome; else the outcome is a
    message of its own.
    can_digest: whether people may have one message at set hours in place of one a question.
    """

    kind: ClassVar[str] = ""
    can_edit: ClassVar[bool] = False
    can_digest: ClassVar[bool] = False
    required: ClassVar[tuple[str, ...]] = ()
    optional: ClassVar[tuple[str, ...]] = ()

    def __init__(self, options: Mapping[str, Any]) -> None:
        """Take the options, of which ``is_configured`` says whether they will do."""
        self.options = options
        self.name: str = options.get("name") or options["channel"]

    def is_configured(self) -> bool:
        """Whether all is there to send with."""
        return all(self.options.get(name) for name in self.required)

    @abstractmethod
    def recipients(self, task: HumanTask, people: Sequence[AbstractBaseUser]) -> list[Recipient]:
        """Return where a question is told; ``people`` are those whom it concerns."""

    @abstractmethod
    def send(self, message: Message) -> Sent:
        """Send a message, which is in the database already; raises ``ChannelError``."""

    def update(self, message: Message, outcome: Outcome) -> None:
        """Change a message that was sent to the outcome; raises ``ChannelError``.

        The language is that of the reader already.
        """
        raise NotImplementedError

    def send_digest(self, user: AbstractBaseUser, digest: Digest, reference: str) -> None:
        """Send a user what waits for them; raises ``ChannelError``.

        ``reference`` is the same on each attempt, and the language is that of the user already.
        """
        raise NotImplementedError


def is_any_configured() -> bool:
    """Whether there is any channel: asked in every transaction that makes or settles questions."""
    return bool(getattr(settings, "SIGNOFF_CHANNELS", ()))


def channels() -> list[Channel]:
    """Return the channels of the setting that are configured."""
    found = []
    for entry in getattr(settings, "SIGNOFF_CHANNELS", ()):
        try:
            channel = read_entry(entry)
        except ChannelSettingError as error:  # the system check says so as well
            logger.error("a channel is closed: %s", error, extra={"action": "channels"})  # noqa: TRY400
            continue
        if channel.is_configured():
            found.append(channel)
    return found


def read_entry(entry: Any) -> Channel:
    """Return the channel of one entry of the setting; raises ``ChannelSettingError``."""
    if not isinstance(entry, dict) or not isinstance(entry.get("channel"), str):
        problem = f"SIGNOFF_CHANNELS holds {_outline(entry)}, which names no channel."
        hint = 'Each entry is a dictionary like {"channel": "mail"}.'
        raise ChannelSettingError(problem, hint)
    kind: str = entry["channel"]
    path: str = BUILT_IN.get(kind, kind)
    try:
        made = import_string(path)
    except ImportError:
        problem = f"SIGNOFF_CHANNELS names the channel {kind!r}, which does not exist."
        hint = f"Use one of {', '.join(BUILT_IN)}, or the dotted path of a class of yours."
        raise ChannelSettingError(problem, hint) from None
    if not (isinstance(made, type) and issubclass(made, Channel)):
        problem = f"SIGNOFF_CHANNELS names {kind!r}, which is no channel."
        hint = "Derive the class from dashboard.channels.base.Channel."
        raise ChannelSettingError(problem, hint)
    return made(entry)


def _outline(entry: Any) -> str:
    """Name an entry without its values, which may be secrets: this is printed and logged."""
    if not isinstance(entry, dict):
        return f"an entry of the type {type(entry).__name__}"
    return f"an entry with {', '.join(map(str, entry)) or 'nothing in it'}"
