"""Paths into what a request says, and texts with such paths in braces. Pure; there is no code.

``pull_request.number`` or ``/pull_request/number`` leads into the body, ``header:X-GitHub-Event``
to a header, ``event:id`` to the id of the event, and ``a|b`` to the first of several that exists.
An empty path is the whole body.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

from dashboard.descriptions.reading import DescriptionError, a_string

EVENT_ID = "event:id"
HEADER = "header:"
MAX_PATH = 500
MAX_TEMPLATE = 1000

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_HEADER_NAME = re.compile(r"[A-Za-z0-9-]+")


class _Missing:
    """Where a path leads to nothing; null is something."""

    def __repr__(self) -> str:
        return "MISSING"


MISSING = _Missing()


@dataclass(frozen=True, slots=True)
class Event:
    """A request that is known to be genuine. Names of headers are in lower case."""

    body: Any
    headers: Mapping[str, str]
    id: str = ""


class MissingError(LookupError):
    """The event has nothing that can be used where a path leads."""

    def __init__(self, path: str, problem: str) -> None:
        """``problem`` goes on a sentence that begins with the path."""
        super().__init__(f"{path or 'the body'} {problem}")


class _Step(NamedTuple):
    """One way to a value: a header, or keys into the body, or neither for the event's id."""

    header: str | None
    keys: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Path:
    """Where a value is: the first of some ways that leads to one."""

    text: str
    ways: tuple[_Step, ...]

    @classmethod
    def read(cls, value: Any, path: str) -> Self:
        """Read what somebody wrote; ``path`` leads to it, for the error."""
        text = a_string(value, path, MAX_PATH)
        return cls(text, tuple(_way(one.strip(), path) for one in text.split("|")))

    def find(self, event: Event) -> Any:
        """Return the value, ``MISSING`` where there is none."""
        for way in self.ways:
            found = _follow(way, event)
            if found is not MISSING:
                return found
        return MISSING

    @property
    def is_event_id(self) -> bool:
        """Whether it asks for the id of the event."""
        return any(one.header is None and one.keys is None for one in self.ways)


@dataclass(frozen=True, slots=True)
class Template:
    """A text with paths in it."""

    text: str
    literals: tuple[str, ...]
    paths: tuple[Path, ...]

    @classmethod
    def read(cls, value: Any, path: str) -> Self:
        """Read what somebody wrote; ``path`` leads to it, for the error."""
        text = a_string(value, path, MAX_TEMPLATE)
        parts = _PLACEHOLDER.split(text)
        literals, paths = parts[::2], parts[1::2]
        if any(brace in literal for literal in literals for brace in "{}"):
            raise DescriptionError(path, "has a brace that is not one of a pair")
        if any(not one.strip() for one in paths):
            raise DescriptionError(path, "has a pair of braces with nothing in it")
        return cls(text, tuple(literals), tuple(Path.read(one, path) for one in paths))

    def render(self, event: Event) -> str:
        """Return the text for an event; raises ``MissingError``."""
        found = [self.literals[0]]
        for path, literal in zip(self.paths, self.literals[1:], strict=True):
            found += [_as_text(path, path.find(event)), literal]
        return "".join(found)


def _way(text: str, path: str) -> _Step:
    if text == EVENT_ID:
        return _Step(None, None)
    if text.startswith(HEADER):
        name = text.removeprefix(HEADER)
        if not _HEADER_NAME.fullmatch(name):
            raise DescriptionError(path, f"{text!r} must name a header, as in header:X-Event")
        return _Step(name.lower(), None)
    if not text or text.startswith("/"):
        pointer = text.split("/")[1:]
        return _Step(None, tuple(one.replace("~1", "/").replace("~0", "~") for one in pointer))
    keys = tuple(text.split("."))
    if not all(keys):
        raise DescriptionError(path, f"{text!r} must be a path like pull_request.number")
    return _Step(None, keys)


def _follow(way: _Step, event: Event) -> Any:
    if way.header is not None:
        return event.headers.get(way.header, MISSING)
    if way.keys is None:
        return event.id or MISSING
    found = event.body
    for key in way.keys:
        match found:
            case dict() if key in found:
                found = found[key]
            case list() if _is_index(key) and int(key) < len(found):
                found = found[int(key)]
            case _:
                return MISSING
    return found


def _is_index(key: str) -> bool:
    return key.isascii() and key.isdigit() and len(key) < 10


def _as_text(path: Path, value: Any) -> str:
    match value:
        case _Missing():
            raise MissingError(path.text, "is missing")
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case str() if value:
            return value
        case str():
            raise MissingError(path.text, "is empty")
        case _:
            raise MissingError(path.text, "is neither text nor a whole number")
