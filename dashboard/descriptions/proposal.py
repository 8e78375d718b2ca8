"""Edit and approve: a value that is proposed, of which people may change some parts. Pure."""

import copy
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from msgspec import UNSET

from dashboard.descriptions.json_schema import (
    FORBIDDEN_KEY,
    checker_for,
    escape,
    find,
    has_key,
    split,
)
from dashboard.descriptions.nodes import (
    Group,
    Kind,
    Leaf,
    Node,
    Rows,
    count_inputs,
    count_values,
    words,
)
from dashboard.descriptions.reading import DescriptionError, Source, a_list, a_string, names
from dashboard.descriptions.schema import LONG, MAX_INPUTS, MAX_ROWS, read_part
from dashboard.masking import MASK, is_secret

KEY = "proposal"
MAX_POINTER = 500
MAX_TYPED = 4000
"""Of larger values only the outermost is kept to its type: checking the rest takes too long."""


class Change(NamedTuple):
    """A part of the proposal that is not as it was; UNSET where there is none."""

    pointer: str
    old: Any
    new: Any

    def as_json(self) -> dict[str, Any]:
        """Return it for the audit trail; what was not there has no entry."""
        sides = {"old": self.old, "new": self.new}
        return {"path": self.pointer} | {
            key: value for key, value in sides.items() if value is not UNSET
        }


class Row(NamedTuple):
    """A line of the table that shows both sides; UNSET where a side has none."""

    label: str
    old: Any
    new: Any

    @property
    def has_old(self) -> bool:
        """Whether there was something before."""
        return self.old is not UNSET

    @property
    def has_new(self) -> bool:
        """Whether there is something now."""
        return self.new is not UNSET


