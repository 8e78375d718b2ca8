"""Links to a question that belong to one person: signed, expiring, revocable, off until configured.

``SIGNOFF_LINKS`` is ``"login"``, where whoever follows a link signs in, or ``"bound"``, where the
link itself says who answers. Without it there are no links, and mails point to the question's page.
Following a link changes nothing, however often; answering is a form that is sent.
"""

from collections.abc import Collection
from typing import Any, NamedTuple

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser
from django.core import signing
from django.db.models import QuerySet
from django.urls import reverse
from django.utils.functional import Promise as LazyText
from django.utils.translation import gettext_lazy as _

from dashboard.models import DecisionLink, HumanTask
from dashboard.people import find_user
from durable.clock import now_ms
from durable.conf import database_alias

LOGIN = "login"
BOUND = "bound"
_SALT = "signoff.link"
_HOUR = 3_600_000
DEFAULT_HOURS = 72
BATCH = 500
KEPT_MS = _HOUR
"""For so long after its end the row of a link stays: an answer by it may be on its way."""


class LinkError(Exception):
    """A link that opens nothing; ``sentence`` says why, to whoever follows it."""

    def __init__(self, sentence: str | LazyText) -> None:
        """``sentence`` is shown as it is."""
        super().__init__(str(sentence))
        self.sentence = sentence


class BadLinkError(LinkError):
    """It was not made here, or something in it was altered."""


class DeadLinkError(LinkError):
    """It has run out, was revoked, or its recipient is gone."""


class OpenLink(NamedTuple):
    """What a link allows: whom, on which question, until when, and which answers."""

    token: str
    key: str
    task_id: str
    recipient: AbstractBaseUser
    expires_at: int
    answers: tuple[str, ...]
    needs_login: bool


def mode() -> str | None:
    """Return how links work here; None when there are none."""
    found: str | None = getattr(settings, "SIGNOFF_LINKS", None)
    return found or None


def url_for(task: HumanTask, recipient: AbstractBaseUser) -> str:
    """Return the absolute address that a message to somebody has: a link, or the page."""
    if mode() is None:
        return absolute(reverse("signoff:task", args=[task.pk]))
    return make_link(task, recipient)


def make_link(
    task: HumanTask,
    recipient: AbstractBaseUser,
    *,
    answers: Collection[str] = (),
    hours: float | None = None,
    needs_login: bool = False,
) -> str:
    """Make a link for a person, and return its absolute address.

    ``answers`` are the names of those that it offers; all, when none is given. It runs out after
    ``hours`` (``SIGNOFF_LINK_HOURS``, 72 by default). ``needs_login`` is for links that somebody
    else gets to see: with ``"bound"``, too, they are worth nothing to them.
    """
    now = now_ms()
    if hours is None:
        hours = getattr(settings, "SIGNOFF_LINK_HOURS", DEFAULT_HOURS)
    link = _rows().create(
        task_id=task.pk,
        recipient_id=recipient.pk,
        made_at=now,
        expires_at=now + int(hours * _HOUR),
    )
    way = LOGIN if needs_login else mode()
    signed = [link.pk.hex, task.pk, str(recipient.pk), link.expires_at, sorted(answers), way]
    token = signing.dumps(signed, salt=_SALT, compress=True)
    return absolute(reverse("signoff:link", args=[token]))


def open_link(token: str) -> OpenLink:
    """Read a link; raises ``BadLinkError`` or ``DeadLinkError``. Writes nothing."""
    try:
        given: Any = signing.loads(token, salt=_SALT)
        key, task_id, recipient_key, expires_at, answers, made_as = given
    except (signing.BadSignature, ValueError, TypeError):
        raise BadLinkError(_("This link is not complete, or was changed on the way.")) from None
    _check_time(expires_at)
    _check_kept(_rows().filter(pk=key, task_id=task_id).first())
    recipient = find_user(recipient_key)
    if recipient is None or not recipient.is_active:
        raise DeadLinkError(_("This link is for somebody who can no longer sign in."))
    # Whatever else the setting may say, only "bound", then and now, spares the login.
    needs_login = {made_as, mode()} != {BOUND}
    return OpenLink(token, key, task_id, recipient, expires_at, tuple(answers), needs_login)


def hold(key: str) -> None:
    """Keep a link as it is until the caller's transaction ends; raises ``DeadLinkError``.

    Whoever takes it back meanwhile waits, so that nothing is settled by it after that.
    """
    _check_time(hold_sent(key).expires_at)


def hold_sent(key: str) -> DecisionLink:
    """Do that for an answer that came in time and was held: the link may have run out since."""
    return _check_kept(_rows().select_for_update().filter(pk=key).first())


def _check_time(expires_at: int) -> None:
    if now_ms() >= expires_at:
        raise DeadLinkError(_("This link has run out."))


def _check_kept(link: DecisionLink | None) -> DecisionLink:
    if link is None or link.revoked_at is not None:
        raise DeadLinkError(_("This link was taken back."))
    return link


def _rows() -> QuerySet[DecisionLink]:
    return DecisionLink.objects.using(database_alias())


def revoke(links: QuerySet[DecisionLink]) -> int:
    """Revoke links; return how many were not yet."""
    return links.filter(revoked_at__isnull=True).update(revoked_at=now_ms())


def links_to(task: HumanTask) -> QuerySet[DecisionLink]:
    """Return the links to a question that were not revoked."""
    return _rows().filter(task=task.pk, revoked_at__isnull=True)


def forget_expired(*, using: str, **_kwargs: object) -> None:
    """Remove links that have run out; a receiver of ``durable.signals.housekeeping``."""
    links = DecisionLink.objects.using(using)
    expired = links.filter(expires_at__lte=now_ms() - KEPT_MS).order_by("expires_at")
    links.filter(pk__in=list(expired.values_list("pk", flat=True)[:BATCH])).delete()


def absolute(path: str) -> str:
    """Return an address with the site before it (``SIGNOFF_BASE_URL``)."""
    base: str = getattr(settings, "SIGNOFF_BASE_URL", "")
    return f"{base.rstrip('/')}{path}"
