"""Secret values: what is shown in their place, wherever a description or an answer is shown.

Paths are JSON pointers into the description, and into the answer's values below ``/values``. A path
to an object or a list covers all that is in it; ``*`` stands for every key.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

MASK = "••••••"
KEY = "human_task"
TAG = "signoff:task"


def mask(document: Any, secrets: Iterable[str]) -> Any:
    """Return a copy of a document with the values at the paths masked; others are the same."""
    for pointer in secrets:
        document = _masked(document, _parts(pointer))
    return document


def mask_description(description: Mapping[str, Any]) -> dict[str, Any]:
    """Return a description as it may be shown to anybody who sees the question."""
    masked: dict[str, Any] = mask(dict(description), secrets_of(description))
    return masked


def secrets_of(description: Any) -> tuple[str, ...]:
    """Return the paths that a description names, be it right or wrong."""
    given = description.get("secrets") if isinstance(description, Mapping) else None
    return tuple(one for one in given if isinstance(one, str)) if isinstance(given, list) else ()


def mask_payload(value: Any) -> Any:
    """Return a payload in which a description's secrets are masked, if it holds one."""
    if not (isinstance(value, dict) and isinstance(value.get(KEY), dict)):
        return value
    return {**value, KEY: mask_description(value[KEY])}


def mask_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Return the tags of a promise; of a description in one, secrets are masked."""
    if TAG not in tags:
        return dict(tags)
    try:
        described = json.loads(tags[TAG])
    except (ValueError, RecursionError):
        return {**tags, TAG: MASK}
    whole = mask_payload(described)
    if isinstance(whole, dict) and KEY not in whole:
        whole = mask_description(whole)
    return {**tags, TAG: json.dumps(whole, ensure_ascii=False)}


def is_secret(pointer: str, secrets: Iterable[str]) -> bool:
    """Whether a path, or one above it, is secret."""
    parts = _parts(pointer)
    return any(_covers(_parts(one), parts) for one in secrets)


def _parts(pointer: str) -> list[str]:
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]


def _covers(secret: list[str], path: list[str]) -> bool:
    return len(secret) <= len(path) and all(
        wanted in {"*", given} for wanted, given in zip(secret, path, strict=False)
    )


def _masked(value: Any, parts: list[str]) -> Any:
    if not parts:
        return MASK
    first, rest = parts[0], parts[1:]
    match value:
        case dict():
            return {
                key: _masked(one, rest) if first in {"*", key} else one
                for key, one in value.items()
            }
        case [[str(), _], *_] if first != "*" and not first.isdigit():  # facts as pairs
            return [_masked_pair(one, first, rest) for one in value]
        case list():
            return [
                _masked(one, rest) if first in {"*", str(place)} else one
                for place, one in enumerate(value)
            ]
        case _:
            return value


def _masked_pair(pair: Any, label: str, rest: list[str]) -> Any:
    if isinstance(pair, list) and len(pair) == 2 and pair[0] == label:
        return [pair[0], _masked(pair[1], rest)]
    return pair
