"""How the page speaks of the times of a question: what will happen, what has, and how it ends."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from django.db.models import OuterRef, QuerySet
from django.utils.translation import gettext_lazy as _

from dashboard.attendance import key_of, pauses_of, timing_of
from dashboard.clocks import local, near_text
from dashboard.descriptions import DescriptionError
from dashboard.descriptions.timing import (
    EXPIRY,
    Ending,
    Moment,
    MomentKind,
    People,
    Timing,
    has_times,
    plan,
)
from dashboard.models import Attendance, HumanTask, TaskMoment
from dashboard.wording import Text
from durable.clock import now_ms
from durable.conf import database_alias


class Entry(NamedTuple):
    """One line of a timetable: what happens at a time, or has happened."""

    at: int
    icon: str
    text: Text
    is_done: bool = False
    is_next: bool = False


_ICONS: Mapping[str, str] = {
    "remind": "bell",
    "add": "users",
    "tell": "message-square",
    "expire": "hourglass",
    "restart": "clock",
}


def schedule_of(task: HumanTask, *, is_open: bool = True) -> list[Entry]:
    """Return what happens to a question at which time, in order; once it is over, what has."""
    timing = _timing_of(task)
    if timing is None or not timing.needs_attendance:
        return []
    attendance = Attendance.objects.using(database_alias()).filter(pk=task.pk).first()
    started_at = task.asked_at if attendance is None else attendance.started_at
    done = dict(_noted(task).values_list("key", "at"))
    entries = []
    has_next = not is_open
    pauses = pauses_of(task, now_ms())
    for moment in plan(timing, asked_at=task.asked_at, started_at=started_at, pauses=pauses):
        key = moment.key
        if moment.kind is not MomentKind.EXPIRE:
            key = key_of(task, key, started_at)
        is_done = key in done
        if not (is_done or is_open):
            continue
        is_next = not (is_done or has_next)
        has_next = has_next or is_next
        entries.append(
            Entry(
                done.get(key, moment.at),
                _ICONS[moment.kind],
                _text_of(moment, timing),
                is_done,
                is_next,
            )
        )
    return entries


def watcher_of(task: HumanTask) -> str:
    """Return the execution that waits for the times of a question; empty when none does."""
    attendance = Attendance.objects.using(database_alias()).filter(pk=task.pk, is_over=False)
    return attendance.values_list("execution", flat=True).first() or ""


def events_of(task: HumanTask) -> list[Entry]:
    """Return what has happened to a question by itself, but for its end, for its history."""
    if not has_times(task.description):
        return []
    return [
        Entry(moment.at, _ICONS[TaskMoment.Kind(moment.kind)], _event_text(moment), is_done=True)
        for moment in _noted(task).exclude(key=EXPIRY).order_by("at", "pk")
    ]


def sentence(task: HumanTask, now: int) -> str:
    """Say what becomes of a question if nobody answers, or became; empty when it does not expire.

    For a question that was answered, it is empty as well.
    """
    timing = _timing_of(task)
    if timing is None or timing.expires_at is None:
        return ""
    when = {"time": _clock(timing.expires_at, now)}
    if _noted(task).filter(key=EXPIRY).exists():
        return str(_PAST[timing.on_expiry] % when)
    if task.settled_at is not None:
        return ""
    if now >= timing.expires_at:
        return str(_("The time to answer ran out %(time)s.") % when)
    return str(_FUTURE[timing.on_expiry] % when)


def ending_of(task: HumanTask) -> Text:
    """Say in a few words how a question ended that nobody answered; empty when nobody knows."""
    timing = _timing_of(task)
    return "" if timing is None else _ENDED[timing.on_expiry]


def expiries() -> QuerySet[TaskMoment]:
    """Return what ended a question of an outer query because nobody answered in time."""
    rows = TaskMoment.objects.filter(task=OuterRef("pk"), key=EXPIRY)
    return rows.filter(at__gte=OuterRef("created_at"))


_FUTURE: Mapping[Ending, Text] = {
    Ending.REJECT: _("If nobody answers by %(time)s, this is rejected."),
    Ending.APPROVE: _("If nobody answers by %(time)s, this is approved."),
    Ending.RESOLVE: _("If nobody answers by %(time)s, this goes on with an answer set beforehand."),
    Ending.RAISE: _("If nobody answers by %(time)s, this fails as not answered."),
}
_PAST: Mapping[Ending, Text] = {
    Ending.REJECT: _("Nobody answered by %(time)s, so this was rejected."),
    Ending.APPROVE: _("Nobody answered by %(time)s, so this was approved."),
    Ending.RESOLVE: _(
        "Nobody answered by %(time)s, so this went on with an answer set beforehand."
    ),
    Ending.RAISE: _("Nobody answered by %(time)s, so this failed as not answered."),
}
_PLANNED: Mapping[Ending, Text] = {
    Ending.REJECT: _("Rejected, if nobody has answered"),
    Ending.APPROVE: _("Approved, if nobody has answered"),
    Ending.RESOLVE: _("Goes on with an answer set beforehand, if nobody has answered"),
    Ending.RAISE: _("Fails as not answered, if nobody has answered"),
}
_ENDED: Mapping[Ending, Text] = {
    Ending.REJECT: _("Nobody answered in time: rejected"),
    Ending.APPROVE: _("Nobody answered in time: approved"),
    Ending.RESOLVE: _("Nobody answered in time: went on with an answer set beforehand"),
    Ending.RAISE: _("Nobody answered in time: failed"),
}


def _text_of(moment: Moment, timing: Timing) -> Text:
    match moment.kind:
        case MomentKind.REMIND:
            return _("Reminder")
        case MomentKind.EXPIRE:
            return _PLANNED[timing.on_expiry]
        case _:
            rung = moment.payload
            assert rung is not None  # noqa: S101 - both kinds are rungs
            added, told = (people or People() for people in (rung.add, rung.tell))
            return _joined(_names(added._asdict()), _names(told._asdict()))


def _event_text(moment: TaskMoment) -> Text:
    match TaskMoment.Kind(moment.kind):
        case TaskMoment.Kind.REMIND:
            return _("Reminded")
        case TaskMoment.Kind.RESTART:
            return _("The times are counted anew from here")
        case _:
            return _joined(_names(moment.added), _names(moment.told))


def _joined(added: str, told: str) -> str:
    texts = []
    if added:
        texts.append(str(_("Also asked: %(names)s") % {"names": added}))
    if told:
        texts.append(str(_("Told: %(names)s") % {"names": told}))
    return "; ".join(texts)


def _names(people: Mapping[str, Iterable[str]]) -> str:
    return ", ".join([*people.get("users", ()), *people.get("groups", ())])


def _timing_of(task: HumanTask) -> Timing | None:
    """Return the times of a question; None for those that only an earlier version could read."""
    try:
        return timing_of(task)
    except DescriptionError:
        return None


def _noted(task: HumanTask) -> QuerySet[TaskMoment]:
    """Return what has happened to a question; not to an earlier one that had its id."""
    rows = TaskMoment.objects.using(database_alias())
    return rows.filter(task=task.pk, at__gte=task.created_at)


def _clock(instant: int, now: int) -> str:
    return near_text(local(instant), local(now).date())
