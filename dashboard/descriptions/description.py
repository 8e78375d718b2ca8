"""What a latent promise asks of people: the JSON under ``human_task``, parsed and checked.

Pure: knows neither the database nor who the names belong to. Keys that mean nothing here are kept.
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec

from dashboard.descriptions.reading import (
    MAX_ENTRIES,
    MAX_TITLE,
    DescriptionError,
    Source,
    a_list,
    a_name,
    a_text,
    an_instant,
    an_object,
    check_shape,
    names,
)

KEY = "human_task"
TAG = "signoff:task"
SCHEMA = 1

MAX_BYTES = 64 * 1024


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
    check_shape(described, path)
    if len(msgspec.json.encode(described)) > MAX_BYTES:
        raise DescriptionError(path, f"is larger than {MAX_BYTES // 1024} KiB")
    source = Source(an_object(described, path), path)
    title = source.require("title", _title)
    try:
        return _parse(source, title)
    except DescriptionError as error:
        error.title = title
        raise


def _parse(source: Source, title: str) -> Description:
    source.require("schema", _schema)
    return Description(
        title=title,
        question=source.get("question", a_text, ""),
        consequence=source.get("consequence", a_text, ""),
        facts=source.get("facts", _facts, ()),
        users=source.get("users", names, ()),
        groups=source.get("groups", names, ()),
        due_at=source.get("due", an_instant, None),
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


def _schema(value: Any, path: str) -> int:
    if value is True or value != SCHEMA:
        raise DescriptionError(path, f"must be {SCHEMA}")
    return SCHEMA


def _title(value: Any, path: str) -> str:
    return " ".join(a_name(value, path, MAX_TITLE).split())


def _facts(value: Any, path: str) -> tuple[Fact, ...]:
    if isinstance(value, dict):
        if len(value) > MAX_ENTRIES:
            raise DescriptionError(path, f"has more than {MAX_ENTRIES} entries")
        return tuple(
            Fact(a_name(label, f"{path}.{label}", MAX_TITLE), one) for label, one in value.items()
        )
    if not isinstance(value, list):
        raise DescriptionError(path, "must be an object or a list of [label, value]")
    return tuple(_fact(one, f"{path}[{index}]") for index, one in enumerate(a_list(value, path)))


def _fact(value: Any, path: str) -> Fact:
    if not isinstance(value, list) or len(value) != 2:
        raise DescriptionError(path, "must be a pair [label, value]")
    return Fact(a_name(value[0], f"{path}[0]", MAX_TITLE), value[1])
