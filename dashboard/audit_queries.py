"""Finds entries of the audit trail, for the page and for exports."""

import datetime as dt
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple, Self

import msgspec
from django.db.models import Q, QuerySet
from django.http import QueryDict
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime

from dashboard.models import Action, AuditEntry, HumanTask, SignIn, TargetKind
from dashboard.queries import titles_of
from dashboard.spreadsheets import as_csv
from durable.conf import database_alias

PAGE_SIZE = 50
EXPORTED_AT_ONCE = 500
_HIGHEST = chr(0x10FFFF)
_MICROSECONDS = 1_000_000


@dataclass(frozen=True)
class Filters:
    """What to look for; an empty field asks for everything.

    who: part of a name, of who acted or in whose name.
    about: what the id of the target begins with; ``execution`` is the id of a root, and stands for
    it and all questions of its execution.
    text: part of what was written, of the answer, or of the target.
    since, until: from when on, and before when, as texts of dates or instants.
    """

    who: str = ""
    action: str = ""
    about: str = ""
    execution: str = ""
    text: str = ""
    since: str = ""
    until: str = ""
    how: str = ""
    overridden: str = ""
    late: str = ""

    @classmethod
    def parse(cls, query: QueryDict) -> Self:
        """Read a query string; what makes no sense is ignored."""
        given = {one.name: query.get(one.name, "").strip() for one in fields(cls)}
        sound = {
            "action": given["action"] in Action,
            "how": given["how"] in SignIn,
            "since": read_instant(given["since"]) is not None,
            "until": read_instant(given["until"]) is not None,
        }
        return cls(**{name: value for name, value in given.items() if sound.get(name, True)})

    def __bool__(self) -> bool:
        return self != type(self)()

    def query(self) -> QueryDict:
        """Return the shortest query string that says the same."""
        query = QueryDict(mutable=True)
        for one in fields(self):
            if value := getattr(self, one.name):
                query[one.name] = value
        return query

    def condition(self) -> Q:
        """Match the entries."""
        equal: dict[str, Any] = {"action": self.action, "sign_in": self.how}
        if self.overridden:
            equal["is_override"] = True
        if self.late:
            equal["is_effective"] = False
        found = Q(**{name: value for name, value in equal.items() if value != ""})
        if since := read_instant(self.since):
            found &= Q(at__gte=since)
        if until := read_instant(self.until, is_end=True):
            found &= Q(at__lt=until)
        if self.who:
            found &= _any_contains(self.who, "actor_name", "on_behalf_of_name")
        if self.text:
            found &= _any_contains(self.text, "reason", "answer", "target")
        return found & self._about()

    def _about(self) -> Q:
        found = Q()
        if self.about:
            found &= Q(target__gte=self.about, target__lt=self.about + _HIGHEST)
        if self.execution:
            tasks = HumanTask.objects.filter(origin=self.execution).values("pk")
            found &= Q(target=self.execution) | Q(target__in=tasks, target_kind=TargetKind.TASK)
        return found


def _any_contains(text: str, *columns: str) -> Q:
    return Q.create([(f"{one}__icontains", text) for one in columns], connector=Q.OR)


