"""The words of answers: those of the description, else the usual ones."""

from collections.abc import Mapping
from typing import NamedTuple

from django.utils.functional import Promise as LazyText
from django.utils.translation import gettext_lazy as _

from dashboard.descriptions.answers import APPROVE, REJECT, REWORK, AnswerOption, Style

type Text = str | LazyText


class _Words(NamedTuple):
    label: Text
    busy: Text
    mine: Text
    theirs: Text
    did: Text
    late: Text
    icon: str


_USUAL: Mapping[str, _Words] = {
    APPROVE: _Words(
        _("Approve"),
        _("Approving…"),
        _("You approved this"),
        _("%(name)s approved this"),
        _("%(name)s approved"),
        _("%(name)s wanted to approve, too late"),
        "check",
    ),
    REJECT: _Words(
        _("Reject"),
        _("Rejecting…"),
        _("You rejected this"),
        _("%(name)s rejected this"),
        _("%(name)s rejected"),
        _("%(name)s wanted to reject, too late"),
        "x",
    ),
    REWORK: _Words(
        _("Send back"),
        _("Sending back…"),
        _("You sent this back"),
        _("%(name)s sent this back"),
        _("%(name)s sent it back"),
        _("%(name)s wanted to send this back, too late"),
        "corner-up-left",
    ),
}


def label_of(option: AnswerOption) -> Text:
    """Return what stands on the button."""
    return option.label or _USUAL[option.name].label


def busy_of(option: AnswerOption) -> Text:
    """Return what stands on it while the answer is on its way."""
    return _("Sending…") if option.label else _USUAL[option.name].busy


def icon_of(option: AnswerOption) -> str:
    """Return the name of the icon beside it."""
    if option.name in _USUAL:
        return _USUAL[option.name].icon
    return {Style.PRIMARY: "check", Style.DANGER: "x"}.get(option.style, "circle-dot")


def outcome_of(name: str, label: str, *, by: str, is_mine: bool) -> Text:
    """Say in a sentence that somebody gave an answer."""
    words = _USUAL.get(name)
    if label or words is None:
        said = {"answer": label or name, "name": by}
        if is_mine:
            return _("You answered “%(answer)s”") % said
        return _("%(name)s answered “%(answer)s”") % said
    return words.mine if is_mine else words.theirs % {"name": by}


def late_of(name: str, label: str, *, by: str) -> Text:
    """Say that somebody's answer came too late."""
    words = _USUAL.get(name)
    if label or words is None:
        said = {"answer": label or name, "name": by}
        return _("%(name)s wanted to answer “%(answer)s”, too late") % said
    return words.late % {"name": by}


def deed_of(name: str, label: str, *, by: str) -> Text:
    """Say that somebody gave an answer, in a list of what was done."""
    words = _USUAL.get(name)
    if label or words is None:
        return _("%(name)s answered “%(answer)s”") % {"answer": label or name, "name": by}
    return words.did % {"name": by}


def icon_of_name(name: str) -> str:
    """Return the icon of an answer of which only the name is known."""
    return _USUAL[name].icon if name in _USUAL else "circle-dot"
