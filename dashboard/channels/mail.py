"""Mails: text and HTML, one conversation a question, each link a page that only shows."""

import re
from collections.abc import Sequence
from smtplib import SMTPDataError, SMTPException, SMTPRecipientsRefused
from typing import Any, override
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser
from django.core.mail import EmailMultiAlternatives
from django.template.loader import render_to_string
from django.utils.crypto import salted_hmac
from django.utils.translation import get_language, get_language_bidi
from django.utils.translation import gettext as _

from dashboard.channels.base import Channel, ChannelError, Recipient, Sent
from dashboard.channels.contents import (
    Notice,
    lead_of,
    page_url,
    read_notice,
    read_outcome,
    speaking_to,
    task_url,
    with_answer,
)
from dashboard.channels.muting import Muting, kind_of, muted_among
from dashboard.models import HumanTask, Message
from dashboard.permissions import visible_to

MAX_SUBJECT = 200
_PERMANENT = 500
_REFERENCE_LENGTH = 32
_BLANK_LINES = re.compile(r"\n{3,}")


class MailChannel(Channel):
    """Mails to everybody who may answer and has an address, through Django's mail."""

    kind = "mail"
    optional = ("from",)

    @override
    def recipients(self, task: HumanTask, people: Sequence[AbstractBaseUser]) -> list[Recipient]:
        """Return those who have an address and did not mute this."""
        muted = muted_among([one.pk for one in people], self.name, task)
        addresses = ((_address_of(one), one) for one in people if one.pk not in muted)
        return [Recipient(address, one) for address, one in addresses if address]

    @override
    def send(self, message: Message) -> Sent:
        """Send one mail."""
        with speaking_to(message.user):
            mail = self._compose(message)
        try:
            taken = mail.send()
        except (SMTPException, OSError) as error:
            problem = f"{type(error).__name__}: {error}"
            raise ChannelError(self.name, problem, is_final=_is_final(error)) from error
        if not taken:
            raise ChannelError(self.name, "the mail server did not take it")
        return Sent(_reference_of(message), message.subject or str(mail.subject))

    def _compose(self, message: Message) -> EmailMultiAlternatives:
        task = message.task
        description = task.described
        if description is None:
            raise ChannelError(self.name, "nothing describes the question", is_final=True)
        notice = read_notice(task, description)
        groups = _groups_of(message, description.groups)
        mute_url = _mute_url(message, self.name)
        context = {
            "notice": notice,
            "lead": lead_of(message),
            "outcome": read_outcome(task.pk) if message.ends else None,
            **_links(message, notice),
            "groups": ", ".join(groups),
            "mute_url": mute_url,
            "language": get_language(),
            "is_rtl": get_language_bidi(),
        }
        text = render_to_string("dashboard/mail/message.txt", context)
        mail = EmailMultiAlternatives(
            subject=f"Re: {message.subject}" if message.thread else _subject(notice, groups),
            body=_BLANK_LINES.sub("\n\n", text).strip() + "\n",
            from_email=self.options.get("from") or settings.DEFAULT_FROM_EMAIL,
            to=[message.address],
            headers=_headers(message, mute_url),
        )
        html = render_to_string("dashboard/mail/message.html", context)
        mail.attach_alternative(html, "text/html")
        return mail


def _is_final(error: Exception) -> bool:
    """Whether the server will never take it: it speaks of the address or the message."""
    if isinstance(error, SMTPRecipientsRefused):
        return all(code >= _PERMANENT for code, _reason in error.recipients.values())
    return isinstance(error, SMTPDataError) and error.smtp_code >= _PERMANENT


def _links(message: Message, notice: Notice) -> dict[str, Any]:
    """Return the pages that the mail leads to: none for those who are told and may not look."""
    task, user = message.task, message.user
    if user is None or not visible_to(user).filter(pk=task.pk).exists():
        return {"url": "", "buttons": []}
    if message.ends:  # what belongs to one person is revoked by then
        return {"url": page_url("task", task.pk), "buttons": []}
    url = task_url(task, user)
    buttons = [(choice, with_answer(url, choice.name)) for choice in notice.choices]
    return {"url": url, "buttons": buttons}


def _address_of(user: Any) -> str:
    return str(getattr(user, user.get_email_field_name(), "") or "")


def _subject(notice: Notice, groups: Sequence[str]) -> str:
    """Return ``[Finance] Approve: Pay invoice 4711, due today 16:00``."""
    subject = _("%(answer)s: %(title)s") % {
        "answer": notice.main_choice.label,
        "title": notice.title,
    }
    if len(subject) > MAX_SUBJECT:
        subject = f"{subject[: MAX_SUBJECT - 1]}…"
    if groups:
        subject = f"[{groups[0]}] {subject}"
    if notice.due:
        subject = f"{subject}, {notice.due}"
    return " ".join(subject.split())


def _groups_of(message: Message, names: Sequence[str]) -> list[str]:
    """Return the groups through which the reader is asked, in the order of the description."""
    groups = getattr(message.user, "groups", None)
    if groups is None or not names:
        return []
    own = set(groups.filter(name__in=names).values_list("name", flat=True))
    return [name for name in names if name in own]


def _mute_url(message: Message, channel: str) -> str:
    if message.user_id is None:
        return ""
    muting = Muting(str(message.user_id), channel, kind_of(message.task))
    return page_url("mute", muting.encode())


def _headers(message: Message, mute_url: str) -> dict[str, str]:
    headers = {
        "Message-ID": _reference_of(message),
        "Auto-Submitted": "auto-generated",
        "Content-Language": get_language() or settings.LANGUAGE_CODE,
    }
    if message.thread:
        headers |= {"In-Reply-To": message.thread, "References": message.thread}
    if mute_url.startswith("https://"):  # nothing less may be pressed for people (RFC 8058)
        headers |= {
            "List-Unsubscribe": f"<{mute_url}>",
            "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
        }
    return headers


def _reference_of(message: Message) -> str:
    """Return the Message-ID: the same on each attempt, so that readers drop a second copy."""
    value = f"{message.pk} {message.asked_at}"
    digest = salted_hmac("signoff.message", value, algorithm="sha256").hexdigest()
    host = urlsplit(getattr(settings, "SIGNOFF_BASE_URL", "")).hostname or "signoff.invalid"
    return f"<{digest[:_REFERENCE_LENGTH]}@{host}>"
