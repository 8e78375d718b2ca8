"""What a latent promise asks of people: the JSON under ``human_task``, parsed and checked.

Pure: knows neither the database nor who the names belong to. Keys that mean nothing here are kept.
"""

import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec

KEY = "human_task"
TAG = "signoff:task"
SCHEMA = 1

MAX_BYTES = 64 * 1024
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
        self.title = ""


class Fact(NamedTuple):
    """One line of the table of facts; the value is any JSON."""

    label: str
    value: Any


@dataclass(frozen=True, slots=True)
class Description:
    """A question for people. ``due_at`` is epoch ms; ``raw`` is the whole JSON object."""

    title: str
    question: str = ""
    consequence: str = ""
    facts: tuple[Fact, ...] = ()
    users: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    due_at: int | None = None
    raw: Mapping[str, Any] = field(default_factory=dict)


def read_description(param_data: str | None, tags: Mapping[str, str]) -> Description | None:
    """Return what the promise says of itself; None when it says nothing to people.

    Raises ``DescriptionError`` when it tries to and breaks a rule.
    """
    if isinstance(payload := _decode_payload(param_data), dict) and KEY in payload:
        return parse_description(payload[KEY], path=KEY)
    if TAG not in tags:
        return None
    try:
        described = _decode_json(tags[TAG].encode())
    except ValueError as error:
        raise DescriptionError(TAG, f"is not JSON ({error})") from None
    if isinstance(described, dict) and KEY in described:
        return parse_description(described[KEY], path=f"{TAG}.{KEY}")
    return parse_description(described, path=TAG)


def parse_description(described: Any, *, path: str = KEY) -> Description:
    """Check a decoded description; raises ``DescriptionError`` that names the path."""
    _check_shape(described, path, depth=0)
    if len(msgspec.json.encode(described)) > MAX_BYTES:
        raise DescriptionError(path, f"is larger than {MAX_BYTES // 1024} KiB")
    source = _Source(_object(described, path), path)
    title = source.require("title", _title)
    try:
        return _parse(source, title)
    except DescriptionError as error:
        error.title = title
        raise


def _parse(source: "_Source", title: str) -> Description:
    source.require("schema", _schema)
    return Description(
        title=title,
        question=source.get("question", _text, ""),
        consequence=source.get("consequence", _text, ""),
        facts=source.get("facts", _facts, ()),
        users=source.get("users", _names, ()),
        groups=source.get("groups", _names, ()),
        due_at=source.get("due", _instant, None),
        raw=source.values,
    )


def _decode_payload(param_data: str | None) -> Any:
    """Decode base64 of JSON; whatever is not that describes nothing."""
    if not param_data:
        return None
    try:
        return _decode_json(base64.b64decode(param_data, validate=True))
    except (binascii.Error, ValueError):
        return None


def _decode_json(text: bytes) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(str(error)) from None


class _Source(NamedTuple):
    """The object with the path that leads to it; a null is as good as no entry."""

    values: Mapping[str, Any]
    path: str

    def require[T](self, key: str, read: Callable[[Any, str], T]) -> T:
        path = f"{self.path}.{key}"
        if self.values.get(key) is None:
            raise DescriptionError(path, "is missing")
        return read(self.values[key], path)

    def get[T](self, key: str, read: Callable[[Any, str], T], default: T) -> T:
        if self.values.get(key) is None:
            return default
        return read(self.values[key], f"{self.path}.{key}")


def _check_shape(value: Any, path: str, *, depth: int) -> None:
    """Refuse what a database or a page cannot hold."""
    if depth > MAX_DEPTH:
        raise DescriptionError(path, f"is nested more than {MAX_DEPTH} deep")
    match value:
        case str():
            if "\0" in value:
                raise DescriptionError(path, "contains a null character")
        case list():
            for index, one in enumerate(value):
                _check_shape(one, f"{path}[{index}]", depth=depth + 1)
        case dict():
            for key, one in value.items():
                _check_shape(key, path, depth=depth)
                _check_shape(one, f"{path}.{key}", depth=depth + 1)


def _object(value: Any, path: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise DescriptionError(path, "must be an object")
    return value


def _list(value: Any, path: str) -> list[Any]:
    if not isinstance(value, list):
        raise DescriptionError(path, "must be a list")
    if len(value) > MAX_ENTRIES:
        raise DescriptionError(path, f"has more than {MAX_ENTRIES} entries")
    return value


def _string(value: Any, path: str, limit: int) -> str:
    if not isinstance(value, str):
        raise DescriptionError(path, "must be text")
    if len(value) > limit:
        raise DescriptionError(path, f"is longer than {limit} characters")
    return value.strip()


def _named(value: Any, path: str, limit: int) -> str:
    if not (text := _string(value, path, limit)):
        raise DescriptionError(path, "is empty")
    return text


def _schema(value: Any, path: str) -> int:
    if value is True or value != SCHEMA:
        raise DescriptionError(path, f"must be {SCHEMA}")
    return SCHEMA


def _title(value: Any, path: str) -> str:
    return " ".join(_named(value, path, MAX_TITLE).split())


def _text(value: Any, path: str) -> str:
    return _string(value, path, MAX_TEXT)


def _names(value: Any, path: str) -> tuple[str, ...]:
    names = (
        _named(one, f"{path}[{index}]", MAX_NAME) for index, one in enumerate(_list(value, path))
    )
    return tuple(dict.fromkeys(names))


def _facts(value: Any, path: str) -> tuple[Fact, ...]:
    if isinstance(value, dict):
        if len(value) > MAX_ENTRIES:
            raise DescriptionError(path, f"has more than {MAX_ENTRIES} entries")
        return tuple(
            Fact(_named(label, f"{path}.{label}", MAX_TITLE), one) for label, one in value.items()
        )
    if not isinstance(value, list):
        raise DescriptionError(path, "must be an object or a list of [label, value]")
    return tuple(_fact(one, f"{path}[{index}]") for index, one in enumerate(_list(value, path)))


def _fact(value: Any, path: str) -> Fact:
    if not isinstance(value, list) or len(value) != 2:
        raise DescriptionError(path, "must be a pair [label, value]")
    return Fact(_named(value[0], f"{path}[0]", MAX_TITLE), value[1])


def _instant(value: Any, path: str) -> int:
    problem = "must be a time like 2026-05-31T14:00:00Z"
    if not isinstance(value, str):
        raise DescriptionError(path, problem)
    try:
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return int(moment.timestamp() * 1000)
    except (ValueError, OverflowError):
        raise DescriptionError(path, problem) from None
