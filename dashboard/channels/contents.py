"""What a message may say of a question and of its outcome. Nothing secret gets past here."""

import datetime as dt
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, NamedTuple
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.urls import reverse
from django.utils import timezone, translation
from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from dashboard import held_answers, links
from dashboard.clocks import local
from dashboard.descriptions import Description
from dashboard.descriptions.answers import Need
from dashboard.masking import MASK, is_secret, mask_description
from dashboard.models import Comment, HumanTask, Message, MessageEvent
from dashboard.outcomes import outcome_of, with_outcome
from dashboard.people import find_user, name_of
from dashboard.permissions import visible_to
from dashboard.rights import could_answer, stands_in_for
from dashboard.templatetags.signoff_inbox import fact as fact_text
from dashboard.wording import label_of
from durable.clock import now_ms
from durable.conf import database_alias

UNUSED = "unused"
"""Begins the occasion of a message to somebody whose held answer came to nothing."""


class Choice(NamedTuple):
    """An answer as a button.

    needs_page: whether it takes more than a comment, so that only the page will do.
    """

    name: str
    label: str
    style: str
    consequence: str
    needs_comment: bool
    needs_page: bool


class Line(NamedTuple):
    """One line of the table of facts."""

    label: str
    text: str


@dataclass(frozen=True, slots=True)
class Notice:
    """A question in the language of the moment. ``due`` says when it is due, in words."""

    title: str
    question: str
    consequence: str
    facts: tuple[Line, ...]
    choices: tuple[Choice, ...]
    due: str

    @property
    def main_choice(self) -> Choice:
        """The answer that the question is about: the first that says yes."""
        return next((one for one in self.choices if one.style == "primary"), self.choices[0])


class Outcome(NamedTuple):
    """How a question ended, in the language of the moment.

    by: who answered; empty unless a person did, here. answer: the usual word, if that was chosen.
    plain: the sentence that the pages have.
    """

    kind: str
    at: int
    by: str
    answer: str
    comment: str
    plain: str

    @property
    def sentence(self) -> str:
        """Say it in one line, in the language and time zone of the moment."""
        return _("%(what)s, %(time)s: nothing left to do") % {
            "what": self.summary,
            "time": time_text(self.at, now_ms()),
        }

    @property
    def summary(self) -> str:
        """Say it in a few words, without the time."""
        match self.answer:
            case "approve":
                return _("Approved by %(name)s") % {"name": self.by}
            case "reject":
                return _("Rejected by %(name)s") % {"name": self.by}
            case _:
                return self.plain


def read_notice(task: HumanTask, description: Description) -> Notice:
    """Return what may be said of a question, in the language and time zone of the moment."""
    masked = mask_description(description.raw)
    has_form = description.form is not None or "proposal" in description.raw
    return Notice(
        title=" ".join(masked["title"].split()),
        question=_text(masked, "question"),
        consequence=_text(masked, "consequence"),
        facts=tuple(_facts(masked)),
        choices=tuple(_choices(description, has_form=has_form)),
        due="" if task.due is None else _due(task),
    )


def principal_name(task: HumanTask, user: AbstractBaseUser | None) -> str:
    """Return whose place a reader takes; empty for those who answer for themselves."""
    principal = None if user is None else stands_in_for(task, user)
    return "" if principal is None else name_of(principal)


def lead_of(message: Message) -> str:
    """Return what is said before the question."""
    principal = principal_name(message.task, message.user)
    event = _event_text(message, principal)
    if not principal:
        return event
    place = _("You answer for %(name)s, who is away.") % {"name": principal}
    return f"{event} {place}" if event else place


def _event_text(message: Message, principal: str) -> str:
    match message.event:
        case MessageEvent.ASSIGNED if principal or message.user is None:
            name = principal or _assignee_name(message)
            return _("This was handed over to %(name)s.") % {"name": name}
        case MessageEvent.ASSIGNED:
            return _("This was handed over to you.")
        case MessageEvent.MENTIONED:
            kind, _separator, key = message.occasion.partition(" ")
            return _unused_text(key) if kind == UNUSED else str(_MENTIONED[kind])
        case MessageEvent.REMINDED:
            return _("A reminder: this still waits for an answer.")
        case MessageEvent.ESCALATED:
            return _("Nobody has answered in time, so more people hear of this.")
        case _:
            return ""


def _assignee_name(message: Message) -> str:
    """Return to whom a question was handed over, for a room: the occasion begins with their key."""
    user = find_user(message.occasion.partition("@")[0])
    return "" if user is None else name_of(user)


def _unused_text(key: str) -> str:
    """Return why an answer that was held was not used; it may have been given again since."""
    held = held_answers.rows().filter(pk=key).first()
    return (_("Your answer was not used. %(why)s") % {"why": held.problem if held else ""}).strip()


_MENTIONED: Mapping[str, Any] = {
    Comment.Kind.REMARK: gettext_lazy("You are mentioned in a remark on this."),
    Comment.Kind.ASKED: gettext_lazy("You are asked about this before it can be answered."),
    Comment.Kind.REPLIED: gettext_lazy("There is a reply to what was asked about this."),
}


