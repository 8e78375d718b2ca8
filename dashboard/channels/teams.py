"""Microsoft Teams: cards in a room, through the address that a workflow there gives.

Such an address takes cards and tells nothing of them, so none can be changed later: the outcome is
a card of its own. Buttons open the question's page; nothing is decided in Teams.
"""

from collections.abc import Iterable, Sequence
from typing import Any, override

import msgspec
from django.contrib.auth.models import AbstractBaseUser
from django.utils.translation import gettext as _

from dashboard.channels.base import Channel, ChannelError, Recipient, Sent, rooms_of
from dashboard.channels.contents import (
    Notice,
    Outcome,
    lead_of,
    read_notice,
    read_outcome,
    speaking_to,
    task_url,
    with_answer,
)
from dashboard.channels.http import deliver
from dashboard.models import HumanTask, Message

MAX_TEXT = 2000
MAX_FACTS = 20
_HEADERS = {"Content-Type": "application/json; charset=utf-8"}
_CARD = "application/vnd.microsoft.card.adaptive"


class TeamsChannel(Channel):
    """A room in Teams; ``rooms`` has the addresses of others by the name of a group."""

    kind = "teams"
    required = ("url",)
    optional = ("rooms",)

    @override
    def recipients(self, task: HumanTask, people: Sequence[AbstractBaseUser]) -> list[Recipient]:
        """Return the names of the rooms: whoever knows an address can post there."""
        rooms = rooms_of(task, self._rooms)
        return [Recipient(one) for one in ([self.name] if rooms is None else rooms)]

    @override
    def send(self, message: Message) -> Sent:
        """Post a card."""
        task, described = message.task, message.task.described
        if described is None:
            raise ChannelError(self.name, "nothing describes the question", is_final=True)
        with speaking_to(None):
            notice, url = read_notice(task, described), task_url(task, None)
            outcome = read_outcome(task.pk) if message.ends else None
            if outcome is None:
                card = question(notice, url, lead_of(message))
            else:
                card = ended(notice, url, outcome)
        attachment = {"contentType": _CARD, "contentUrl": None, "content": card}
        body = msgspec.json.encode({"type": "message", "attachments": [attachment]})
        address = self._rooms.get(message.address, self.options["url"])
        deliver(self.name, address, body, _HEADERS)
        return Sent(f"{message.pk}")

    @property
    def _rooms(self) -> dict[str, str]:
        return self.options.get("rooms") or {}


def question(notice: Notice, url: str, lead: str) -> dict[str, Any]:
    """Return the card of a question, with a button for each answer; all lead to its page."""
    facts = [
        _line(_run(f"{one.label}: ", weight="Bolder"), _run(one.text))
        for one in notice.facts[:MAX_FACTS]
    ]
    actions = [_open(one.label, with_answer(url, one.name)) for one in notice.choices]
    said = (lead, notice.question, notice.consequence, notice.due)
    return _card(notice, [*_lines(said), *facts], [*actions, _open(_("Open"), url)])


def ended(notice: Notice, url: str, outcome: Outcome) -> dict[str, Any]:
    """Return the card that says how a question ended."""
    said = _lines((outcome.sentence, outcome.comment))
    return _card(notice, said, [_open(_("Open"), url)])


def _card(
    notice: Notice, body: list[dict[str, Any]], actions: list[dict[str, str]]
) -> dict[str, Any]:
    title = _line(_run(notice.title, size="Large", weight="Bolder"))
    return {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": [title, *body],
        "actions": actions,
    }


def _lines(texts: Iterable[str]) -> list[dict[str, Any]]:
    return [_line(_run(one)) for one in texts if one]


def _line(*runs: dict[str, str]) -> dict[str, Any]:
    # Not a TextBlock, which would read what authors wrote as markdown: links among it.
    return {"type": "RichTextBlock", "inlines": list(runs)}


def _run(text: str, **looks: str) -> dict[str, str]:
    shown = text if len(text) <= MAX_TEXT else f"{text[: MAX_TEXT - 1]}…"
    return {"type": "TextRun", "text": shown, **looks}


def _open(label: str, url: str) -> dict[str, str]:
    return {"type": "Action.OpenUrl", "title": label, "url": url}
