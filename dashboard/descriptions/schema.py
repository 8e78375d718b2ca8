"""Reads a JSON Schema into a tree of questions. Pure.

What the tree has no question for becomes a field for JSON, checked against that part of the schema:
one property where it can be, else the whole form.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import msgspec
from msgspec import UNSET

from dashboard.descriptions.json_schema import (
    FORBIDDEN_KEY,
    Checker,
    checker_for,
    escape,
    find,
    has_key,
    reference_pointer,
    split,
)
from dashboard.descriptions.nodes import (
    Branch,
    Condition,
    Group,
    Kind,
    Leaf,
    Node,
    Option,
    Rows,
    count_inputs,
)
from dashboard.descriptions.reading import MAX_TEXT, DescriptionError

MAX_INPUTS = 300
MAX_ROWS = 100
MAX_PATTERN_TEXT = 1000
LONG = 200
"""Texts that may be longer than this get several lines."""

_ANNOTATIONS = {
    "$comment", "$defs", "$id", "$schema", "default", "definitions", "deprecated", "description",
    "examples", "readOnly", "title", "writeOnly",
}  # fmt: skip
_TEXT_RULES = {"minLength", "maxLength", "pattern"}
_NUMBER_RULES = {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}
_TEXT_KINDS = {
    None: Kind.LINE,
    "textarea": Kind.TEXT,
    "email": Kind.EMAIL,
    "uri": Kind.URI,
    "date": Kind.DATE,
    "date-time": Kind.INSTANT,
    "decimal": Kind.DECIMAL,
    "binary": Kind.FILE,
}
_FILE_KEYS = {"contentEncoding", "contentMediaType"}
_TIMES = {Kind.DATE, Kind.INSTANT}
_CONTROLLERS = {Kind.LINE, Kind.INTEGER, Kind.NUMBER, Kind.BOOLEAN, Kind.CHOICE, Kind.FIXED}


class _UnknownError(Exception):
    """There is no question for this part of the schema."""


@dataclass(frozen=True, slots=True)
class _Reader:
    root: Mapping[str, Any]
    checker: Checker
    path: str

    def read(self, pointer: str, *, required: bool, refs: tuple[str, ...] = ()) -> Node:
        """Return the question for a part of the schema; one for JSON when there is no other."""
        try:
            return self.know(pointer, required=required, refs=refs)
        except _UnknownError:
            return self.as_json(pointer, required=required)

    def know(self, pointer: str, *, required: bool, refs: tuple[str, ...] = ()) -> Node:
        """Return the question; raises ``_UnknownError`` when there is none."""
        schema = find(self.root, pointer)
        if not isinstance(schema, dict):
            raise _UnknownError
        if inner := self._through(schema, pointer):
            where, is_nullable = inner
            if where in refs:
                raise _UnknownError
            node = self.know(where, required=required, refs=(*refs, where))
            node = _outer(node, schema, is_nullable=is_nullable)
        else:
            node = self._know(schema, pointer, required=required, refs=refs)
        if isinstance(node, Leaf) and node.kind is not Kind.FILE:  # whose value is no text
            return replace(node, checker=self.checker, pointer=pointer)
        return node

    def as_json(self, pointer: str, *, required: bool) -> Leaf:
        """Return the field for JSON of a part of the schema."""
        schema = find(self.root, pointer)
        said = _said(schema) if isinstance(schema, dict) else {}
        return Leaf(
            kind=Kind.JSON, required=required, checker=self.checker, pointer=pointer, **said
        )

    def _through(self, schema: Mapping[str, Any], pointer: str) -> tuple[str, bool] | None:
        """Return where the schema really stands, and whether null is right as well."""
        keys = _keywords(schema)
        if keys == {"$ref"}:
            return reference_pointer(schema["$ref"]), False
        if keys == {"allOf"} and len(schema["allOf"]) == 1:
            return f"{pointer}/allOf/0", False
        for key in ("anyOf", "oneOf"):
            if keys == {key} and len(schema[key]) == 2:
                nulls = [one == {"type": "null"} for one in schema[key]]
                if nulls.count(True) == 1:
                    return f"{pointer}/{key}/{nulls.index(False)}", True
        return None

    def _know(
        self, schema: Mapping[str, Any], pointer: str, *, required: bool, refs: tuple[str, ...]
    ) -> Node:
        common = _said(schema) | {"required": required}
        if schema.get("readOnly") is True:
            return self._fixed(pointer, common)
        if "const" in schema:
            return self._const(schema, pointer, common)
        if options := self._options(schema, pointer):
            return _nullable(Leaf(kind=Kind.CHOICE, options=options, **common), has_null=False)
        kind, is_nullable = _type_of(schema)
        node = self._typed(kind, schema, pointer, common, refs)
        return _nullable(node, has_null=True) if is_nullable else node

    def _typed(
        self,
        kind: str,
        schema: Mapping[str, Any],
        pointer: str,
        common: dict[str, Any],
        refs: tuple[str, ...],
    ) -> Node:
        match kind:
            case "string":
                return _text(schema, common)
            case "integer":
                _allow(schema, _NUMBER_RULES)
                return Leaf(kind=Kind.INTEGER, rules=_rules(schema, _NUMBER_RULES), **common)
            case "number":
                _allow(schema, _NUMBER_RULES, formats={"decimal"})
                return Leaf(kind=Kind.NUMBER, rules=_rules(schema, _NUMBER_RULES), **common)
            case "boolean":
                _allow(schema, set())
                return Leaf(kind=Kind.BOOLEAN, **common)
            case "array":
                return self._array(schema, pointer, common, refs)
            case "object":
                return self._object(schema, pointer, common, refs)
        raise _UnknownError

    def _fixed(self, pointer: str, common: dict[str, Any]) -> Leaf:
        """Return what is shown and handed back, but not asked for."""
        default = common["default"]
        if default is UNSET and common["required"]:
            raise DescriptionError(self._at(pointer), "is readOnly and required without a default")
        if default is not UNSET and (problems := self.checker.problems(default, pointer)):
            raise DescriptionError(self._at(f"{pointer}/default"), problems[0].message)
        return Leaf(kind=Kind.FIXED, **common)

    def _const(self, schema: Mapping[str, Any], pointer: str, common: dict[str, Any]) -> Leaf:
        value = schema["const"]
        if self.checker.problems(value, pointer):
            raise _UnknownError
        if value is True:  # something to agree to
            return Leaf(kind=Kind.BOOLEAN, rules={"const": True}, **common)
        return Leaf(kind=Kind.FIXED, **common | {"default": value})

    def _options(self, schema: Mapping[str, Any], pointer: str) -> tuple[Option, ...]:
        """Return what can be chosen; empty when it is not a choice."""
        if isinstance(schema.get("enum"), list):
            found = [Option(one, option_label(one)) for one in schema["enum"]]
        elif _is_titled_choice(schema.get("oneOf")):
            found = [
                Option(one["const"], str(one.get("title", option_label(one["const"]))))
                for one in schema["oneOf"]
            ]
        else:
            return ()
        # Other keywords beside it may leave only some of them.
        right = tuple(one for one in found if not self.checker.problems(one.value, pointer))
        if not right or len({_encode(one.value) for one in right}) < len(right):
            raise _UnknownError
        return right

    def _array(
        self,
        schema: Mapping[str, Any],
        pointer: str,
        common: dict[str, Any],
        refs: tuple[str, ...],
    ) -> Node:
        _allow(schema, {"items", "minItems", "maxItems", "uniqueItems"})
        item = (
            self.know(f"{pointer}/items", required=True, refs=refs) if "items" in schema else None
        )
        if item is None:
            raise _UnknownError
        least = int(schema.get("minItems", 0))
        most = int(schema.get("maxItems", MAX_ROWS))
        if isinstance(item, Leaf) and item.kind is Kind.CHOICE and item.blank is UNSET:
            rules = {"minItems": least, "maxItems": most}
            return Leaf(kind=Kind.CHOICES, options=item.options, rules=rules, **common)
        default = common["default"]
        if least > MAX_ROWS or (isinstance(default, list) and len(default) > MAX_ROWS):
            raise _UnknownError
        is_unique = schema.get("uniqueItems") is True
        most = min(most, MAX_ROWS)
        return Rows(item=item, least=least, most=most, is_unique=is_unique, **common)

    def _object(
        self,
        schema: Mapping[str, Any],
        pointer: str,
        common: dict[str, Any],
        refs: tuple[str, ...],
    ) -> Group:
        _allow(
            schema,
            {"properties", "required", "additionalProperties", "if", "then", "else", "allOf"},
        )
        if not isinstance(schema.get("additionalProperties", True), bool):
            raise _UnknownError
        if not schema.get("properties"):
            raise _UnknownError
        members = self._members(schema, pointer, refs)
        branches = tuple(self._branches(schema, pointer, members, refs))
        is_closed = schema.get("additionalProperties") is False
        if is_closed and any(branch.members for branch in branches):
            raise _UnknownError
        known = members.keys() | {name for branch in branches for name in branch.members}
        wanted = set(schema.get("required", ())).union(*(one.required for one in branches))
        if not wanted <= known:
            raise _UnknownError
        return Group(members=members, branches=branches, **common)

    def _members(
        self, schema: Mapping[str, Any], pointer: str, refs: tuple[str, ...]
    ) -> dict[str, Node]:
        required = set(schema.get("required", ()))
        if FORBIDDEN_KEY in schema.get("properties", {}):
            raise DescriptionError(self._at(f"{pointer}/properties"), f"names {FORBIDDEN_KEY}")
        return {
            name: self.read(
                f"{pointer}/properties/{escape(name)}", required=name in required, refs=refs
            )
            for name in schema.get("properties", {})
        }

    def _branches(
        self,
        schema: Mapping[str, Any],
        pointer: str,
        members: Mapping[str, Node],
        refs: tuple[str, ...],
    ) -> Iterable[Branch]:
        places = [pointer] if "if" in schema else []
        places += [f"{pointer}/allOf/{index}" for index in range(len(schema.get("allOf", ())))]
        if "if" not in schema and schema.keys() & {"then", "else"}:
            raise _UnknownError
        taken = set(members)
        for place in places:
            part = find(self.root, place)
            if place != pointer and not (
                isinstance(part, dict) and "if" in part and part.keys() <= {"if", "then", "else"}
            ):
                raise _UnknownError
            condition = _condition(part["if"], members)
            for key, wanted in (("then", True), ("else", False)):
                if key in part:
                    branch = self._branch(f"{place}/{key}", condition, refs, wanted=wanted)
                    if taken & branch.members.keys():
                        raise _UnknownError
                    taken |= branch.members.keys()
                    yield branch

    def _branch(
        self, pointer: str, condition: Condition, refs: tuple[str, ...], *, wanted: bool
    ) -> Branch:
        schema = find(self.root, pointer)
        if not isinstance(schema, dict):
            raise _UnknownError
        _allow(schema, {"type", "properties", "required"})
        if schema.get("type", "object") != "object":
            raise _UnknownError
        return Branch(
            condition=condition,
            wanted=wanted,
            members=self._members(schema, pointer, refs),
            required=frozenset(schema.get("required", ())),
        )

    def _at(self, pointer: str) -> str:
        return self.path + "".join(f".{key}" for key in split(pointer))


def read_schema(schema: Mapping[str, Any], path: str) -> Node:
    """Return the questions of a JSON Schema for an object; raises ``DescriptionError``."""
    return _read(msgspec.json.encode(schema), path, "", is_root=True)


def read_part(
    schema: Mapping[str, Any], path: str, pointer: str, *, as_json: bool = False
) -> Node | None:
    """Return the questions for what a pointer leads to in a value; None when nothing is said.

    ``as_json`` asks for all of it in one field.
    """
    where = ""
    for key in split(pointer):
        where = _resolve(schema, where)
        part = find(schema, where)
        named = part.get("properties", {}) if isinstance(part, dict) else {}
        if key in named:
            where = f"{where}/properties/{escape(key)}"
        elif isinstance(part, dict) and key.isdigit() and isinstance(part.get("items"), dict):
            where = f"{where}/items"
        else:
            return None
    return _read(msgspec.json.encode(schema), path, where, is_root=False, as_json=as_json)


@lru_cache(maxsize=256)
def _read(encoded: bytes, path: str, pointer: str, *, is_root: bool, as_json: bool = False) -> Node:
    schema = msgspec.json.decode(encoded)
    reader = _Reader(schema, checker_for(schema, path), path)
    if is_root and not _may_be_object(schema):
        at = f"{path}.type"
        raise DescriptionError(at, "must be object")
    if has_key(schema, FORBIDDEN_KEY):
        raise DescriptionError(path, f"names {FORBIDDEN_KEY}")
    node = reader.read(pointer, required=True)
    if as_json or count_inputs(node) > MAX_INPUTS:
        return reader.as_json(pointer, required=True)
    return node


def option_label(value: Any) -> str:
    """Return what a choice is called that has no title."""
    return value if isinstance(value, str) else _encode(value)


def option_keys(options: Iterable[Option]) -> dict[str, Any]:
    """Return values by what a form sends for them: text as it is, the rest as JSON."""
    values = [one.value for one in options]
    others = {_encode(one) for one in values if not isinstance(one, str)}
    return {
        one if isinstance(one, str) and one and one not in others else _encode(one): one
        for one in values
    }


def _encode(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _may_be_object(schema: Mapping[str, Any]) -> bool:
    kind = schema.get("type", "object")
    return kind == "object" or (isinstance(kind, list) and "object" in kind)


def _resolve(schema: Mapping[str, Any], pointer: str) -> str:
    seen: set[str] = set()
    while isinstance(part := find(schema, pointer), dict) and "$ref" in part:
        if pointer in seen:
            break
        seen.add(pointer)
        pointer = reference_pointer(part["$ref"])
    return pointer


def _keywords(schema: Mapping[str, Any]) -> set[str]:
    """Return the keywords that say what is right."""
    return {key for key in schema if key not in _ANNOTATIONS and not key.startswith("x-")}


def _allow(schema: Mapping[str, Any], known: set[str], formats: Iterable[str] = ()) -> None:
    if _keywords(schema) - known - {"type", "format"}:
        raise _UnknownError
    if "format" in schema and schema["format"] not in formats:
        raise _UnknownError


def _said(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a schema says to people."""
    title, text = schema.get("title", ""), schema.get("description", "")
    return {"label": str(title), "help": str(text), "default": schema.get("default", UNSET)}