@dataclass(frozen=True, slots=True)
class Proposal:
    """A proposed value, and questions for the parts that may change, by JSON pointer."""

    value: Any
    editable: Mapping[str, Node]

    def edited(self, parts: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return what is handed back, with new values by pointer: always an object."""
        value = copy.deepcopy(self.value)
        for pointer, part in parts.items():
            value = _put(value, split(pointer), part)
        return value if isinstance(self.value, dict) else {KEY: value}

    def changes(self, values: Mapping[str, Any]) -> tuple[Change, ...]:
        """Return how what was handed back differs from what was proposed."""
        return difference(self.value, values if isinstance(self.value, dict) else values.get(KEY))

    def fixed(self, secrets: tuple[str, ...] = ()) -> tuple[Row, ...]:
        """Return the parts that stay as they are; what is secret is masked."""
        shown = [
            (pointer, MASK if is_secret(f"/{KEY}{pointer}", secrets) else value)
            for pointer, value in _leaves(self.value)
            if not any(_is_within(pointer, one) for one in self.editable)
        ]
        return tuple(Row(label_of(pointer), value, value) for pointer, value in shown)


def read_proposal(source: Source) -> Proposal | None:
    """Read ``proposal``, ``editable`` and ``form`` of a description; None without a proposal."""
    if source.values.get(KEY) is None:
        if source.values.get("editable") is not None:
            raise DescriptionError(source.at(KEY), "is missing, of which parts would be editable")
        return None
    value = source.values[KEY]
    if has_key(value, FORBIDDEN_KEY):
        raise DescriptionError(source.at(KEY), f"names {FORBIDDEN_KEY}")
    form = source.values.get("form")
    if isinstance(form, dict) and form.keys() in ({"django"}, {"pydantic"}):
        raise DescriptionError(source.at("form"), "must be a schema beside a proposal")
    schema = (form, source.at("form")) if isinstance(form, dict) else None
    pointers = source.require("editable", _pointers)
    nothing: tuple[str, ...] = ()
    secrets = source.get("secrets", names, nothing)
    editable = {}
    for index, pointer in enumerate(pointers):
        at = f"{source.at('editable')}[{index}]"
        _check_pointer(pointer, pointers, value, at)
        if any(
            is_secret(f"/{KEY}{one}", secrets)
            for one, _leaf in _leaves(find(value, pointer), pointer)
        ):
            raise DescriptionError(at, f"{pointer!r} is secret, so that nobody could edit it")
        editable[pointer] = _ask(schema, find(value, pointer), pointer)
    if sum(map(count_inputs, editable.values())) > MAX_INPUTS:
        editable = {
            pointer: _ask(schema, find(value, pointer), pointer, as_json=True)
            for pointer in pointers
        }
    return Proposal(value, editable)


def changes_of(
    proposal: Proposal | None, values: Mapping[str, Any], secrets: tuple[str, ...] = ()
) -> list[dict[str, Any]]:
    """Return what the audit trail keeps of an edited proposal; what is secret is masked."""
    if proposal is None or not values:
        return []
    return [
        {"path": one.pointer, "old": MASK, "new": MASK}
        if is_secret(f"/values{one.pointer}", secrets)
        else one.as_json()
        for one in proposal.changes(values)
    ]


def difference(old: Any, new: Any, pointer: str = "") -> tuple[Change, ...]:
    """Return where two values differ; 1, 1.0 and true are three values."""
    return tuple(_differences(old, new, pointer))


def side_by_side(changes: Iterable[Mapping[str, Any]]) -> tuple[Row, ...]:
    """Return changes, as the audit trail keeps them, as lines of a table."""
    return tuple(
        Row(label_of(one["path"]), one.get("old", UNSET), one.get("new", UNSET)) for one in changes
    )


def label_of(pointer: str) -> str:
    """Return a pointer as people read it: items count from one."""
    found = [str(int(key) + 1) if _is_index(key) else words(key) for key in split(pointer)]
    return " / ".join(found)


def _differences(old: Any, new: Any, pointer: str) -> Iterator[Change]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in [*old, *(key for key in new if key not in old)]:
            at = f"{pointer}/{escape(key)}"
            yield from _differences(old.get(key, UNSET), new.get(key, UNSET), at)
    elif isinstance(old, list) and isinstance(new, list):
        for index in range(max(len(old), len(new))):
            one = old[index] if index < len(old) else UNSET
            other = new[index] if index < len(new) else UNSET
            yield from _differences(one, other, f"{pointer}/{index}")
    elif type(old) is not type(new) or old != new:
        yield Change(pointer, old, new)


def _pointers(value: Any, path: str) -> tuple[str, ...]:
    given = a_list(value, path)
    if not given:
        raise DescriptionError(path, "is empty")
    for index, pointer in enumerate(given):
        # Not stripped: keys may begin and end with spaces.
        a_string(pointer, f"{path}[{index}]", MAX_POINTER)
    return tuple(given)


def _check_pointer(pointer: str, pointers: tuple[str, ...], value: Any, path: str) -> None:
    if pointer and not pointer.startswith("/"):
        raise DescriptionError(path, f"{pointer!r} must be a path like /lines/0/price")
    try:
        find(value, pointer)
    except LookupError:
        raise DescriptionError(path, f"{pointer!r} leads nowhere in the proposal") from None
    if pointers.count(pointer) > 1:
        raise DescriptionError(path, f"{pointer!r} is named twice")
    for other in pointers:
        if other != pointer and _is_within(pointer, other):
            raise DescriptionError(path, f"{pointer!r} lies within {other!r}")


def _ask(
    schema: tuple[Mapping[str, Any], str] | None,
    present: Any,
    pointer: str,
    *,
    as_json: bool = False,
) -> Node:
    """Return the question for a part: as the schema asks, else as the present value is."""
    label = label_of(pointer)
    node = None if schema is None else read_part(*schema, pointer, as_json=as_json)
    if node is None:
        return _json(present, label) if as_json else _node_of(present, label)
    if not as_json and _is_too_long(node, present):
        return _ask(schema, present, pointer, as_json=True)
    # It begins with the present value, and must be answered.
    is_needed = node.blank is UNSET
    return replace(_keeping(node), default=present, required=is_needed, label=node.label or label)


def _keeping(node: Node) -> Node:
    """Let a question, and all below it, hand back as it is what nobody changes."""
    if isinstance(node, Group):
        members = {key: _keeping(one) for key, one in node.members.items()}
        branches = tuple(
            replace(one, members={key: _keeping(part) for key, part in one.members.items()})
            for one in node.branches
        )
        return replace(node, keeps=True, members=members, branches=branches)
    if isinstance(node, Rows):
        return replace(node, keeps=True, item=_keeping(node.item))
    return replace(node, keeps=True)


def _is_too_long(node: Node, present: Any) -> bool:
    """Whether there is a list that has no room in rows."""
    if isinstance(node, Rows) and isinstance(present, list):
        return len(present) > MAX_ROWS or any(_is_too_long(node.item, one) for one in present)
    if isinstance(node, Group) and isinstance(present, dict):
        return any(
            _is_too_long(one, present[key]) for key, one in node.members.items() if key in present
        )
    return False


def _node_of(value: Any, label: str) -> Node:
    """Return the question for a value, so that the answer is of the same kind."""
    match value:
        case bool():
            return Leaf(kind=Kind.BOOLEAN, required=True, label=label, default=value)
        case int():
            return _leaf(Kind.INTEGER, value, label)
        case float():
            return _leaf(Kind.NUMBER, value, label)
        case str():
            kind = Kind.TEXT if len(value) > LONG // 2 or "\n" in value else Kind.LINE
            return Leaf(kind=kind, label=label, default=value, blank="", keeps=True)
        case dict() if value:
            members = {key: _node_of(one, words(key)) for key, one in value.items()}
            return Group(members=members, label=label, default=value, required=True)
        case list() if value:
            return _rows_of(value, label)
    return _json(value, label)


def _leaf(kind: Kind, value: Any, label: str) -> Leaf:
    return Leaf(kind=kind, label=label, default=value, required=True, keeps=True)


def _rows_of(value: list[Any], label: str) -> Node:
    """Ask for more or fewer items where all are alike, else for each as it is."""
    items = [_template(_node_of(one, "")) for one in value]
    if any(one != items[0] for one in items):
        items = [_widened(one) for one in items]
    if len(value) <= MAX_ROWS and all(one == items[0] for one in items):
        return Rows(item=items[0], most=MAX_ROWS, label=label, default=value, required=True)
    members = {str(index): _node_of(one, str(index + 1)) for index, one in enumerate(value)}
    return Group(members=members, is_list=True, label=label, default=value, required=True)


def _template(node: Node) -> Node:
    """Return a question without what it begins with."""
    if isinstance(node, Group):
        members = {key: _template(one) for key, one in node.members.items()}
        return replace(node, default=UNSET, members=members)
    return replace(node, default=UNSET)


def _widened(node: Node) -> Node:
    """Return a question that has room for long texts."""
    if isinstance(node, Group):
        return replace(node, members={key: _widened(one) for key, one in node.members.items()})
    if isinstance(node, Rows):
        return replace(node, item=_widened(node.item))
    if isinstance(node, Leaf) and node.kind is Kind.LINE:
        return replace(node, kind=Kind.TEXT)
    return node


def _json(value: Any, label: str) -> Leaf:
    """Ask for JSON: of the same kind, unless there is nothing yet."""
    checker = checker_for(_schema_of(value, is_deep=count_values(value) <= MAX_TYPED), KEY)
    return Leaf(
        kind=Kind.JSON, label=label, default=value, required=True, checker=checker, keeps=True
    )


def _schema_of(value: Any, *, is_deep: bool = True) -> dict[str, Any]:
    """Return a schema of what is of the same kind as a value, if wanted all the way down."""
    match value:
        case dict() if is_deep:
            properties = {key: _schema_of(one) for key, one in value.items()}
            return {"type": "object", "properties": properties, "required": [*properties]}
        case list() if is_deep and value:
            first, *others = map(_schema_of, value)
            return {"type": "array"} | (
                {"items": first} if all(one == first for one in others) else {}
            )
        case None:
            return {}
    return {"type": _TYPES[type(value)]}


_TYPES: Mapping[type, str] = {
    bool: "boolean", dict: "object", float: "number", int: "integer", list: "array", str: "string",
}  # fmt: skip


def _leaves(value: Any, pointer: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for key, one in value.items():
            yield from _leaves(one, f"{pointer}/{escape(key)}")
    elif isinstance(value, list) and value:
        for index, one in enumerate(value):
            yield from _leaves(one, f"{pointer}/{index}")
    else:
        yield pointer, value


def _put(value: Any, keys: list[str], part: Any) -> Any:
    """Put a part in its place; returns the whole."""
    if not keys:
        return part
    holder = find(value, "".join(f"/{escape(key)}" for key in keys[:-1]))
    holder[int(keys[-1]) if isinstance(holder, list) else keys[-1]] = part
    return value


def _is_within(pointer: str, other: str) -> bool:
    return pointer == other or pointer.startswith(f"{other}/")


def _is_index(key: str) -> bool:
    return key.isascii() and key.isdigit()
