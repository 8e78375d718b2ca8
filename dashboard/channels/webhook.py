"""Events posted to a URL as JSON, signed as the Standard Webhooks specification says."""

import base64
import binascii
import hashlib
import hmac
import time
from collections.abc import Sequence
from typing import Any, override

import msgspec
from django.contrib.auth.models import AbstractBaseUser
from django.utils import translation

from dashboard.channels.base import Channel, ChannelError, Recipient, Sent
from dashboard.channels.contents import Outcome, read_notice, read_outcome, task_url
from dashboard.channels.http import deliver
from dashboard.clocks import utc
from dashboard.models import HumanTask, Message
from durable import conf
from durable.delivery.hosts import AllowedHosts

SECRET_PREFIX = "whsec_"  # noqa: S105 - what all such secrets begin with


class WebhookChannel(Channel):
    """One URL that hears of every event of every question, and of its end."""

    kind = "webhook"
    required = ("url", "secret")

    @override
    def recipients(self, task: HumanTask, people: Sequence[AbstractBaseUser]) -> list[Recipient]:
        """Return the URL."""
        return [Recipient(self.options["url"])]

    @override
    def send(self, message: Message) -> Sent:
        """Post an event; a 2xx has taken it."""
        message_id = f"msg_{message.pk}_{message.asked_at}"
        body = msgspec.json.encode(self._event(message))
        headers = sign(self.options["secret"], message_id, int(time.time()), body)
        allowed = AllowedHosts(conf.push_allowed_hosts())
        deliver(self.name, message.address, body, headers, allowed=allowed)
        return Sent(message_id)

    def _event(self, message: Message) -> dict[str, Any]:
        task, description = message.task, message.task.described
        if description is None:
            raise ChannelError(self.name, "nothing describes the question", is_final=True)
        # Programs read it: what is said in words here is in the site's own language.
        with translation.override(None):
            notice = read_notice(task, description)
        outcome = read_outcome(task.pk) if message.ends else None
        return {
            "type": f"task.{message.event}",
            "timestamp": _iso(message.created_at),
            "data": {
                "occasion": message.occasion,
                "task": {
                    "id": task.pk,
                    "type": task.type,
                    "title": notice.title,
                    "question": notice.question,
                    "consequence": notice.consequence,
                    "facts": [list(line) for line in notice.facts],
                    "answers": [choice.name for choice in notice.choices],
                    "priority": task.priority,
                    "workflow": task.function,
                    "asked_at": _iso(task.created_at),
                    "due": None if task.due is None else _iso(task.due),
                    "url": task_url(task, None),
                },
                "outcome": None if outcome is None else _outcome(outcome),
            },
        }


def sign(secret: str, message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """Return the headers that prove where a body comes from, and when it was sent."""
    signed = b".".join((message_id.encode(), str(timestamp).encode(), body))
    digest = hmac.new(_key(secret), signed, hashlib.sha256).digest()
    return {
        "Content-Type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }


def _key(secret: str) -> bytes:
    """Return the key: base64 behind the usual prefix, else the text itself."""
    if not secret.startswith(SECRET_PREFIX):
        return secret.encode()
    try:
        return base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except binascii.Error:
        return secret.encode()


def _outcome(outcome: Outcome) -> dict[str, Any]:
    return {
        "kind": outcome.kind,
        "by": outcome.by,
        "comment": outcome.comment,
        "at": _iso(outcome.at),
    }


def _iso(instant: int) -> str:
    return utc(instant).isoformat()
