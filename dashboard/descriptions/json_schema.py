"""Checks values against any JSON Schema, without reaching out and without running for ever. Pure.

The work is done by ``jsonschema``; what it would fetch, backtrack over or take no notice of is
refused when the schema is read.
"""

from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from decimal import Decimal, DecimalException
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import quote, unquote

import msgspec
from jsonschema import FormatChecker, validators
from jsonschema.exceptions import SchemaError, ValidationError
from jsonschema.protocols import Validator
from referencing import Registry, Resource
from referencing.jsonschema import specification_with

from dashboard.descriptions.formats import FORMATS
from dashboard.descriptions.patterns import PatternError, compile_pattern
from dashboard.descriptions.reading import DescriptionError

FORBIDDEN_KEY = "__py_pickle"
"""Python SDK workers would unpickle what stands under it."""

OWN_FORMATS = frozenset({"binary", "decimal", "textarea"})
"""Ways to show a field, which say nothing of the value."""

MAX_WORK = 50_000
MAX_PROBLEMS = 10
_NO_DRAFT: Any = object()
_DRAFT = "https://json-schema.org/draft/2020-12/schema"
_ROOT = "urn:signoff:form"
_REFUSED = {
    "$anchor": "is not supported; refer by path, as in #/$defs/Name",
    "$dynamicRef": "is not supported; refer by path, as in #/$defs/Name",
    "$dynamicAnchor": "is not supported; refer by path, as in #/$defs/Name",
    "$recursiveRef": "is not supported; refer by path, as in #/$defs/Name",
    "$recursiveAnchor": "is not supported; refer by path, as in #/$defs/Name",
}
_HOLDS_SCHEMAS = frozenset(
    ["properties", "patternProperties", "$defs", "definitions", "dependentSchemas", "dependencies"]
)
_HOLDS_VALUES = {"const", "enum", "default", "examples"}
_unevaluated = {"unevaluatedProperties", "patternProperties"}

_FORMAT_CHECKER = FormatChecker(formats=())
for _name, _check in FORMATS.items():
    _FORMAT_CHECKER.checks(_name, ValueError)(_check)

_work_left: ContextVar[int] = ContextVar("_work_left")


class TooMuchWorkError(Exception):
    """Checking a value takes too long."""


class Problem(NamedTuple):
    """What is wrong with a value, and at which JSON pointer."""

    pointer: str
    message: str


class Checker:
    """Checks values against a schema, or against a part of it."""

    def __init__(self, schema: Mapping[str, Any], path: str) -> None:
        """Check the schema itself; raises ``DescriptionError``."""
        self._class = _class_of(schema, path)
        try:
            # The protocol leaves out that an own format checker may be given.
            checked: Any = self._class
            checked.check_schema(dict(schema), format_checker=_FORMAT_CHECKER)
        except SchemaError as error:
            at = path + "".join(f".{part}" for part in error.absolute_path)
            raise DescriptionError(at, _shorten(error.message)) from None
        contents = {key: value for key, value in schema.items() if key not in {"$id", "$schema"}}
        _check_parts(contents, contents, path)
        draft = specification_with(str(schema.get("$schema", _DRAFT)))
        self._registry: Registry[Any] = Registry().with_resource(
            _ROOT, Resource.from_contents(contents, default_specification=draft)
        )

    def problems(self, value: Any, pointer: str = "") -> list[Problem]:
        """Return what is wrong with a value by the part of the schema at a pointer."""
        checker = self._class(
            {"$ref": f"{_ROOT}#{quote(pointer)}"},
            registry=self._registry,
            format_checker=_FORMAT_CHECKER,
        )
        token = _work_left.set(MAX_WORK)
        try:
            found = []
            for error in checker.iter_errors(value):
                found.append(Problem(to_pointer(error.absolute_path), _shorten(error.message)))
                if len(found) == MAX_PROBLEMS:
                    break
        except (TooMuchWorkError, RecursionError):
            return [Problem("", "too large to be checked")]
        finally:
            _work_left.reset(token)
        return found


