"""How values of a description are read: each reader names the path of what breaks a rule.

Pure. A reader takes a decoded value and its path, and returns what it means.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

MAX_DEPTH = 32
MAX_TITLE = 300
MAX_TEXT = 20_000
MAX_NAME = 254
MAX_ENTRIES = 200


class DescriptionError(ValueError):
    """The description breaks a rule at ``path``; its ``title`` may be right nevertheless."""

    def __init__(self, path: str, problem: str) -> None:
        """``path`` leads to the value, as in ``human_task.facts[2]``."""
        super().__init__(f"{path}: {problem}")
        self.path = path
        self.problem = problem
        self.title = ""


class Source(NamedTuple):
    """An object with the path that leads to it; a null is as good as no entry."""

    values: Mapping[str, Any]
    path: str

    def at(self, key: str) -> str:
        """Return the path of an entry."""
        return f"{self.path}.{key}"

    def require[T](self, key: str, read: Callable[[Any, str], T]) -> T:
        """Read an entry that must be there."""
        path = self.at(key)
        if self.values.get(key) is None:
            raise DescriptionError(path, "is missing")
        return read(self.values[key], path)

    def get[T](self, key: str, read: Callable[[Any, str], T], default: T) -> T:
        """Read an entry that may be missing."""
        if self.values.get(key) is None:
            return default
        return read(self.values[key], self.at(key))


def check_shape(value: Any, path: str, *, depth: int = 0) -> None:
    """Refuse what a database or a page cannot hold."""
    if depth > MAX_DEPTH:
        raise DescriptionError(path, f"is nested more than {MAX_DEPTH} deep")
    match value:
        case str():
            if "\0" in value:
                raise DescriptionError(path, "contains a null character")
        case list():
            for index, one in enumerate(value):
                check_shape(one, f"{path}[{index}]", depth=depth + 1)
        case dict():
            for key, one in value.items():
                check_shape(key, path, depth=depth)
                check_shape(one, f"{path}.{key}", depth=depth + 1)


def an_object(value: Any, path: str) -> Mapping[str, Any]:
    """Read an object."""
    if not isinstance(value, dict):
        raise DescriptionError(path, "must be an object")
    return value


def a_list(value: Any, path: str) -> list[Any]:
    """Read a list that is not too long."""
    if not isinstance(value, list):
        raise DescriptionError(path, "must be a list")
    if len(value) > MAX_ENTRIES:
        raise DescriptionError(path, f"has more than {MAX_ENTRIES} entries")
    return value


def a_boolean(value: Any, path: str) -> bool:
    """Read true or false."""
    if not isinstance(value, bool):
        raise DescriptionError(path, "must be true or false")
    return value


def an_integer(value: Any, path: str, *, least: int, most: int) -> int:
    """Read a whole number within bounds; to JSON 2.0 is one."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if type(value) is not int or not least <= value <= most:
        raise DescriptionError(path, f"must be a whole number from {least} to {most}")
    return value


def one_of(value: Any, path: str, choices: Mapping[str, Any]) -> Any:
    """Read a word that stands for something."""
    if not isinstance(value, str) or value not in choices:
        raise DescriptionError(path, f"must be one of {', '.join(choices)}")
    return choices[value]


def a_string(value: Any, path: str, limit: int) -> str:
    """Read text, which may be empty."""
    if not isinstance(value, str):
        raise DescriptionError(path, "must be text")
    if len(value) > limit:
        raise DescriptionError(path, f"is longer than {limit} characters")
    return value.strip()


def a_name(value: Any, path: str, limit: int = MAX_NAME) -> str:
    """Read text that is not empty."""
    if not (text := a_string(value, path, limit)):
        raise DescriptionError(path, "is empty")
    return text


def a_text(value: Any, path: str) -> str:
    """Read text of some length."""
    return a_string(value, path, MAX_TEXT)


def names(value: Any, path: str) -> tuple[str, ...]:
    """Read a list of names, each once."""
    found = (a_name(one, f"{path}[{index}]") for index, one in enumerate(a_list(value, path)))
    return tuple(dict.fromkeys(found))


def an_instant(value: Any, path: str) -> int:
    """Read a time in ISO 8601 as epoch ms; without a zone it is UTC."""
    problem = "must be a time like 2026-05-31T14:00:00Z"
    if not isinstance(value, str):
        raise DescriptionError(path, problem)
    try:
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return int(moment.astimezone(UTC).timestamp() * 1000)
    except (ValueError, OverflowError):
        raise DescriptionError(path, problem) from None
