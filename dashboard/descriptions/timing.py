"""When a question reminds, calls in others and ends without an answer: read, checked and planned.

Pure: all times are epoch ms and come as arguments. Spans are business time where there is a
calendar, and days and weeks in them are working days and working weeks then.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from dashboard.descriptions.business_hours import BusinessHours, read_calendar
from dashboard.descriptions.reading import (
    DescriptionError,
    Source,
    a_boolean,
    a_list,
    an_instant,
    an_object,
    names,
    one_of,
)

MAX_STEPS = 20
"""How many reminders a question may have, and how many rungs."""
MAX_WEEKS = 520

EXPIRY = "expiry"
"""Key of the last moment."""

_SECOND = 1000
_DAY = 24 * 3600 * _SECOND
_WEEK = 7
_LAST = 253_402_300_799_999  # the last moment that calendars know
_SPAN = re.compile(
    r"P(?=.)(?:(\d{1,4})W)?(?:(\d{1,5})D)?"
    r"(?:T(?=.)(?:(\d{1,6})H)?(?:(\d{1,7})M)?(?:(\d{1,9}(?:\.\d{1,3})?)S)?)?\Z",
    re.ASCII,
)
_SHARE = re.compile(r"(\d{1,3})%\Z", re.ASCII)
_OFFSET = re.compile(r"(asked|due|expires)(?:([+-])(P.+))?\Z")
_FORBIDDEN_KEY = "__py_pickle"
"""Python SDK workers would unpickle what stands under it."""


class Base(StrEnum):
    """What a time counts from."""

    ASKED = "asked"
    DUE = "due"
    EXPIRES = "expires"


class Span(NamedTuple):
    """A length of time; ``sign`` tells whether it goes forward."""

    weeks: int = 0
    days: int = 0
    ms: int = 0
    sign: int = 1


class Offset(NamedTuple):
    """A time counted from another."""

    base: Base
    span: Span = Span()


class Share(NamedTuple):
    """A time at which a part of all the time is over, from asking until due or expiry."""

    percent: int


type When = Offset | Share


class Ending(StrEnum):
    """What happens to a question that nobody answered."""

    REJECT = "reject"
    APPROVE = "approve"
    RESOLVE = "resolve"
    RAISE = "raise"


class People(NamedTuple):
    """Names of users and groups."""

    users: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()


class Rung(NamedTuple):
    """A step of the ladder: who may answer from then on, and who is told only."""

    at: When
    add: People | None = None
    tell: People | None = None


@dataclass(frozen=True, slots=True)
class Timing:
    """The times of a question, as its description has them. ``value`` is for ``Ending.RESOLVE``."""

    due_at: int | None = None
    expires_at: int | None = None
    on_expiry: Ending = Ending.REJECT
    value: Any = None
    reminders: tuple[When, ...] = ()
    ladder: tuple[Rung, ...] = ()
    restart_on_reassign: bool = False
    calendar: BusinessHours | None = None
    path: str = "human_task"

    def at(self, key: str) -> str:
        """Return the path of an entry."""
        return f"{self.path}.{key}"

    @property
    def needs_attendance(self) -> bool:
        """Whether anything is to happen at some time."""
        return self.expires_at is not None or bool(self.reminders or self.ladder)


class MomentKind(StrEnum):
    """What happens at a moment; in this order where several come together."""

    REMIND = "remind"
    ADD = "add"
    TELL = "tell"
    EXPIRE = "expire"


class Moment(NamedTuple):
    """Something that is to happen. ``key`` tells it from the others; a rung is the payload.

    can_wait: whether it comes later by the time that the requester takes to reply.
    """

    at: int
    kind: MomentKind
    key: str
    payload: Rung | None = None
    can_wait: bool = False


class Pause(NamedTuple):
    """A time in which a question waited for a reply of its requester."""

    since: int
    until: int


_ORDER = {kind: place for place, kind in enumerate(MomentKind)}


def has_times(described: object) -> bool:
    """Whether a description as it came may need somebody to watch the time; costs nothing."""
    return isinstance(described, dict) and any(
        described.get(key) for key in ("expires", "reminders", "ladder")
    )


def read_timing(source: Source) -> Timing:
    """Read the times of a description; raises ``DescriptionError``."""
    due_at = source.get("due", an_instant, None)
    expires_at = source.get("expires", an_instant, None)
    on_expiry, value = source.get("on_expiry", _ending, (Ending.REJECT, None))
    if expires_at is None and source.values.get("on_expiry") is not None:
        raise DescriptionError(source.at("on_expiry"), "means nothing without expires")
    timing = Timing(
        due_at=due_at,
        expires_at=expires_at,
        on_expiry=on_expiry,
        value=value,
        reminders=source.get("reminders", _reminders, ()),
        ladder=source.get("ladder", _ladder, ()),
        restart_on_reassign=source.get("restart_on_reassign", a_boolean, False),
        calendar=source.get("calendar", read_calendar, None),
        path=source.path,
    )
    for path, when in _named(timing):
        if problem := _what_lacks(timing, when):
            raise DescriptionError(path, problem)
    return timing


def check_timing(timing: Timing, *, asked_at: int, deadline: int) -> None:
    """Refuse what could not happen: an expiry that the promise does not live to see.

    ``deadline`` is the promise's own. Raises ``DescriptionError``.
    """
    if timing.expires_at is not None and timing.expires_at >= deadline:
        problem = "must be before the deadline of the wait itself"
        raise DescriptionError(timing.at("expires"), problem)
    clock = _Clock.of(timing, asked_at, asked_at)
    for path, when in _named(timing):
        _resolve(clock, when, path)
    if timing.restart_on_reassign:
        _Clock.of(timing, asked_at, asked_at + 1)


def plan(
    timing: Timing,
    *,
    asked_at: int,
    started_at: int | None = None,
    pauses: Iterable[Pause] = (),
) -> tuple[Moment, ...]:
    """Return what is to happen, in order.

    Reminders that would come before the question itself are left out, and so is what would come
    after its expiry. ``started_at`` is when the ladder began anew: reminders and rungs then come as
    long after that as they would have come after the question, and only the expiry stays. After
    ``pauses``, in order, comes later what counts from the question or from when it is due.
    """
    clock = _Clock.of(timing, asked_at, asked_at if started_at is None else started_at)
    coming = _delayed(_moments(timing, clock), clock, tuple(pauses))
    moments = sorted(coming, key=lambda one: (one.at, _ORDER[one.kind], one.key))
    end = timing.expires_at
    return tuple(
        one for one in moments if end is None or one.at < end or one.kind is MomentKind.EXPIRE
    )


def delayed(
    at: int, pauses: Iterable[Pause], *, start: int, calendar: BusinessHours | None = None
) -> int:
    """Return when something comes that waits in pauses: what was left before one is left after.

    ``start`` is since when it is waited for.
    """
    for pause in pauses:
        since = max(pause.since, start)
        if not since < min(at, pause.until):
            continue
        try:
            left = at - since if calendar is None else calendar.between(since, at)
            at = pause.until + left if calendar is None else calendar.add(pause.until, left)
        except (ValueError, OverflowError):  # no working day is in sight
            at += pause.until - since
    return at


def _delayed(
    moments: Iterable[Moment], clock: "_Clock", pauses: tuple[Pause, ...]
) -> Iterator[Moment]:
    for one in moments:
        if one.can_wait and pauses:
            at = delayed(one.at, pauses, start=clock.start, calendar=clock.calendar)
            yield one._replace(at=at)
        else:
            yield one


def _can_wait(when: When, timing: Timing) -> bool:
    """Whether a time counts from the question or its due time; its expiry waits for nobody."""
    if isinstance(when, Share):
        return timing.due_at is not None
    return when.base is not Base.EXPIRES


def _moments(timing: Timing, clock: "_Clock") -> Iterator[Moment]:
    for index, reminder in enumerate(timing.reminders):
        at = _resolve(clock, reminder, timing.at(f"reminders[{index}]"))
        if at > clock.start:
            can_wait = _can_wait(reminder, timing)
            yield Moment(at, MomentKind.REMIND, f"reminder{index + 1}", can_wait=can_wait)
    for index, rung in enumerate(timing.ladder):
        at = max(_resolve(clock, rung.at, timing.at(f"ladder[{index}]")), clock.start)
        kind = MomentKind.ADD if rung.add is not None else MomentKind.TELL
        yield Moment(at, kind, f"rung{index + 1}", rung, _can_wait(rung.at, timing))
    if timing.expires_at is not None:
        yield Moment(timing.expires_at, MomentKind.EXPIRE, EXPIRY)


class _Clock(NamedTuple):
    """The times that others count from."""

    start: int
    due: int | None
    expires: int | None
    calendar: BusinessHours | None

    @classmethod
    def of(cls, timing: Timing, asked_at: int, start: int) -> "_Clock":
        """Return the times of a question, or of a ladder that began anew."""
        clock = cls(start, timing.due_at, timing.expires_at, timing.calendar)
        if start == asked_at or timing.due_at is None:
            return clock
        try:
            moved = clock.add(start, clock.between(asked_at, timing.due_at))
        except (ValueError, OverflowError) as error:
            raise _too_far(timing.at("due")) from error
        return clock._replace(due=moved)

    @property
    def end(self) -> int | None:
        """What shares are shares of."""
        return self.expires if self.due is None else self.due

    def add(self, instant: int, ms: int) -> int:
        return instant + ms if self.calendar is None else self.calendar.add(instant, ms)

    def between(self, start: int, end: int) -> int:
        return end - start if self.calendar is None else self.calendar.between(start, end)

    def length(self, span: Span) -> int:
        day, week = _DAY, _WEEK
        if self.calendar is not None:
            day, week = self.calendar.day_length, len(self.calendar.days)
        return span.sign * ((span.weeks * week + span.days) * day + span.ms)

    def at(self, when: When) -> int:
        if isinstance(when, Share):
            assert self.end is not None  # noqa: S101 - read_timing has seen to it
            whole = self.between(self.start, self.end)
            if not whole:  # nobody works in between
                return self.start + (self.end - self.start) * when.percent // 100
            return self.add(self.start, whole * when.percent // 100)
        bases = {Base.ASKED: self.start, Base.DUE: self.due, Base.EXPIRES: self.expires}
        base = bases[when.base]
        assert base is not None  # noqa: S101 - read_timing has seen to it
        return self.add(base, self.length(when.span))


def _resolve(clock: _Clock, when: When, path: str) -> int:
    try:
        at = clock.at(when)
    except (ValueError, OverflowError) as error:
        raise _too_far(path) from error
    if not 0 <= at <= _LAST:
        raise _too_far(path)
    return at


def _too_far(path: str) -> DescriptionError:
    return DescriptionError(path, "is too far away to be counted")


def _named(timing: Timing) -> Iterator[tuple[str, When]]:
    for index, reminder in enumerate(timing.reminders):
        yield timing.at(f"reminders[{index}]"), reminder
    for index, rung in enumerate(timing.ladder):
        yield timing.at(f"ladder[{index}]"), rung.at


def _what_lacks(timing: Timing, when: When) -> str:
    if isinstance(when, Share):
        has_end = timing.due_at is not None or timing.expires_at is not None
        return "" if has_end else "needs due or expires, which the share is of"
    if when.base is Base.DUE and timing.due_at is None:
        return "needs due, which it counts from"
    if when.base is Base.EXPIRES and timing.expires_at is None:
        return "needs expires, which it counts from"
    return ""


def _ending(value: Any, path: str) -> tuple[Ending, Any]:
    if isinstance(value, dict):
        if set(value) != {"resolve"}:
            raise DescriptionError(path, 'must be a word, or an object like {"resolve": value}')
        _refuse_pickles(value["resolve"], f"{path}.resolve")
        return Ending.RESOLVE, value["resolve"]
    words = (Ending.REJECT, Ending.APPROVE, Ending.RAISE)
    return one_of(value, path, {word.value: word for word in words}), None


def _refuse_pickles(value: Any, path: str) -> None:
    match value:
        case dict():
            if _FORBIDDEN_KEY in value:
                raise DescriptionError(path, f"must not have the key {_FORBIDDEN_KEY}")
            for key, one in value.items():
                _refuse_pickles(one, f"{path}.{key}")
        case list():
            for index, one in enumerate(value):
                _refuse_pickles(one, f"{path}[{index}]")


def _steps(value: Any, path: str) -> list[Any]:
    if len(steps := a_list(value, path)) > MAX_STEPS:
        raise DescriptionError(path, f"has more than {MAX_STEPS} entries")
    return steps


def _reminders(value: Any, path: str) -> tuple[When, ...]:
    return tuple(
        _when(Source(an_object(one, f"{path}[{index}]"), f"{path}[{index}]"))
        for index, one in enumerate(_steps(value, path))
    )


def _ladder(value: Any, path: str) -> tuple[Rung, ...]:
    return tuple(_rung(one, f"{path}[{index}]") for index, one in enumerate(_steps(value, path)))


def _rung(value: Any, path: str) -> Rung:
    source = Source(an_object(value, path), path)
    rung = Rung(_when(source), source.get("add", _people, None), source.get("tell", _people, None))
    if rung.add is None and rung.tell is None:
        raise DescriptionError(path, "needs add or tell: whom to call in, or to tell")
    return rung


def _people(value: Any, path: str) -> People:
    source = Source(an_object(value, path), path)
    people = People(source.get("users", names, ()), source.get("groups", names, ()))
    if not any(people):
        raise DescriptionError(path, "names nobody; give users or groups")
    return people


def _when(source: Source) -> When:
    given = [key for key in ("at", "after", "before") if source.values.get(key) is not None]
    if len(given) != 1:
        raise DescriptionError(source.path, "needs one of at, after and before")
    readers = {"at": _at, "after": _after, "before": _before}
    return source.require(given[0], readers[given[0]])


def _at(value: Any, path: str) -> When:
    problem = "must be like 50%, due, due+PT2H or asked+P1D"
    if not isinstance(value, str):
        raise DescriptionError(path, problem)
    if found := _SHARE.match(value):
        percent = int(found[1])
        if not 1 <= percent <= 100:
            raise DescriptionError(path, "must be a share from 1% to 100%")
        return Share(percent)
    found = _OFFSET.match(value)
    if found is None:
        raise DescriptionError(path, problem)
    base = Base(found[1])
    if found[2] is None:
        return Offset(base)
    return Offset(base, _span(found[3], path)._replace(sign=1 if found[2] == "+" else -1))


def _after(value: Any, path: str) -> When:
    return Offset(Base.ASKED, _span(value, path))


def _before(value: Any, path: str) -> When:
    return Offset(Base.DUE, _span(value, path)._replace(sign=-1))


def _span(value: Any, path: str) -> Span:
    """Read a length in ISO 8601, in weeks, days, hours, minutes and seconds."""
    found = _SPAN.match(value) if isinstance(value, str) else None
    if found is None:
        raise DescriptionError(path, "must be a length of time like PT2H, P1D or P1DT12H")
    weeks, days, hours, minutes = (int(part or 0) for part in found.groups()[:4])
    seconds = (hours * 60 + minutes) * 60 + float(found[5] or 0)
    if weeks + days / _WEEK + seconds * _SECOND / _DAY / _WEEK > MAX_WEEKS:
        raise DescriptionError(path, "is longer than ten years")
    return Span(weeks, days, round(seconds * _SECOND))
