"""What a latent promise asks of people: the JSON under ``human_task``, parsed and checked.

Pure: knows neither the database nor who the names belong to. Keys that mean nothing here are kept.
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import Any, NamedTuple

import msgspec

from dashboard.descriptions.answers import DEFAULT, AnswerOption, read_answers
from dashboard.descriptions.confirmation import Confirmation, read_confirmation
from dashboard.descriptions.form import read_form
from dashboard.descriptions.policy import Policy, a_duration, read_policy
from dashboard.descriptions.proposal import Proposal, read_proposal
from dashboard.descriptions.reading import (
    MAX_ENTRIES,
    MAX_TITLE,
    DescriptionError,
    Source,
    a_boolean,
    a_list,
    a_name,
    a_text,
    an_instant,
    an_integer,
    an_object,
    check_shape,
    names,
    one_of,
)
from dashboard.descriptions.timing import Timing, check_timing, read_timing
from dashboard.masking import MASK, is_secret, secrets_of

KEY = "human_task"
TAG = "signoff:task"
SCHEMA = 1

MAX_BYTES = 64 * 1024
MAX_WORD = 100
MAX_ROUNDS = 1000
MAX_UNDO = 30
MAX_RELEASE_MS = 366 * 86_400_000


class Fact(NamedTuple):
    """One line of the table of facts; the value is any JSON."""

    label: str
    value: Any


@dataclass(frozen=True, slots=True)
class Separation:
    """Who may not answer, though named.

    starter: whoever started the execution.
    others: ids of questions whose deciders are left out.
    """

    starter: bool = True
    others: tuple[str, ...] = ()


class Priority(IntEnum):
    """How much it matters; the higher the sooner."""

    LOW = -1
    NORMAL = 0
    HIGH = 1
    URGENT = 2


@dataclass(frozen=True, slots=True)
class Description:
    """A question for people. Instants are epoch ms; ``raw`` is the whole JSON object.

    context: markdown.
    permission: as in ``app.codename``; ``callables`` are names of ``SIGNOFF_DECIDERS``.
    type: what kind of question it is, for filters and bulk answers.
    summary: labels of the facts that the list shows.
    secrets: paths of values that are shown to nobody without the right to.
    previous, round, rounds: the question that this one asks again, and how often it may.
    draft_follows: whether what one person began to write goes to the next who takes it over; else
        it is discarded.
    confirm: what has to be given besides a yes.
    undo: seconds in which an answer can be taken back, before it counts.
    release_after: ms of silence after which a question that somebody took on is free again.
    """

    title: str
    question: str = ""
    consequence: str = ""
    context: str = ""
    facts: tuple[Fact, ...] = ()
    summary: tuple[str, ...] = ()
    type: str = ""
    priority: Priority = Priority.NORMAL
    users: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    permission: str = ""
    callables: tuple[str, ...] = ()
    separation: Separation = Separation()
    answers: tuple[AnswerOption, ...] = DEFAULT
    policy: Policy | None = None
    form: Mapping[str, Any] | None = None
    proposal: Proposal | None = None
    secrets: tuple[str, ...] = ()
    follow_up_at: int | None = None
    timing: Timing = field(default_factory=Timing)
    previous: str = ""
    round: int = 1
    rounds: int | None = None
    draft_follows: bool = False
    confirm: Confirmation | None = None
    undo: int = 0
    release_after: int = 0
    raw: Mapping[str, Any] = field(default_factory=dict)

    @property
    def due_at(self) -> int | None:
        """When an answer is expected."""
        return self.timing.due_at

    @property
    def expires_at(self) -> int | None:
        """From when on answers are refused."""
        return self.timing.expires_at

    def without_secrets(self) -> "Description":
        """Return it with those texts masked that are secret; ``raw`` and what is filled in stay."""
        texts = ("title", "question", "consequence", "context")
        hidden: dict[str, Any] = {
            one: MASK for one in texts if getattr(self, one) and self._hides(one)
        }
        answers = tuple(
            replace(one, consequence=MASK)
            if one.consequence and self._hides(f"answers/{place}/consequence")
            else one
            for place, one in enumerate(self.answers)
        )
        return replace(self, answers=answers, **hidden) if self.secrets else self

    def _hides(self, path: str) -> bool:
        return is_secret(f"/{path}", self.secrets)

    def answer(self, name: str) -> AnswerOption | None:
        """Return an answer by its name."""
        return next((one for one in self.answers if one.name == name), None)

    def confirmation_of(self, option: AnswerOption) -> Confirmation | None:
        """Return what has to be given with an answer: with a yes, or if none is one, with any."""
        is_asked = option.approves or not any(one.approves for one in self.answers)
        return self.confirm if is_asked else None


def describes_itself(param_data: str | None, tags: Mapping[str, str]) -> bool:
    """Whether the promise says something to people, be it right or wrong."""
    payload = _decode_payload(param_data)
    return (isinstance(payload, dict) and KEY in payload) or TAG in tags


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
        error.title = MASK if is_secret("/title", secrets_of(source.values)) else title
        raise


def _parse(source: Source, title: str) -> Description:
    source.require("schema", _schema)
    return Description(
        title=title,
        question=source.get("question", a_text, ""),
        consequence=source.get("consequence", a_text, ""),
        context=source.get("context", a_text, ""),
        facts=source.get("facts", _facts, ()),
        summary=source.get("summary", names, ()),
        type=source.get("type", _word, ""),
        priority=source.get("priority", _priority, Priority.NORMAL),
        users=source.get("users", names, ()),
        groups=source.get("groups", names, ()),
        permission=source.get("permission", _permission, ""),
        callables=source.get("deciders", names, ()),
        separation=source.get("separation", _separation, Separation()),
        answers=source.get("answers", read_answers, DEFAULT),
        policy=source.get("policy", read_policy, None),
        form=source.get("form", read_form, None),
        proposal=read_proposal(source),
        secrets=source.get("secrets", _pointers, ()),
        follow_up_at=source.get("follow_up", an_instant, None),
        timing=read_timing(source),
        previous=source.get("previous", a_name, ""),
        round=source.get("round", _round, 1),
        rounds=source.get("rounds", _round, None),
        draft_follows=source.get("draft_follows", a_boolean, False),
        confirm=source.get("confirm", read_confirmation, None),
        undo=source.get("undo", _undo, 0),
        release_after=source.get("release_after", _release, 0),
        raw=source.values,
    )


def check_times(description: Description, *, asked_at: int, deadline: int) -> None:
    """Refuse what could not happen before the promise ends; both are epoch ms."""
    try:
        check_timing(description.timing, asked_at=asked_at, deadline=deadline)
    except DescriptionError as error:
        error.title = description.without_secrets().title
        raise


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


def _word(value: Any, path: str) -> str:
    return a_name(value, path, MAX_WORD)


def _priority(value: Any, path: str) -> Priority:
    priority: Priority = one_of(value, path, {one.name.lower(): one for one in Priority})
    return priority


def _permission(value: Any, path: str) -> str:
    app, dot, codename = a_name(value, path).partition(".")
    if not (app and dot and codename):
        raise DescriptionError(path, "must be a permission like shop.approve_order")
    return f"{app}.{codename}"


def _separation(value: Any, path: str) -> Separation:
    source = Source(an_object(value, path), path)
    return Separation(
        starter=source.get("starter", a_boolean, True), others=source.get("others", names, ())
    )


def _pointers(value: Any, path: str) -> tuple[str, ...]:
    pointers = names(value, path)
    if wrong := [one for one in pointers if not one.startswith("/")]:
        raise DescriptionError(path, f"{wrong[0]!r} must be a path like /facts/Salary")
    return pointers


def _undo(value: Any, path: str) -> int:
    return an_integer(value, path, least=1, most=MAX_UNDO)


def _release(value: Any, path: str) -> int:
    length = a_duration(value, path)
    if not 60_000 <= length <= MAX_RELEASE_MS:
        raise DescriptionError(path, "must be from a minute to a year")
    return length


def _round(value: Any, path: str) -> int:
    return an_integer(value, path, least=1, most=MAX_ROUNDS)
