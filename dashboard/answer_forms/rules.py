"""The keywords of JSON Schema that limit one value, with a sentence for each that is broken."""

from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import Any

from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext_lazy

from dashboard.descriptions.json_schema import is_multiple
from dashboard.descriptions.patterns import compile_pattern


def _number(value: Any) -> Decimal:
    return Decimal(str(value))


_RULES: Mapping[str, tuple[Callable[[Any, Any], bool], Any]] = {
    "minLength": (
        lambda value, limit: len(value) >= limit,
        ngettext_lazy(
            "Write at least %(limit)d character.", "Write at least %(limit)d characters.", "limit"
        ),
    ),
    "maxLength": (
        lambda value, limit: len(value) <= limit,
        ngettext_lazy(
            "Write %(limit)d character at most.", "Write %(limit)d characters at most.", "limit"
        ),
    ),
    "pattern": (
        lambda value, limit: compile_pattern(limit).search(value),
        _("This does not have the form that is expected: %(limit)s"),
    ),
    "minimum": (
        lambda value, limit: _number(value) >= _number(limit),
        _("Enter %(limit)s or more."),
    ),
    "maximum": (
        lambda value, limit: _number(value) <= _number(limit),
        _("Enter %(limit)s or less."),
    ),
    "exclusiveMinimum": (
        lambda value, limit: _number(value) > _number(limit),
        _("Enter more than %(limit)s."),
    ),
    "exclusiveMaximum": (
        lambda value, limit: _number(value) < _number(limit),
        _("Enter less than %(limit)s."),
    ),
    "multipleOf": (is_multiple, _("Enter a multiple of %(limit)s.")),
    "minItems": (
        lambda value, limit: len(value) >= limit,
        ngettext_lazy("Choose at least %(limit)d.", "Choose at least %(limit)d.", "limit"),
    ),
    "maxItems": (
        lambda value, limit: len(value) <= limit,
        ngettext_lazy("Choose %(limit)d at most.", "Choose %(limit)d at most.", "limit"),
    ),
    "const": (lambda value, limit: value is limit, _("You have to agree to this.")),
}


def check(value: Any, rules: Mapping[str, Any]) -> None:
    """Raise ``ValidationError`` with every rule that a value breaks."""
    if broken := list(_broken(value, rules)):
        raise ValidationError(broken)


def _broken(value: Any, rules: Mapping[str, Any]) -> Iterator[ValidationError]:
    # The length comes first: no pattern is tried on what is too long.
    for keyword in sorted(rules, key=lambda name: name != "maxLength"):
        holds, sentence = _RULES[keyword]
        if not holds(value, rules[keyword]):
            limit = rules[keyword]
            if isinstance(limit, float) and limit.is_integer():
                limit = int(limit)
            yield ValidationError(sentence, code=keyword, params={"limit": limit})
            if keyword == "maxLength":
                return
