"""System check of the classes that descriptions may name."""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from django.apps import AppConfig
from django.core.checks import CheckMessage, Error, register
from django.utils.module_loading import import_string

from dashboard.answer_forms.registered import is_form, is_model
from dashboard.descriptions.form import listed_forms


@register()
def check_forms(
    app_configs: Sequence[AppConfig] | None,  # noqa: ARG001 - the framework's signature
    **_kwargs: Any,
) -> list[CheckMessage]:
    """Check that every class of ``SIGNOFF_FORMS`` is there and can be used."""
    listed = listed_forms()
    if not isinstance(listed, Mapping):
        return [
            Error(
                "SIGNOFF_FORMS is not a mapping.",
                hint="Write {'name': 'package.module.ClassName'}.",
                id="signoff.E050",
            )
        ]
    return [error for name, dotted in listed.items() for error in _errors(name, dotted)]


def _errors(name: str, dotted: Any) -> Iterator[CheckMessage]:
    try:
        found = import_string(dotted)
    except (ImportError, AttributeError, TypeError) as error:
        yield Error(
            f"SIGNOFF_FORMS[{name!r}] cannot be imported: {error}",
            hint="Write the dotted path of a class, as in 'shop.forms.RefundForm'.",
            id="signoff.E051",
        )
        return
    if not is_form(found) and not is_model(found):
        yield Error(
            f"SIGNOFF_FORMS[{name!r}] is neither a Django form nor a pydantic model: {dotted}",
            hint="Only classes of django.forms and models of pydantic can ask for values.",
            id="signoff.E052",
        )
    elif is_form(found) and not _takes_our_arguments(found):
        yield Error(
            f"SIGNOFF_FORMS[{name!r}] cannot be made from data and files alone: {dotted}",
            hint="Give the other parameters of its __init__() defaults.",
            id="signoff.E053",
        )


def _takes_our_arguments(form: Any) -> bool:
    try:
        inspect.signature(form).bind(data=None, files=None, prefix="", auto_id="")
    except TypeError:
        return False
    return True
