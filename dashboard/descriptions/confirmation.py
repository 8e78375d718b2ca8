"""What has to be given besides a yes to a question of high risk. Pure."""

from typing import Any, NamedTuple

from dashboard.descriptions.reading import (
    MAX_TITLE,
    DescriptionError,
    Source,
    a_name,
    an_object,
)

MAX_TEXT = 100


class Confirmation(NamedTuple):
    """A text to type, or the password of whoever answers.

    label: what stands beside the field instead of the usual words.
    """

    text: str = ""
    label: str = ""

    @property
    def is_password(self) -> bool:
        """Whether it is the password."""
        return not self.text

    def is_text(self, given: str) -> bool:
        """Whether somebody typed the text; capitals and spaces around it do not matter."""
        return given.strip().casefold() == self.text.casefold()


def read_confirmation(value: Any, path: str) -> Confirmation:
    """Read ``{"text": "4711"}`` or ``{"password": true}``, each with a label or without."""
    source = Source(an_object(value, path), path)
    text = source.get("text", lambda one, at: a_name(one, at, MAX_TEXT), "")
    password = source.get("password", _is_true, False)
    if bool(text) is password:
        raise DescriptionError(path, "must have one of text, password")
    return Confirmation(text, source.get("label", lambda one, at: a_name(one, at, MAX_TITLE), ""))


def _is_true(value: Any, path: str) -> bool:
    if value is not True:
        raise DescriptionError(path, "must be true")
    return True
