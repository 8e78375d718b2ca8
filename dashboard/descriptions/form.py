"""The form of a question: a JSON Schema, or the name of a form or a model of this project.

A description comes from a worker, so it names no classes: ``SIGNOFF_FORMS`` lists what there is.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.conf import settings

from dashboard.descriptions.nodes import Node
from dashboard.descriptions.reading import MAX_TITLE, DescriptionError, a_name, an_object
from dashboard.descriptions.schema import read_schema

DJANGO = "django"
PYDANTIC = "pydantic"


@dataclass(frozen=True, slots=True)
class Named:
    """A class that the settings list: its name there, its dotted path, and which kind it is."""

    kind: str
    name: str
    dotted: str


def read_form(value: Any, path: str) -> Mapping[str, Any]:
    """Check a form and return it as it is; raises ``DescriptionError``.

    Whether a name is listed is left open: the settings may change while a question waits.
    """
    form = an_object(value, path)
    if (kind := _kind_of(form)) is None:
        read_schema(form, path)
    else:
        a_name(form[kind], f"{path}.{kind}", MAX_TITLE)
    return form


def parse_form(form: Mapping[str, Any], path: str) -> Node | Named:
    """Return the questions of a form, or the class that has them; raises ``DescriptionError``."""
    if (kind := _kind_of(form)) is None:
        return read_schema(form, path)
    return _named(kind, form[kind], f"{path}.{kind}")


def check_listed(form: Mapping[str, Any] | None) -> None:
    """Refuse a new question whose form names a class that is not listed."""
    if form is not None and _kind_of(form) is not None:
        parse_form(form, "human_task.form")


def _kind_of(form: Mapping[str, Any]) -> str | None:
    return next((kind for kind in (DJANGO, PYDANTIC) if form.keys() == {kind}), None)


def listed_forms() -> Mapping[str, str]:
    """Return the dotted paths of the classes that descriptions may name."""
    listed: Mapping[str, str] = getattr(settings, "SIGNOFF_FORMS", {})
    return listed


def _named(kind: str, value: Any, path: str) -> Named:
    name = a_name(value, path, MAX_TITLE)
    dotted = listed_forms().get(name)
    if dotted is None:
        raise DescriptionError(path, f"{name!r} is not listed in the setting SIGNOFF_FORMS")
    return Named(kind, name, dotted)