def _outer(node: Node, schema: Mapping[str, Any], *, is_nullable: bool) -> Node:
    """Lay what is said around a reference over what is said there."""
    if schema.get("readOnly") is True:
        raise _UnknownError
    said = _said(schema)
    told = {key: said[key] or getattr(node, key) for key in ("label", "help")}
    default = node.default if said["default"] is UNSET else said["default"]
    node = replace(node, default=default, **told)
    return _nullable(node, has_null=True) if is_nullable else node


def _nullable(node: Node, *, has_null: bool) -> Node:
    """Let a question be left empty, for null where it must be there."""
    if isinstance(node, Leaf) and node.kind is Kind.CHOICE:
        rest = tuple(one for one in node.options if one.value is not None)
        if not has_null and len(rest) == len(node.options):
            return node
        node = replace(node, options=rest)
    elif not isinstance(node, Leaf) or node.kind in {Kind.BOOLEAN, Kind.CHOICES}:
        raise _UnknownError
    return replace(node, blank=None if node.required else UNSET, required=False)


def _is_titled_choice(ways: Any) -> bool:
    return (
        isinstance(ways, list)
        and bool(ways)
        and all(
            isinstance(one, dict)
            and "const" in one
            and one.keys() <= {"const", "title", "description"}
            for one in ways
        )
    )


