"""The three searches (protocol.md 3.18). They read many rows and are no part of the machine."""

from collections.abc import Iterator
from typing import ClassVar

from msgspec import Struct

from durable.protocol.records import PromiseRecord, ScheduleRecord, TaskRecord
from durable.protocol.states import PromiseState, TaskState
from durable.protocol.validation import find_tag_error, find_text_error

MAX_LIMIT = 1000


class Search(Struct, frozen=True):
    """What all searches share; ``cursor`` is the last id of the page before."""

    kind: ClassVar[str]
    default_limit: ClassVar[int] = 100
    limit: int | None = None
    cursor: str | None = None

    @property
    def page_size(self) -> int:
        """How many records a page holds."""
        return self.default_limit if self.limit is None else self.limit


class PromiseSearch(Search, frozen=True):
    """Promises in a state, as seen now, that carry all of the tags."""

    kind: ClassVar[str] = "promise.search"
    state: PromiseState | None = None
    tags: dict[str, str] | None = None


class TaskSearch(Search, frozen=True):
    """Tasks in a state, as seen now."""

    kind: ClassVar[str] = "task.search"
    state: TaskState | None = None


class ScheduleSearch(Search, frozen=True):
    """Schedules whose promises will carry all of the tags."""

    kind: ClassVar[str] = "schedule.search"
    default_limit: ClassVar[int] = 10
    tags: dict[str, str] | None = None


SEARCHES: dict[str, type[Search]] = {
    search.kind: search for search in (PromiseSearch, TaskSearch, ScheduleSearch)
}


class Page[R: PromiseRecord | TaskRecord | ScheduleRecord](Struct, frozen=True):
    """Records in the order of their ids, and where the next page starts; None on the last."""

    records: list[R]
    cursor: str | None


def find_search_error(search: Search) -> str | None:
    """Return the text of the first broken rule of a search, or None."""
    return next(_errors(search), None)


def _errors(search: Search) -> Iterator[str]:
    if search.limit is not None:
        if search.limit < 1:
            yield "Limit must be a positive integer"
        elif search.limit > MAX_LIMIT:
            yield f"Invalid 'limit' — must be between 1 and {MAX_LIMIT}"
    if search.cursor is not None and (error := find_text_error("Cursor", search.cursor)):
        yield error
    if (
        isinstance(search, PromiseSearch | ScheduleSearch)
        and search.tags is not None
        and (error := find_tag_error("Tags", search.tags))
    ):
        yield error