@lru_cache(maxsize=64)
def _checker(encoded: bytes, path: str) -> Checker:
    return Checker(msgspec.json.decode(encoded), path)


def checker_for(schema: Mapping[str, Any], path: str) -> Checker:
    """Return the checker of a schema, made once; raises ``DescriptionError``."""
    return _checker(msgspec.json.encode(schema), path)


def to_pointer(keys: Any) -> str:
    """Return a JSON pointer of keys and indexes."""
    return "".join(f"/{escape(str(key))}" for key in keys)


def escape(key: str) -> str:
    """Return a key as part of a JSON pointer."""
    return key.replace("~", "~0").replace("/", "~1")


def split(pointer: str) -> list[str]:
    """Return the keys that a JSON pointer leads through."""
    return [key.replace("~1", "/").replace("~0", "~") for key in pointer.split("/")[1:]]


def reference_pointer(reference: str) -> str:
    """Return the JSON pointer of a ``$ref`` within the schema."""
    return unquote(reference.removeprefix("#"))


def has_key(value: Any, key: str) -> bool:
    """Say whether a key is anywhere in a value."""
    match value:
        case dict():
            return key in value or any(has_key(one, key) for one in value.values())
        case list():
            return any(has_key(one, key) for one in value)
    return False


def find(document: Any, pointer: str) -> Any:
    """Return what a JSON pointer leads to; raises ``LookupError``."""
    for key in split(pointer):
        match document:
            case dict():
                document = document[key]
            case list() if key.isascii() and key.isdigit():
                document = document[int(key)]
            case _:
                raise LookupError(pointer)
    return document


def _class_of(schema: Mapping[str, Any], path: str) -> type[Validator]:
    named = schema.get("$schema", _DRAFT)
    found = validators.validator_for({"$schema": named}, default=_NO_DRAFT)
    if found is _NO_DRAFT:
        raise DescriptionError(_at(path, "$schema"), f"{named!r} is not a known JSON Schema draft")
    return _bounded(found)


@lru_cache
def _bounded(draft: type[Validator]) -> type[Validator]:
    """Return the validator of a draft that counts its work and matches patterns in our own way."""
    keywords = {name: _counted(check) for name, check in draft.VALIDATORS.items()}
    keywords |= {
        "pattern": _pattern,
        "patternProperties": _pattern_properties,
        "additionalProperties": _additional_properties(keywords["additionalProperties"]),
        "uniqueItems": _unique_items(keywords["uniqueItems"]),
        "multipleOf": _multiple_of,
    }
    bounded: type[Validator] = validators.extend(draft, keywords)  # type: ignore[no-untyped-call]
    return bounded


def _spend(work: int) -> None:
    left = _work_left.get(MAX_WORK) - work
    if left < 0:
        raise TooMuchWorkError
    _work_left.set(left)


def _counted(check: Callable[..., Any]) -> Callable[..., Any]:
    def counted(validator: Any, rule: Any, value: Any, schema: Any) -> Any:
        _spend(1)
        return check(validator, rule, value, schema)

    return counted