def _type_of(schema: Mapping[str, Any]) -> tuple[str, bool]:
    kind = schema.get("type")
    if isinstance(kind, list):
        rest = [one for one in kind if one != "null"]
        if len(rest) != 1:
            raise _UnknownError
        return rest[0], "null" in kind
    if isinstance(kind, str):
        return kind, False
    if "properties" in schema:
        return "object", False
    raise _UnknownError


def _text(schema: Mapping[str, Any], common: dict[str, Any]) -> Leaf:
    if schema.get("contentEncoding") == "base64" and "format" not in schema:
        schema = {**schema, "format": "binary"}
    known = schema.get("format")
    if known not in _TEXT_KINDS:
        raise _UnknownError
    kind = _TEXT_KINDS[known]
    if kind is Kind.FILE:
        _allow(schema, _FILE_KEYS, formats={"binary"})
        if schema.get("contentEncoding", "base64") != "base64":
            raise _UnknownError
        return Leaf(kind=kind, accept=str(schema.get("contentMediaType", "")), **common)
    allowed = _TEXT_RULES | (_NUMBER_RULES if kind is Kind.DECIMAL else set())
    _allow(schema, set() if kind in _TIMES else allowed, formats={known} if known else ())
    rules = _rules(schema, allowed)
    longest = MAX_PATTERN_TEXT if "pattern" in rules else MAX_TEXT
    rules["maxLength"] = min(rules.get("maxLength", longest), longest)
    if kind is Kind.LINE and schema.get("maxLength", 0) > LONG:
        kind = Kind.TEXT
    if kind in {Kind.LINE, Kind.TEXT} and schema.get("minLength") == 0:
        common = common | {"blank": "" if common["required"] else UNSET, "required": False}
    return Leaf(kind=kind, rules=rules, **common)


def _rules(schema: Mapping[str, Any], known: set[str]) -> dict[str, Any]:
    return {key: schema[key] for key in schema if key in known}


def _condition(schema: Any, members: Mapping[str, Node]) -> Condition:
    """Read an ``if``: values that members of the same object have."""
    if not isinstance(schema, dict):
        raise _UnknownError
    _allow(schema, {"type", "properties", "required"})
    values = {}
    for name, part in schema.get("properties", {}).items():
        if not isinstance(part, dict) or _keywords(part) not in ({"const"}, {"enum"}):
            raise _UnknownError
        values[name] = (part["const"],) if "const" in part else tuple(part["enum"])
    present = frozenset(schema.get("required", ()))
    for name in present | values.keys():
        asked = members.get(name)
        if (
            not isinstance(asked, Leaf)
            or asked.kind not in _CONTROLLERS
            or asked.blank is not UNSET
        ):
            raise _UnknownError
    if any(not isinstance(one, str | int | float) for wanted in values.values() for one in wanted):
        raise _UnknownError
    return Condition(values, present)
