"""The answers that a question offers, and what each of them means. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from dashboard.descriptions.reading import (
    MAX_TITLE,
    DescriptionError,
    Source,
    a_boolean,
    a_list,
    a_name,
    a_string,
    an_object,
    one_of,
)

APPROVE = "approve"
REJECT = "reject"
REWORK = "rework"

MAX_ANSWERS = 8
MAX_LABEL = 60
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,39}\Z")


class Style(StrEnum):
    """How a button looks."""

    PRIMARY = "primary"
    SECONDARY = "secondary"
    DANGER = "danger"


class Need(StrEnum):
    """Whether something has to come with an answer."""

    REQUIRED = "required"
    OPTIONAL = "optional"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class AnswerOption:
    """One answer that may be chosen.

    approves: whether it is a yes; counted by policies, and told to the workflow.
    settles: ``resolve`` or ``reject``, what the workflow gets.
    label: empty for the usual words.
    comment, form: what has to come with it.
    """

    name: str
    label: str = ""
    style: Style = Style.SECONDARY
    settles: str = "resolve"
    approves: bool = False
    consequence: str = ""
    comment: Need = Need.OPTIONAL
    form: Need = Need.NONE

    @property
    def needs_comment(self) -> bool:
        """Whether a comment is required."""
        return self.comment is Need.REQUIRED


USUAL: Mapping[str, AnswerOption] = {
    APPROVE: AnswerOption(APPROVE, style=Style.PRIMARY, approves=True, form=Need.REQUIRED),
    REJECT: AnswerOption(REJECT, style=Style.DANGER, settles="reject"),
    REWORK: AnswerOption(REWORK, comment=Need.REQUIRED),
}
"""What the well-known names mean where the description says no more."""
DEFAULT = (USUAL[APPROVE], USUAL[REJECT])


def read_answers(value: Any, path: str) -> tuple[AnswerOption, ...]:
    """Read a list of answers: names that are known, or objects."""
    given = a_list(value, path)
    if not 1 <= len(given) <= MAX_ANSWERS:
        raise DescriptionError(path, f"must have 1 to {MAX_ANSWERS} answers")
    answers = tuple(_answer(one, f"{path}[{index}]") for index, one in enumerate(given))
    if len({one.name for one in answers}) < len(answers):
        raise DescriptionError(path, "names an answer twice")
    return answers


def _answer(value: Any, path: str) -> AnswerOption:
    if isinstance(value, str):
        known: AnswerOption = one_of(value, path, USUAL)
        return known
    source = Source(an_object(value, path), path)
    name = source.require("name", a_name)
    if not _NAME.match(name):
        raise DescriptionError(source.at("name"), "must be lower-case letters, digits, - and _")
    usual = USUAL.get(name, AnswerOption(name))
    settles = source.get("settles", _settles, usual.settles)
    approves = usual.approves if name in USUAL else settles == "resolve"
    label = source.get("label", _label, usual.label)
    if not label and name not in USUAL:
        raise DescriptionError(source.at("label"), "is missing")
    approves = source.get("approves", a_boolean, approves and settles == "resolve")
    if approves and settles == "reject":
        raise DescriptionError(source.at("approves"), "cannot be true for an answer that rejects")
    return AnswerOption(
        name=name,
        label=label,
        style=source.get("style", lambda one, at: one_of(one, at, _STYLES), usual.style),
        settles=settles,
        approves=approves,
        consequence=source.get("consequence", _consequence, ""),
        comment=source.get("comment", _need, usual.comment),
        form=source.get("form", _need, Need.REQUIRED if approves else usual.form),
    )


_STYLES = {style.value: style for style in Style}
_NEEDS = {need.value: need for need in Need}


def _settles(value: Any, path: str) -> str:
    text: str = one_of(value, path, {"resolve": "resolve", "reject": "reject"})
    return text


def _need(value: Any, path: str) -> Need:
    need: Need = one_of(value, path, _NEEDS)
    return need


def _label(value: Any, path: str) -> str:
    return a_name(value, path, MAX_LABEL)


def _consequence(value: Any, path: str) -> str:
    return a_string(value, path, MAX_TITLE)