class Cursor(NamedTuple):
    """A place in the list: between two rows, so that new rows do not move it."""

    at: int
    id: int

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Read what ``str`` wrote; None for anything else."""
        match = re.fullmatch(r"(\d{1,17})~(\d{1,18})", text, re.ASCII)
        return cls(int(match[1]), int(match[2])) if match else None

    @classmethod
    def of(cls, entry: AuditEntry) -> Self:
        """Return the place of a row."""
        since = entry.at - dt.datetime.fromtimestamp(0, tz=dt.UTC)
        return cls(since // dt.timedelta(microseconds=1), entry.pk)

    def __str__(self) -> str:
        return f"{self.at}~{self.id}"

    @property
    def moment(self) -> dt.datetime:
        """When that was."""
        return dt.datetime.fromtimestamp(0, tz=dt.UTC) + dt.timedelta(microseconds=self.at)

    def older(self) -> Q:
        """Match what comes after this place: the list begins with the newest."""
        # The first condition is implied by the second and lets the index be used.
        return Q(at__lte=self.moment) & (Q(at__lt=self.moment) | Q(id__lt=self.id))

    def newer(self) -> Q:
        """Match what comes before this place."""
        return Q(at__gte=self.moment) & (Q(at__gt=self.moment) | Q(id__gt=self.id))


@dataclass(frozen=True)
class Line:
    """An entry as the list shows it; ``title`` is that of the question."""

    entry: AuditEntry
    title: str = ""

    @property
    def at(self) -> int:
        """When it was, epoch ms."""
        return int(self.entry.at.timestamp() * 1000)

    @property
    def is_question(self) -> bool:
        """Whether it is about a question."""
        return self.entry.target_kind == TargetKind.TASK

    @property
    def is_execution(self) -> bool:
        """Whether it is about an execution."""
        return self.entry.target_kind == TargetKind.EXECUTION

    @property
    def place(self) -> int | None:
        """Position in the chain; None while it has none."""
        link = getattr(self.entry, "link", None)
        return None if link is None else link.position

    @property
    def previous(self) -> str:
        """Return the hash before it in the chain."""
        link = getattr(self.entry, "link", None)
        return "" if link is None else link.previous

    @property
    def digest(self) -> str:
        """Return the hash in the chain."""
        link = getattr(self.entry, "link", None)
        return "" if link is None else link.hash


@dataclass(frozen=True)
class Page:
    """A page of the list, and where the neighbouring pages begin; None where there is none."""

    lines: list[Line] = field(default_factory=list)
    older: Cursor | None = None
    newer: Cursor | None = None


def read_instant(text: str, *, is_end: bool = False) -> dt.datetime | None:
    """Read a date or an instant; None for anything else. ``is_end`` takes the whole day along."""
    try:
        date, instant = parse_date(text), parse_datetime(text)
        if date is not None:
            day = date + dt.timedelta(days=1) if is_end else date
            instant = dt.datetime.combine(day, dt.time())
        if instant is None:
            return None
        aware = timezone.make_aware(instant) if timezone.is_naive(instant) else instant
        return aware.astimezone(dt.UTC)  # as the database will: not all instants have one
    except (ValueError, OverflowError):
        return None


def list_entries(
    filters: Filters, *, older: Cursor | None = None, newer: Cursor | None = None
) -> Page:
    """Return one page, newest first. Two queries."""
    entries = _entries(filters)
    if newer is not None:
        found = list(entries.filter(newer.newer()).order_by("at", "id")[: PAGE_SIZE + 1])
        has_newer, has_older = len(found) > PAGE_SIZE, True
        found = found[:PAGE_SIZE][::-1]
    else:
        place = older.older() if older is not None else Q()
        found = list(entries.filter(place).order_by("-at", "-id")[: PAGE_SIZE + 1])
        has_newer, has_older = older is not None, len(found) > PAGE_SIZE
        found = found[:PAGE_SIZE]
    asked = [one.target for one in found if one.target_kind == TargetKind.TASK]
    titles = titles_of(asked) if asked else {}
    return Page(
        [Line(one, titles.get(one.target, "")) for one in found],
        Cursor.of(found[-1]) if found and has_older else None,
        Cursor.of(found[0]) if found and has_newer else None,
    )


# --- Exports ---


class Format(NamedTuple):
    """How to write entries as text; ``head`` comes first."""

    content_type: str
    head: str
    write: Callable[[Sequence[Mapping[str, Any]]], str]


_COLUMNS = (
    *("id", "at", "actor_id", "actor", "on_behalf_of_id", "on_behalf_of", "sign_in", "ip"),
    *("user_agent", "action", "answer", "target_kind", "target", "reason", "is_effective"),
    *("is_override", "state_before", "state_after", "details", "payload_hash", "request_key"),
    *("transaction", "chain_position", "chain_previous", "chain_hash"),
)
"""All that a hash of the chain is made of is among them: readers can verify it themselves."""


def export(filters: Filters, form: Format) -> Iterator[str]:
    """Yield all entries that match, oldest first, in pieces that fit into memory."""
    yield form.head
    entries = _entries(filters).order_by("at", "id")
    place = Q()
    while found := list(entries.filter(place)[:EXPORTED_AT_ONCE]):
        yield form.write([row_of(one) for one in found])
        place = Cursor.of(found[-1]).newer()


def row_of(entry: AuditEntry) -> dict[str, Any]:
    """Return an entry as exports have it."""
    line = Line(entry)
    values = (
        *(entry.pk, entry.at.astimezone(dt.UTC).isoformat(), _key(entry.actor_id)),
        *(entry.actor_name, _key(entry.on_behalf_of_id), entry.on_behalf_of_name, entry.sign_in),
        *(entry.ip, entry.user_agent, entry.action, entry.answer, entry.target_kind, entry.target),
        *(entry.reason, entry.is_effective, entry.is_override, entry.state_before),
        *(entry.state_after, entry.details, entry.payload_hash, entry.request_key),
        *(entry.transaction, line.place, line.previous, line.digest),
    )
    return dict(zip(_COLUMNS, values, strict=True))


def _key(value: Any) -> Any:
    """Return a primary key as JSON has it."""
    return value if value is None or isinstance(value, int) else str(value)


def _as_lines(rows: Sequence[Mapping[str, Any]]) -> str:
    return "".join(f"{msgspec.json.encode(row).decode()}\n" for row in rows)


def _as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    return as_csv([_cell(value) for value in row.values()] for row in rows)


def _cell(value: Any) -> str:
    """Return a value as the text of a cell."""
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case dict():
            return msgspec.json.encode(value).decode() if value else ""
        case _:
            return str(value)


FORMATS: Mapping[str, Format] = {
    "csv": Format("text/csv; charset=utf-8", as_csv([_COLUMNS]), _as_csv),
    "jsonl": Format("application/jsonl; charset=utf-8", "", _as_lines),
}


def _entries(filters: Filters) -> QuerySet[AuditEntry]:
    entries = AuditEntry.objects.using(database_alias())
    return entries.filter(filters.condition()).select_related("link")