def read_outcome(promise_id: str) -> Outcome | None:
    """Return how a question ended; None while it waits, or when there is none."""
    found = with_outcome(HumanTask.objects.using(database_alias()).filter(pk=promise_id)).first()
    if found is None:
        return None
    ended = outcome_of(found, AnonymousUser(), now_ms())
    if ended is None:
        return None
    answer = ended.answer if ended.by and not ended.label else ""
    return Outcome(ended.kind, ended.at, ended.by, answer, ended.comment, str(ended.sentence))


@contextmanager
def speaking_to(user: AbstractBaseUser | None) -> Iterator[None]:
    """Use the language and the time zone of a user, where the user model has them."""
    language = _of_user(user, "SIGNOFF_USER_LANGUAGE", "language") or settings.LANGUAGE_CODE
    if not translation.check_for_language(language):
        language = settings.LANGUAGE_CODE
    with translation.override(language), timezone.override(zone_of(user)):
        yield


def zone_of(user: AbstractBaseUser | None) -> dt.tzinfo:
    """Return the time zone of a user, or else the site's."""
    name = _of_user(user, "SIGNOFF_USER_TIME_ZONE", "time_zone")
    try:
        return ZoneInfo(name) if name else timezone.get_default_timezone()
    except (KeyError, ValueError, OSError):
        return timezone.get_default_timezone()


def page_url(name: str, *args: object, **query: str) -> str:
    """Return the whole address of a page of ours."""
    path = reverse(f"signoff:{name}", args=args)
    return links.absolute(f"{path}?{urlencode(query)}" if query else path)


def task_url(task: HumanTask, user: AbstractBaseUser | None) -> str:
    """Return the address that shows a question: a personal link, where there are such."""
    return page_url("task", task.pk) if user is None else links.url_for(task, user)


class Way(NamedTuple):
    """Where a message leads its reader: nowhere when they may not look, and may they answer."""

    url: str
    may_answer: bool


def way_for(message: Message) -> Way:
    """Return where a message leads; whoever is told need not be one who may answer."""
    task, user = message.task, message.user
    if user is None:
        return Way(task_url(task, None), may_answer=True)
    if not may_look(message):
        return Way("", may_answer=False)
    # At the end a personal link has nothing left to do.
    url = page_url("task", task.pk) if message.ends else task_url(task, user)
    return Way(url, could_answer(task, user))


def may_look(message: Message) -> bool:
    """Whether the reader of a message may look at its question; those in a room are asked there."""
    if message.user is None:
        return True
    return visible_to(message.user).filter(pk=message.task_id).exists()


def notice_for(message: Message) -> Notice | None:
    """Return what the reader of a message is told of its question; None when nothing describes it.

    Who may not look at it hears its title alone, unless its own ladder names them.
    """
    described = message.task.described
    if described is None:
        return None
    notice = read_notice(message.task, described)
    if message.event == MessageEvent.ESCALATED or may_look(message):
        return notice
    return replace(notice, question="", consequence="", facts=(), due="")


def outcome_for(message: Message, outcome: Outcome) -> Outcome:
    """Return what they are told of its end: the comment is for those who may look at it."""
    return outcome if may_look(message) else outcome._replace(comment="")


def with_answer(url: str, answer: str) -> str:
    """Return the address with an answer in mind; it is a page, and settles nothing."""
    return f"{url}?{urlencode({'answer': answer})}"


def _due(task: HumanTask) -> str:
    if task.waits_for_requester_since is not None:
        return _("the deadline stands still")
    return due_text(task.due_at, now_ms())


def due_text(due_at: int, now: int) -> str:
    """Return when something is due as a subject has it: ``due today 16:00``."""
    if due_at <= now:
        return _("overdue since %(time)s") % {"time": time_text(due_at, now)}
    moment, today = local(due_at), local(now).date()
    time = date_format(moment, "H:i")
    if moment.date() == today:
        return _("due today %(time)s") % {"time": time}
    if moment.date() == today + dt.timedelta(days=1):
        return _("due tomorrow %(time)s") % {"time": time}
    return _("due %(time)s") % {"time": time_text(due_at, now)}


def time_text(instant: int, now: int) -> str:
    """Return an instant: the time alone when it is of today."""
    moment = local(instant)
    time = date_format(moment, "H:i")
    if moment.date() == local(now).date():
        return time
    return f"{date_format(moment, 'DATE_FORMAT')} {time}"


def _text(masked: Mapping[str, Any], key: str) -> str:
    return str(masked.get(key) or "").strip()


def _facts(masked: Mapping[str, Any]) -> Iterator[Line]:
    facts = masked.get("facts")
    if not isinstance(facts, dict | list):
        return  # there are none, or all of them are secret
    for pair in facts.items() if isinstance(facts, dict) else facts:
        # A pair that is masked as a whole is none any more.
        label, value = (MASK, MASK) if isinstance(pair, str) else pair
        yield Line(label, fact_text(value))


def _choices(description: Description, *, has_form: bool) -> Iterator[Choice]:
    for place, answer in enumerate(description.answers):
        is_hidden = is_secret(f"/answers/{place}/consequence", description.secrets)
        yield Choice(
            answer.name,
            str(label_of(answer)),
            answer.style.value,
            "" if is_hidden else answer.consequence,
            answer.needs_comment,
            needs_page=(has_form and answer.form is Need.REQUIRED)
            or description.confirmation_of(answer) is not None,
        )


def _of_user(user: AbstractBaseUser | None, setting: str, default: str) -> str:
    value: Any = user
    for name in getattr(settings, setting, default).split("."):
        value = getattr(value, name, None)
    return str(value or "")