def _matches(pattern: str, text: str) -> bool:
    compiled = compile_pattern(pattern)
    _spend(1 + compiled.cost(text) // 10)
    return compiled.search(text)


def _pattern(_validator: Any, pattern: str, value: Any, _schema: Any) -> Iterator[ValidationError]:
    if isinstance(value, str) and not _matches(pattern, value):
        yield ValidationError(f"{value!r} does not match {pattern!r}")


def _pattern_properties(
    validator: Any, patterns: Mapping[str, Any], value: Any, _schema: Any
) -> Iterator[ValidationError]:
    if not isinstance(value, dict):
        return
    for pattern, schema in patterns.items():
        for key, one in value.items():
            if _matches(pattern, key):
                yield from validator.descend(one, schema, path=key, schema_path=pattern)


def _additional_properties(check: Callable[..., Any]) -> Callable[..., Any]:
    def additional(validator: Any, rule: Any, value: Any, schema: Any) -> Any:
        patterns = schema.get("patternProperties")
        if not patterns or not isinstance(value, dict):
            return check(validator, rule, value, schema)
        rest = {
            key: one
            for key, one in value.items()
            if not any(_matches(pattern, key) for pattern in patterns)
        }
        known = {key: one for key, one in schema.items() if key != "patternProperties"}
        return check(validator, rule, rest, known)

    return additional


def _unique_items(check: Callable[..., Any]) -> Callable[..., Any]:
    def unique(validator: Any, rule: Any, value: Any, schema: Any) -> Any:
        if isinstance(value, list):
            _spend(len(value) ** 2 // 10)
        return check(validator, rule, value, schema)

    return unique


def _multiple_of(_validator: Any, step: Any, value: Any, _schema: Any) -> Iterator[ValidationError]:
    if isinstance(value, int | float) and not isinstance(value, bool):
        _spend(1)
        if not is_multiple(value, step):
            yield ValidationError(f"{value!r} is not a multiple of {step!r}")


def is_multiple(value: Any, step: Any) -> bool:
    """Say whether a number is a multiple, as people count: 0.3 is one of 0.1."""
    try:
        return not Decimal(str(value)) % Decimal(str(step))
    except DecimalException:  # more digits than can be said
        return False


def _check_parts(schema: Any, root: Mapping[str, Any], path: str) -> None:
    """Refuse what cannot be checked, anywhere in a schema."""
    if isinstance(schema, list):
        for index, one in enumerate(schema):
            _check_parts(one, root, f"{path}[{index}]")
    if not isinstance(schema, dict):
        return
    _check_keywords(schema, root, path)
    for key, inside in schema.items():
        if key in _HOLDS_VALUES:
            continue
        if key in _HOLDS_SCHEMAS and isinstance(inside, dict):
            for name, one in inside.items():
                _check_parts(one, root, f"{path}.{key}.{name}")
        else:
            _check_parts(inside, root, f"{path}.{key}")


def _check_keywords(schema: Mapping[str, Any], root: Mapping[str, Any], path: str) -> None:
    for key, problem in _REFUSED.items():
        if key in schema:
            raise DescriptionError(_at(path, key), problem)
    for key in ("$id", "$schema"):
        if key in schema:
            raise DescriptionError(_at(path, key), "may only stand at the top")
    if schema.keys() >= _unevaluated:
        raise DescriptionError(
            _at(path, "unevaluatedProperties"), "does not go together with patternProperties"
        )
    if isinstance(schema.get("$ref"), str):
        _check_reference(schema["$ref"], root, f"{path}.$ref")
    if isinstance(known := schema.get("format"), str) and known not in FORMATS.keys() | OWN_FORMATS:
        raise DescriptionError(_at(path, "format"), f"{known!r} cannot be checked")
    _check_patterns(schema, path)


def _check_patterns(schema: Mapping[str, Any], path: str) -> None:
    if isinstance(schema.get("pattern"), str):
        check_pattern(schema["pattern"], f"{path}.pattern")
    if isinstance(patterns := schema.get("patternProperties"), dict):
        for pattern in patterns:
            check_pattern(pattern, f"{path}.patternProperties")


def check_pattern(pattern: str, path: str) -> None:
    """Refuse a pattern that the engine does not know; raises ``DescriptionError``."""
    try:
        compile_pattern(pattern)
    except PatternError as error:
        raise DescriptionError(path, f"{pattern[:60]!r} {error}") from None


def _check_reference(reference: str, root: Mapping[str, Any], path: str) -> None:
    if reference != "#" and not reference.startswith("#/"):
        raise DescriptionError(path, "must begin with #/: nothing is fetched from elsewhere")
    try:
        found = find(root, reference_pointer(reference))
    except LookupError:
        raise DescriptionError(path, f"{reference!r} leads nowhere") from None
    if not isinstance(found, dict | bool):
        raise DescriptionError(path, f"{reference!r} leads to no schema")


def _at(path: str, key: str) -> str:
    return f"{path}.{key}"


def _shorten(message: str) -> str:
    return message if len(message) <= 200 else f"{message[:199]}…"
