"""Classes of this project that descriptions may name: Django forms and pydantic models."""

from collections.abc import Mapping
from typing import Any, cast

from django import forms
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from dashboard.descriptions.form import DJANGO, Named
from dashboard.descriptions.formats import FORMATS
from dashboard.descriptions.json_schema import OWN_FORMATS
from dashboard.descriptions.patterns import PatternError, compile_pattern


def load(named: Named) -> Any:
    """Import the class; raises ``ImproperlyConfigured`` when it is not what it should be."""
    try:
        found = import_string(named.dotted)
    except ImportError as error:
        msg = f"SIGNOFF_FORMS[{named.name!r}] cannot be imported: {error}"
        raise ImproperlyConfigured(msg) from None
    is_right = is_form(found) if named.kind == DJANGO else is_model(found)
    if not is_right:
        kind = "Django form" if named.kind == DJANGO else "pydantic model"
        msg = f"SIGNOFF_FORMS[{named.name!r}] is not a {kind}: {named.dotted}"
        raise ImproperlyConfigured(msg)
    return found


def is_form(found: Any) -> bool:
    """Say whether it is a class of Django forms."""
    return isinstance(found, type) and issubclass(found, forms.BaseForm)


def is_model(found: Any) -> bool:
    """Say whether it has what we use of a pydantic model."""
    wanted = ("model_json_schema", "model_validate", "model_dump")
    return isinstance(found, type) and all(hasattr(found, name) for name in wanted)


def schema_of(model: Any) -> Mapping[str, Any]:
    """Return the JSON Schema of a model as our forms read it.

    What only the model itself can check is left to it: it validates what the form has read.
    """
    # So pydantic calls bytes; with this setting it hands them back as base64, else as text.
    is_base64 = getattr(model, "model_config", {}).get("ser_json_bytes") == "base64"
    of_bytes = "base64url" if is_base64 else "binary"
    return cast("Mapping[str, Any]", _simplified(model.model_json_schema(), of_bytes))


def _simplified(schema: Any, of_bytes: str) -> Any:
    if isinstance(schema, list):
        return [_simplified(one, of_bytes) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if (decimal := _decimal(schema)) is not None:
        return decimal
    if schema.get("type") == "string" and schema.get("format") == of_bytes:
        # A file, and the lengths are of what is in it.
        rest = {key: one for key, one in schema.items() if key not in {"minLength", "maxLength"}}
        return rest | {"format": "binary"}
    return {
        key: _simplified(one, of_bytes) for key, one in schema.items() if not _is_beyond(key, one)
    }


def _decimal(schema: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return a field for decimals, which pydantic says are numbers or text, in this order."""
    ways = schema.get("anyOf")
    if not isinstance(ways, list) or not all(isinstance(one, dict) for one in ways):
        return None
    kinds = [one.get("type") for one in ways]
    if kinds[:2] != ["number", "string"] or ways[1].keys() - {"type", "pattern"}:
        return None
    text = {**ways[0], "type": "string", "format": "decimal"}
    rest = {key: one for key, one in schema.items() if key != "anyOf"}
    return rest | (text if len(ways) == 2 else {"anyOf": [text, *ways[2:]]})


def _is_beyond(key: str, value: Any) -> bool:
    if key == "format" and isinstance(value, str):
        return value not in FORMATS.keys() | OWN_FORMATS
    if key == "pattern" and isinstance(value, str):
        try:
            compile_pattern(value)
        except PatternError:
            return True
    return False
