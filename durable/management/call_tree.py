"""The call tree of an execution as text."""

import base64
import binascii
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from msgspec import DecodeError, json

from durable.management.servers import Server
from durable.protocol import tags

_PAGE = 100

type Record = dict[str, Any]


def fetch_tree(server: Server, root: str) -> list[Record]:
    """Return every promise of the lineage of a root."""
    found: list[Record] = []
    cursor: str | None = None
    while True:
        search: dict[str, Any] = {"tags": {tags.ORIGIN: root}, "limit": _PAGE}
        if cursor is not None:
            search["cursor"] = cursor
        page = server.ask("promise.search", search)
        found += page["promises"]
        cursor = page.get("cursor")
        if cursor is None:
            return found


def draw(root: Record, records: list[Record]) -> Iterator[str]:
    """Yield the lines of a tree: the root, and what of its lineage is below it."""
    known = {record["id"] for record in records}
    children: defaultdict[str, list[Record]] = defaultdict(list)
    for record in sorted(records, key=lambda one: (one["createdAt"], one["id"])):
        parent = record["tags"].get(tags.PARENT, root["id"])
        if record["id"] not in {root["id"], parent}:
            children[parent if parent in known else root["id"]].append(record)
    yield _label(root)
    yield from _branches(children, root["id"], "", {root["id"]})


def _branches(
    children: dict[str, list[Record]], parent: str, indent: str, seen: set[str]
) -> Iterator[str]:
    below = [one for one in children.get(parent, []) if one["id"] not in seen]
    seen.update(one["id"] for one in below)
    for number, one in enumerate(below, 1):
        is_last = number == len(below)
        yield f"{indent}{'└── ' if is_last else '├── '}{_label(one)}"
        yield from _branches(children, one["id"], indent + ("    " if is_last else "│   "), seen)


def _label(record: Record) -> str:
    given = record["tags"]
    if given.get(tags.TIMER):
        what = "(sleep)"
    else:
        verb = "rpc" if given.get(tags.SCOPE) == tags.SCOPE_GLOBAL else "run"
        what = f"({verb} {_function(record)})".replace(" )", ")")
    return f"{record['id']} {what} {record['state']}"


def _function(record: Record) -> str:
    try:
        call = json.decode(base64.b64decode(record["param"].get("data", ""), validate=True))
    except (binascii.Error, DecodeError, UnicodeDecodeError):
        return ""
    name = call.get("func") if isinstance(call, dict) else None
    return name if isinstance(name, str) else ""
