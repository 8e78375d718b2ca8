"""What an event of a webhook means: which promise it settles, or what it starts. Pure.

A mapping is JSON, see docs/webhooks.md; mistakes in it are ``DescriptionError`` with their path.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

from dashboard.descriptions.reading import (
    DescriptionError,
    Source,
    a_list,
    a_name,
    an_object,
    check_shape,
    one_of,
)
from dashboard.webhooks.paths import MISSING, Event, MissingError, Path, Template

MAX_DEPTH = 8
LITERAL = "literal"


class Outcome(StrEnum):
    """What an event leads to."""

    RESOLVE = "resolve"
    REJECT = "reject"
    START = "start"
    IGNORE = "ignore"


@dataclass(frozen=True, slots=True)
class Settle:
    """A promise that an event settles; ``reason`` is the message of a rejection."""

    promise_id: str
    outcome: Outcome
    value: Any = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Start:
    """An execution that an event starts; without ``target`` the function's own group runs it."""

    execution_id: str
    function: str
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    target: str = ""


type Plan = Settle | Start | None
"""None: the event is of no interest."""

type Build = Callable[[Event], Any]


class UnmappedError(ValueError):
    """The event is of interest, but lacks what the mapping needs."""


class _Rule(NamedTuple):
    when: tuple[tuple[Path, tuple[Any, ...]], ...]
    outcome: Outcome
    reason: Template

    def matches(self, event: Event) -> bool:
        return all(
            any(_is_same(path.find(event), one) for one in wanted) for path, wanted in self.when
        )


@dataclass(frozen=True, slots=True)
class SettleMapping:
    """Reads events as answers to promises."""

    promise_id: Template
    rules: tuple[_Rule, ...]
    value: Build

    def plan(self, event: Event) -> Plan:
        """Say what an event does; raises ``UnmappedError``."""
        rule = _first(self.rules, event)
        if rule is None:
            return None
        try:
            promise_id, reason = self.promise_id.render(event), rule.reason.render(event)
        except MissingError as error:
            raise UnmappedError(str(error)) from None
        return Settle(promise_id, rule.outcome, self.value(event), reason)


@dataclass(frozen=True, slots=True)
class StartMapping:
    """Reads events as calls of a function."""

    execution_id: Template
    function: str
    rules: tuple[_Rule, ...]
    args: tuple[Build, ...]
    kwargs: Mapping[str, Build]
    target: str

    def plan(self, event: Event) -> Plan:
        """Say what an event does; raises ``UnmappedError``."""
        if _first(self.rules, event) is None:
            return None
        try:
            execution_id = self.execution_id.render(event)
        except MissingError as error:
            raise UnmappedError(str(error)) from None
        args = tuple(build(event) for build in self.args)
        kwargs = {name: build(event) for name, build in self.kwargs.items()}
        return Start(execution_id, self.function, args, kwargs, self.target)


def read_settle(value: Any, path: str) -> SettleMapping:
    """Read the mapping of an endpoint that settles."""
    source = _source(value, path, "promise_id", "outcome", "value")
    return SettleMapping(
        promise_id=source.require("promise_id", _id_template),
        rules=source.require("outcome", _rules_for(Outcome.RESOLVE, Outcome.REJECT)),
        value=_builder(value.get("value", ""), source.at("value")),
    )


def read_start(value: Any, path: str) -> StartMapping:
    """Read the mapping of an endpoint that starts."""
    source = _source(value, path, "function", "execution_id", "args", "kwargs", "target", "outcome")
    always = (_Rule((), Outcome.START, Template.read("", path)),)
    return StartMapping(
        execution_id=source.require("execution_id", _id_template),
        function=source.require("function", a_name),
        rules=source.get("outcome", _rules_for(Outcome.START), always),
        args=source.get("args", _args, ()),
        kwargs=source.get("kwargs", _kwargs, {}),
        target=source.get("target", a_name, ""),
    )


def _source(value: Any, path: str, *known: str) -> Source:
    check_shape(value, path)
    source = Source(an_object(value, path), path)
    for key in value:
        if key not in known:
            raise DescriptionError(source.at(key), f"is not known; there are {', '.join(known)}")
    return source


def _id_template(value: Any, path: str) -> Template:
    return Template.read(a_name(value, path, 1000), path)


def _rules_for(*outcomes: Outcome) -> Callable[[Any, str], tuple[_Rule, ...]]:
    choices = {one.value: one for one in (*outcomes, Outcome.IGNORE)}

    def read(value: Any, path: str) -> tuple[_Rule, ...]:
        if isinstance(value, str):
            return (_Rule((), one_of(value, path, choices), Template.read("", path)),)
        entries = enumerate(a_list(value, path))
        return tuple(_rule(one, f"{path}[{index}]", choices) for index, one in entries)

    return read


def _rule(value: Any, path: str, choices: Mapping[str, Outcome]) -> _Rule:
    source = _source(value, path, "when", "outcome", "reason")
    return _Rule(
        when=tuple(source.get("when", _conditions, ())),
        outcome=source.require("outcome", lambda one, at: one_of(one, at, choices)),
        reason=source.get("reason", Template.read, Template.read("", path)),
    )


def _conditions(value: Any, path: str) -> Iterator[tuple[Path, tuple[Any, ...]]]:
    for key, wanted in an_object(value, path).items():
        at = f"{path}.{key}"
        some = a_list(wanted, at) if isinstance(wanted, list) else [wanted]
        if any(isinstance(one, dict | list) for one in some):
            raise DescriptionError(at, "must be a plain value, or a list of such")
        yield Path.read(key, at), tuple(some)


def _args(value: Any, path: str) -> tuple[Build, ...]:
    return tuple(_builder(one, f"{path}[{index}]") for index, one in enumerate(a_list(value, path)))


def _kwargs(value: Any, path: str) -> dict[str, Build]:
    return {key: _builder(one, f"{path}.{key}") for key, one in an_object(value, path).items()}


def _builder(value: Any, path: str, depth: int = 0) -> Build:
    """Read how a value is put together: texts are paths, the rest is as it stands."""
    if depth > MAX_DEPTH:
        raise DescriptionError(path, f"is nested more than {MAX_DEPTH} deep")
    match value:
        case str() if "{" in value:
            return _rendered(Template.read(value, path))
        case str():
            return _found(Path.read(value, path))
        case dict() if list(value) == [LITERAL]:
            constant = value[LITERAL]
            return lambda _event: constant
        case dict():
            parts = {key: _builder(one, f"{path}.{key}", depth + 1) for key, one in value.items()}
            return lambda event: {key: build(event) for key, build in parts.items()}
        case list():
            some = [_builder(one, f"{path}[{i}]", depth + 1) for i, one in enumerate(value)]
            return lambda event: [build(event) for build in some]
        case _:
            return lambda _event: value


def _rendered(template: Template) -> Build:
    def build(event: Event) -> str | None:
        try:
            return template.render(event)
        except MissingError:
            return None

    return build


def _found(path: Path) -> Build:
    def build(event: Event) -> Any:
        found = path.find(event)
        return None if found is MISSING else found

    return build


def _first(rules: tuple[_Rule, ...], event: Event) -> _Rule | None:
    rule = next((one for one in rules if one.matches(event)), None)
    return None if rule is None or rule.outcome is Outcome.IGNORE else rule


def _is_same(found: Any, wanted: Any) -> bool:
    """Compare as JSON does: a number is no boolean, and nothing is as good as null."""
    if found is MISSING:
        return wanted is None
    if isinstance(found, bool) or isinstance(wanted, bool):
        return found is wanted
    return bool(found == wanted)
