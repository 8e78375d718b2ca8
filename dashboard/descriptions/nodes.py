"""What a form is made of: a tree of questions, each for one JSON value. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

from msgspec import UNSET

from dashboard.descriptions.json_schema import Checker


class Kind(StrEnum):
    """How one value is asked for."""

    LINE = "line"
    TEXT = "text"
    INTEGER = "integer"
    NUMBER = "number"
    DECIMAL = "decimal"
    BOOLEAN = "boolean"
    DATE = "date"
    INSTANT = "instant"
    EMAIL = "email"
    URI = "uri"
    FILE = "file"
    CHOICE = "choice"
    CHOICES = "choices"
    JSON = "json"
    FIXED = "fixed"


class Option(NamedTuple):
    """One of several values to choose from."""

    value: Any
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """What all questions have.

    label: in place of the name; empty for the name itself.
    required: whether it must be answered when what it belongs to is.
    blank: the value when it is left empty; UNSET leaves it out.
    default: what it begins with; UNSET for nothing.
    keeps: whether what is there and not changed is handed back as it is, to the last digit.
    """

    label: str = ""
    help: str = ""
    required: bool = False
    blank: Any = UNSET
    default: Any = UNSET
    keeps: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf(Node):
    """A question with one input.

    rules: keywords of JSON Schema with their limits.
    options: of choices.
    accept: media type of a file.
    checker, pointer: the part of a schema that JSON is checked against, and what is kept.
    """

    kind: Kind
    rules: Mapping[str, Any] = field(default_factory=dict)
    options: tuple[Option, ...] = ()
    accept: str = ""
    checker: Checker | None = None
    pointer: str = ""


class Condition(NamedTuple):
    """What makes an ``if`` hold: values of the same object, and names that must be there."""

    values: Mapping[str, tuple[Any, ...]]
    present: frozenset[str]

    def only(self, name: str) -> "Condition":
        """Return what it asks of one member."""
        values = {key: wanted for key, wanted in self.values.items() if key == name}
        return Condition(values, self.present & {name})

    def holds(self, found: Mapping[str, Any]) -> bool:
        """Say whether it holds for an object."""
        if not self.present <= found.keys():
            return False
        return all(
            any(is_same(found[name], one) for one in wanted)
            for name, wanted in self.values.items()
            if name in found
        )


@dataclass(frozen=True, slots=True)
class Branch:
    """What a condition brings: further members, and names that become required.

    wanted: whether the condition has to hold, or has to fail.
    """

    condition: Condition
    wanted: bool
    members: Mapping[str, Node]
    required: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Group(Node):
    """An object: a question for each member. With ``is_list`` a list of a length that stays."""

    members: Mapping[str, Node]
    branches: tuple[Branch, ...] = ()
    is_list: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows(Node):
    """A list of as many items as people add."""

    item: Node
    least: int = 0
    most: int
    is_unique: bool = False


def is_same(one: Any, other: Any) -> bool:
    """Say whether two JSON values are equal: 1 and 1.0 are, 1 and true are not."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(is_same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(is_same(one[key], other[key]) for key in one)
    return bool(one == other)


def count_inputs(node: Node) -> int:
    """Return how many inputs a question begins with, about."""
    if isinstance(node, Group):
        branched = [one for branch in node.branches for one in branch.members.values()]
        return 1 + sum(map(count_inputs, [*node.members.values(), *branched]))
    if isinstance(node, Rows):
        return 1 + max(max(1, node.least) * count_inputs(node.item), count_values(node.default))
    return 1


def count_values(value: Any) -> int:
    """Return of how many parts a value is made."""
    if isinstance(value, dict):
        return 1 + sum(map(count_values, value.values()))
    if isinstance(value, list):
        return 1 + sum(map(count_values, value))
    return 1


def words(key: str) -> str:
    """Return a name as people read it."""
    text = " ".join(key.replace("_", " ").replace("-", " ").split())
    return text[:1].upper() + text[1:]
