"""The forms of pages, filled in by programs: what they refuse, the API refuses alike."""

from collections.abc import Mapping
from typing import Any

from django.core.exceptions import NON_FIELD_ERRORS
from django.forms import BaseForm
from msgspec import UNSET, Struct, structs

from dashboard.api.problems import ProblemError, Wrong


def given_in(body: Struct) -> dict[str, Any]:
    """Return what a body says, without what it leaves out."""
    return {name: value for name, value in structs.asdict(body).items() if value is not UNSET}


def require_valid(form: BaseForm) -> None:
    """End a request with all that a form refuses, by the names of its fields."""
    if form.is_valid():
        return
    raise ProblemError(422, errors=list(_wrongs(form.errors)))


def _wrongs(errors: Mapping[str, Any]) -> list[Wrong]:
    return [
        Wrong("" if name == NON_FIELD_ERRORS else name, str(one))
        for name, sentences in errors.items()
        for one in sentences
    ]
