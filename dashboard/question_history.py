"""What happened to a question, newest first: what people did, what its times brought, its end."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from django.utils.translation import gettext_lazy as _

from dashboard import wording
from dashboard.auditing import REFUSED
from dashboard.descriptions.proposal import Row, side_by_side
from dashboard.models import ANSWERS, Action, AuditEntry, HumanTask, TargetKind
from dashboard.outcomes import Outcome
from dashboard.permissions import AnyUser
from dashboard.timetables import events_of
from dashboard.wording import Text
from durable.conf import database_alias

MAX_EVENTS = 50

_DEEDS: Mapping[str, tuple[str, Text]] = {
    Action.CLAIM: ("user-check", _("%(name)s took this on")),
    Action.RELEASE: ("hand", _("%(name)s gave this back")),
    Action.HAND_OVER: ("user-check", _("%(name)s handed this to %(to)s")),
    Action.TAKE_BACK: ("corner-up-left", _("%(name)s took an answer back before it was sent")),
    Action.ASK: ("hourglass", _("%(name)s asked the requester; the deadline stands still")),
    Action.REPLY: ("clock", _("%(name)s replied; the deadline goes on")),
    Action.REVEAL: ("key-round", _("%(name)s looked at a secret value")),
    Action.DESCRIBE: ("file-pen", _("%(name)s said what this asks")),
}
_TALK = frozenset({Action.ASK, Action.REPLY})
"""What was said then is among the remarks."""


class Event(NamedTuple):
    """One line of the history."""

    at: int
    icon: str
    text: Text
    comment: str = ""
    is_late: bool = False
    changes: Sequence[Row] = ()


def read_history(task: HumanTask, outcome: Outcome | None, user: AnyUser) -> list[Event]:
    """Return what happened to a question, as this reader is told of it, newest first."""
    entries = (
        AuditEntry.objects.using(database_alias())
        .filter(target=task.pk, target_kind=TargetKind.TASK, action__in=[*ANSWERS, *_DEEDS])
        .order_by("-at", "-pk")[:MAX_EVENTS]
    )
    events = [_event(task, entry, user) for entry in entries]
    events += [Event(one.at, one.icon, one.text) for one in events_of(task)]
    if outcome is not None and not outcome.by:
        events.append(Event(outcome.at, outcome.icon, outcome.sentence))
    events.append(Event(task.created_at, "message-square", _("Asked")))
    return sorted(events, key=lambda event: event.at, reverse=True)


def _event(task: HumanTask, entry: AuditEntry, user: AnyUser) -> Event:
    is_mine = entry.actor_id == user.pk
    name: Text = _("You") if is_mine else entry.actor_name
    if entry.on_behalf_of_name:
        name = _("%(name)s (for %(principal)s)") % {
            "name": name,
            "principal": entry.on_behalf_of_name,
        }
    icon, text = _deed_of(task, entry, name, is_mine=is_mine)
    if entry.is_override and task.mistake:
        text = _("%(deed)s, in spite of a mistake in the description") % {"deed": text}
    elif entry.is_override:
        text = _("%(deed)s, in spite of separation of duties") % {"deed": text}
    return Event(
        at=int(entry.at.timestamp() * 1000),
        icon=icon,
        text=text,
        comment="" if entry.action in _TALK else entry.reason,
        is_late=not entry.is_effective,
        changes=side_by_side(entry.details.get("changes", ())),
    )


def _deed_of(task: HumanTask, entry: AuditEntry, name: Text, *, is_mine: bool) -> tuple[str, Text]:
    if entry.action == Action.RELEASE and not entry.actor_name:
        free = _("Free again: %(name)s has not done anything with it for a while")
        return "hand", free % {"name": entry.state_before}
    if entry.action in _DEEDS:
        icon, text = _DEEDS[entry.action]
        return icon, text % {"name": name, "to": entry.state_after}
    return _answer_event(task, entry, str(name), is_mine=is_mine)


def _answer_event(
    task: HumanTask, entry: AuditEntry, name: str, *, is_mine: bool
) -> tuple[str, Text]:
    answer = entry.answer or entry.action
    option = None if task.described is None else task.described.answer(answer)
    label = "" if option is None else option.label
    if why := entry.details.get(REFUSED):
        said = {"name": name, "answer": answer if option is None else wording.label_of(option)}
        text = _("%(name)s wanted to answer “%(answer)s”, which was not used") % said
        # Why is said to whoever gave it.
        return "ban", f"{text}. {why}" if is_mine else text
    if not entry.is_effective:
        return "clock", wording.late_of(answer, label, by=name)
    icon = wording.icon_of_name(answer) if option is None else wording.icon_of(option)
    return icon, wording.deed_of(answer, label, by=name)
