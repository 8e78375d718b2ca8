"""Slack: a question is a message with buttons, which is changed to the outcome when it is over."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, override

import msgspec
from django.contrib.auth.models import AbstractBaseUser

from dashboard.channels import slack_blocks
from dashboard.channels.base import Channel, ChannelError, Recipient, Sent, channels, rooms_of
from dashboard.channels.contents import (
    Notice,
    Outcome,
    lead_of,
    notice_for,
    outcome_for,
    page_url,
    speaking_to,
    way_for,
)
from dashboard.channels.http import HttpError, post
from dashboard.channels.muting import muted_among
from dashboard.models import ChatIdentity, HumanTask, Message
from durable.conf import database_alias

BASE_URL = "https://slack.com/api/"
_FINAL = frozenset(
    {
        "cant_update_message",
        "channel_not_found",
        "edit_window_closed",
        "invalid_blocks",
        "is_archived",
        "message_not_found",
        "msg_too_long",
        "not_in_channel",
        "user_not_found",
    }
)


class _Reply(msgspec.Struct):
    ok: bool = False
    error: str = ""
    channel: str = ""
    ts: str = ""


class SlackChannel(Channel):
    """An app in one workspace of Slack.

    room: where questions are posted; ``rooms`` has others by the name of a group.
    direct: whether those who linked their account get a message of their own as well.
    """

    kind = "slack"
    can_edit = True
    required = ("token", "signing_secret", "room")
    optional = ("rooms", "direct", "base_url")

    @override
    def recipients(self, task: HumanTask, people: Sequence[AbstractBaseUser]) -> list[Recipient]:
        """Return the rooms of the groups whose turn it is, or else the one room; and people."""
        by_group = self.options.get("rooms") or {}
        rooms = rooms_of(task, by_group)
        named = [self.options["room"]] if rooms is None else [by_group[one] for one in rooms]
        found = [Recipient(room) for room in dict.fromkeys(named)]
        return [*found, *self._people(task, people)] if self.options.get("direct") else found

    def _people(self, task: HumanTask, people: Sequence[AbstractBaseUser]) -> list[Recipient]:
        muted = muted_among([one.pk for one in people], self.name, task)
        wanted = {one.pk for one in people} - muted
        identities = ChatIdentity.objects.using(database_alias()).filter(
            channel=self.name, user__in=wanted
        )
        return [
            Recipient(one.external_id.rpartition("/")[2], one.user)
            for one in identities.select_related("user")
        ]

    @override
    def send(self, message: Message) -> Sent:
        """Post a message; what follows the first stands below it."""
        room, _separator, ts = message.thread.rpartition("/")
        with speaking_to(message.user):
            notice, way = self._notice(message), way_for(message)
            if not way.may_answer:
                notice = replace(notice, choices=())
            blocks = slack_blocks.question(notice, place_of(message), way.url, lead_of(message))
        shown: dict[str, Any] = {"text": slack_blocks.escape(notice.title), "blocks": blocks}
        below = {"channel": room, "thread_ts": ts, "reply_broadcast": True} if ts else {}
        reply = self.call(
            "chat.postMessage",
            {"channel": message.address, "unfurl_links": False, **shown, **below},
        )
        return Sent(f"{reply.channel}/{reply.ts}")

    @override
    def update(self, message: Message, outcome: Outcome) -> None:
        """Change a message to the outcome."""
        room, _separator, ts = message.reference.rpartition("/")
        notice, url = self._notice(message), page_url("task", message.task_id)
        blocks = slack_blocks.outcome(notice, outcome_for(message, outcome), url)
        text = slack_blocks.escape(f"{notice.title}: {outcome.sentence}")
        self.call("chat.update", {"channel": room, "ts": ts, "text": text, "blocks": blocks})

    def whisper(self, room: str, slack_user: str, text: str) -> None:
        """Show a line to one person in a room; marks in it are read."""
        self.call("chat.postEphemeral", {"channel": room, "user": slack_user, "text": text})

    def open_view(self, trigger_id: str, view: dict[str, Any]) -> None:
        """Show a modal to whoever just pressed a button."""
        self.call("views.open", {"trigger_id": trigger_id, "view": view})

    def call(self, method: str, arguments: dict[str, Any]) -> "_Reply":
        """Call a method of the Web API; raises ``ChannelError``."""
        url = self.options.get("base_url", BASE_URL).rstrip("/") + f"/{method}"
        headers = {
            "Authorization": f"Bearer {self.options['token']}",
            "Content-Type": "application/json; charset=utf-8",
        }
        try:
            answer = post(url, msgspec.json.encode(arguments), headers)
            reply = msgspec.json.decode(answer.body, type=_Reply)
        except HttpError as error:
            raise ChannelError(self.name, str(error)) from error
        except msgspec.DecodeError as error:
            raise ChannelError(self.name, f"{method} answered {answer.status}") from error
        if not reply.ok:
            problem = f"{method} answered {reply.error or answer.status}"
            raise ChannelError(self.name, problem, is_final=reply.error in _FINAL)
        return reply

    def _notice(self, message: Message) -> Notice:
        notice = notice_for(message)
        if notice is None:
            raise ChannelError(self.name, "nothing describes the question", is_final=True)
        return notice


def place_of(message: Message) -> str:
    """Return what a button says of the message that it is on, and of the description there."""
    seen = message.task.described_at
    return str(message.pk) if seen is None else f"{message.pk}.{seen}"


def slack_channels() -> list[SlackChannel]:
    """Return the apps that are configured."""
    return [one for one in channels() if isinstance(one, SlackChannel)]
