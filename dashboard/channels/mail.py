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
    notice_for,
    outcome_for,
    page_url,
    read_outcome,
    speaking_to,
    way_for,
    with_answer,
)
from dashboard.channels.digest_contents import Digest
from dashboard.channels.muting import EVERY_KIND, Muting, kind_of, muted_among
from dashboard.models import HumanTask, Message
from dashboard.people import name_of
from dashboard.rights import stands_in_for

MAX_SUBJECT = 200
_PERMANENT = 500
_REFERENCE_LENGTH = 32
_BLANK_LINES = re.compile(r"\n{3,}")


class MailChannel(Channel):
    """Mails to everybody who may answer and has an address, through Django's mail."""

    kind = "mail"
    can_digest = True
    optional = ("from",)

    @override
    def recipients(self, task: HumanTask, people: Sequence[AbstractBaseUser]) -> list[Recipient]:
        """Return those who have an address and did not mute this."""
        muted = muted_among([one.pk for one in people], self.name, task)
        addresses = ((address_of(one), one) for one in people if one.pk not in muted)
        return [Recipient(address, one) for address, one in addresses if address]

    @override
    def send(self, message: Message) -> Sent:
        """Send one mail."""
        with speaking_to(message.user):
            mail = self._compose(message)
        self._hand_in(mail)
        return Sent(_reference_of(message), message.subject or str(mail.subject))

    @override
    def send_digest(self, user: AbstractBaseUser, digest: Digest, reference: str) -> None:
        """Send one mail about all that waits; none to those without an address."""
        if not (address := address_of(user)):
            return
        mute_url = page_url("mute", Muting(str(user.pk), self.name, EVERY_KIND).encode())
        context = {
            "digest": digest,
            "mute_url": mute_url,
            "preferences_url": page_url("notifications"),
            "language": get_language(),
            "is_rtl": get_language_bidi(),
        }
        headers = _headers(_message_id(reference), mute_url)
        self._hand_in(self._mail("digest", context, digest.subject, address, headers))

    def _hand_in(self, mail: EmailMultiAlternatives) -> None:
        try:
            taken = mail.send()
        except (SMTPException, OSError) as error:
            problem = f"{type(error).__name__}: {error}"
            raise ChannelError(self.name, problem, is_final=_is_final(error)) from error
        except ValueError as error:  # it names the address; that of the sender may be mended yet
            is_final = any(repr(one) in str(error) for one in mail.to)
            raise ChannelError(self.name, str(error), is_final=is_final) from error
        if not taken:
            raise ChannelError(self.name, "the mail server did not take it")

    def _mail(
        self,
        template: str,
        context: dict[str, Any],
        subject: str,
        address: str,
        headers: dict[str, str],
    ) -> EmailMultiAlternatives:
        text = render_to_string(f"dashboard/mail/{template}.txt", context)
        mail = EmailMultiAlternatives(
            subject=subject,
            body=_BLANK_LINES.sub("\n\n", text).strip() + "\n",
            from_email=self.options.get("from") or settings.DEFAULT_FROM_EMAIL,
            to=[address],
            headers=headers,
        )
        html = render_to_string(f"dashboard/mail/{template}.html", context)
        mail.attach_alternative(html, "text/html")
        return mail

    def _compose(self, message: Message) -> EmailMultiAlternatives:
        task = message.task
        notice, description = notice_for(message), task.described
        if notice is None or description is None:
            raise ChannelError(self.name, "nothing describes the question", is_final=True)
        outcome = read_outcome(task.pk) if message.ends else None
        principal = stands_in_for(task, message.user) if message.user else None
        groups = _groups_of(principal or message.user, description.groups)
        for_whom = "" if principal is None else name_of(principal)
        mute_url = _mute_url(message, self.name)
        context = {
            "notice": notice,
            "lead": lead_of(message),
            "outcome": outcome_for(message, outcome) if outcome is not None else None,
            **_links(message, notice),
            "groups": ", ".join(groups),
            "principal": for_whom,
            "mute_url": mute_url,
            "language": get_language(),
            "is_rtl": get_language_bidi(),
        }
        subject = _subject(notice, groups, for_whom)
        if message.thread:
            subject = f"Re: {message.subject}"
        headers = _headers(_reference_of(message), mute_url, message.thread)
        return self._mail("message", context, subject, message.address, headers)


def _is_final(error: Exception) -> bool:
    """Whether the server will never take it: it speaks of the address or the message."""
    if isinstance(error, SMTPRecipientsRefused):
        return all(code >= _PERMANENT for code, _reason in error.recipients.values())
    return isinstance(error, SMTPDataError) and error.smtp_code >= _PERMANENT


def _links(message: Message, notice: Notice) -> dict[str, Any]:
    """Return the pages that the mail leads to: to answers only for those who may give them."""
    way = way_for(message)
    choices = notice.choices if way.may_answer and not message.ends else ()
    buttons = [(choice, with_answer(way.url, choice.name)) for choice in choices]
    return {**way._asdict(), "buttons": buttons}


def address_of(user: Any) -> str:
    """Return where mails to a user go; empty when there is no address."""
    return str(getattr(user, user.get_email_field_name(), "") or "")


def _subject(notice: Notice, groups: Sequence[str], principal: str) -> str:
    """Return ``[Finance] Approve: Pay invoice 4711, due today 16:00``."""
    subject = _("%(answer)s: %(title)s")
    if principal:
        subject = _("%(answer)s for %(principal)s: %(title)s")
    subject %= {
        "answer": notice.main_choice.label,
        "principal": principal,
        "title": notice.title,
    }
    if len(subject) > MAX_SUBJECT:
        subject = f"{subject[: MAX_SUBJECT - 1]}…"
    if groups:
        subject = f"[{groups[0]}] {subject}"
    if notice.due:
        subject = f"{subject}, {notice.due}"
    return " ".join(subject.split())


def _groups_of(user: AbstractBaseUser | None, names: Sequence[str]) -> list[str]:
    """Return the groups through which somebody is asked, in the order of the description."""
    groups = getattr(user, "groups", None)
    if groups is None or not names:
        return []
    own = set(groups.filter(name__in=names).values_list("name", flat=True))
    return [name for name in names if name in own]


def _mute_url(message: Message, channel: str) -> str:
    if message.user_id is None:
        return ""
    muting = Muting(str(message.user_id), channel, kind_of(message.task))
    return page_url("mute", muting.encode())


def _headers(message_id: str, mute_url: str, thread: str = "") -> dict[str, str]:
    headers = {
        "Message-ID": message_id,
        "Auto-Submitted": "auto-generated",
        "Content-Language": get_language() or settings.LANGUAGE_CODE,
    }
    if thread:
        headers |= {"In-Reply-To": thread, "References": thread}
    if mute_url.startswith("https://"):  # nothing less may be pressed for people (RFC 8058)
        headers |= {
            "List-Unsubscribe": f"<{mute_url}>",
            "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
        }
    return headers


def _reference_of(message: Message) -> str:
    """Return the Message-ID: the same on each attempt, so that readers drop a second copy."""
    return _message_id(f"{message.pk} {message.asked_at}")


def _message_id(value: str) -> str:
    digest = salted_hmac("signoff.message", value, algorithm="sha256").hexdigest()
    host = urlsplit(getattr(settings, "SIGNOFF_BASE_URL", "")).hostname or "signoff.invalid"
    return f"<{digest[:_REFERENCE_LENGTH]}@{host}>"
