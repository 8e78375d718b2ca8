"""One input and its value: the widget, the text that is shown, and what the text means."""

import datetime as dt
import math
import re
from collections.abc import Callable, Mapping
from decimal import Decimal, DecimalException
from typing import Any

import msgspec
from django import forms
from django.core.exceptions import ValidationError
from django.core.validators import ProhibitNullCharactersValidator
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from dashboard.answer_forms import rules
from dashboard.answer_forms.files import read_kept, to_kept
from dashboard.descriptions.json_schema import FORBIDDEN_KEY, has_key
from dashboard.descriptions.nodes import Kind, Leaf
from dashboard.descriptions.reading import DescriptionError, check_shape
from dashboard.descriptions.schema import option_keys

MAX_JSON = 100_000
MAX_DIGITS = 40
_WHOLE = re.compile(r"[+-]?[0-9]+(\.0*)?\Z")
_FRACTION = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?\Z")
_SMALLEST, _LARGEST = -(2**63), 2**63 - 1
_NUMERIC = {"autocomplete": "off", "spellcheck": "false"}

_check_nulls = ProhibitNullCharactersValidator()


def widget_for(leaf: Leaf) -> forms.Widget:
    """Return the input of a question."""
    match leaf.kind:
        case Kind.CHOICE:
            return forms.Select(choices=[("", _("Choose…")), *_choices(leaf)])
        case Kind.CHOICES:
            return forms.CheckboxSelectMultiple(choices=_choices(leaf))
        case Kind.FILE:
            return forms.FileInput(attrs={"accept": leaf.accept} if leaf.accept else None)
    widget, attrs = _WIDGETS.get(leaf.kind, (forms.TextInput, {}))
    return widget(attrs=dict(attrs))


def shown(leaf: Leaf) -> Any:
    """Return what the input of a question begins with."""
    if leaf.kind is Kind.FILE:
        return _file_of(leaf)
    if leaf.default is msgspec.UNSET or leaf.default is None:
        return [] if leaf.kind is Kind.CHOICES else ""
    return to_input(leaf, leaf.default)


def to_input(leaf: Leaf, value: Any) -> Any:
    """Return a value as an input shows and sends it."""
    match leaf.kind:
        case Kind.BOOLEAN:
            return value is True
        case Kind.JSON:
            return msgspec.json.format(msgspec.json.encode(value)).decode()
        case Kind.CHOICE:
            return key_of(leaf, value)
        case Kind.CHOICES:
            return [key_of(leaf, one) for one in value] if isinstance(value, list) else []
        case Kind.INSTANT:
            return _local_text(value)
    return value if isinstance(value, str) else str(value)


def is_blank(sent: Any) -> bool:
    """Say whether nothing was filled in."""
    if isinstance(sent, str):
        return not sent.strip()
    return not (any(sent) if isinstance(sent, list) else sent)


def is_untouched(leaf: Leaf, sent: Any) -> bool:
    """Say whether an input is as it began."""
    return _is_as_proposed(leaf, sent) or (is_blank(sent) and is_blank(shown(leaf)))


def parse(leaf: Leaf, sent: Any) -> Any:
    """Return the value of what was sent; raises ``ValidationError``. UNSET when left empty."""
    if leaf.keeps and _is_as_proposed(leaf, sent) and _is_right(leaf):
        # Not through text and back: it stays what it is.
        return leaf.default
    if is_blank(sent) and leaf.kind is not Kind.BOOLEAN:
        is_list = leaf.kind is Kind.CHOICES
        if leaf.required and not is_list:
            raise ValidationError(_required(leaf), code="required")
        # A list that is proposed stays one when nothing of it is left.
        if not (is_list and (leaf.required or (leaf.keeps and isinstance(leaf.default, list)))):
            return leaf.blank
    value = _PARSERS[leaf.kind](leaf, sent)
    rules.check(value, leaf.rules)
    return value


def _is_as_proposed(leaf: Leaf, sent: Any) -> bool:
    if leaf.default is msgspec.UNSET:
        return False
    if leaf.kind is Kind.CHOICES:  # which come in the order of the page
        return sorted(sent or ()) == sorted(shown(leaf))
    return sent is None or _normal(sent) == _normal(shown(leaf))


def _is_right(leaf: Leaf) -> bool:
    """Say whether what is proposed may be handed back as it is."""
    value = leaf.default
    if leaf.checker is not None and leaf.checker.problems(value, leaf.pointer):
        return False
    try:
        if leaf.kind is Kind.DECIMAL and value:
            _decimal_of(value)
        if value not in (None, ""):
            rules.check(value, leaf.rules)
    except ValidationError:
        return False
    return True


def _file_of(leaf: Leaf) -> dict[str, str] | None:
    """Return the file that a question begins with; None for what is none."""
    try:
        return read_kept(to_kept(leaf.default), leaf.accept) if leaf.default else None
    except ValidationError:
        return None


def condition_text(leaf: Leaf, value: Any) -> str:
    """Return a value as the page's script compares it with an input."""
    if leaf.kind is Kind.BOOLEAN:
        return "true" if value is True else "false"
    return str(to_input(leaf, value))


def _required(leaf: Leaf) -> Any:
    if leaf.kind is Kind.CHOICE:
        return _("Choose one of these.")
    return _("Choose a file.") if leaf.kind is Kind.FILE else _("Fill this in.")


def _choices(leaf: Leaf) -> list[tuple[str, str]]:
    keys = option_keys(leaf.options)
    return [(key, one.label) for key, one in zip(keys, leaf.options, strict=True)]


def key_of(leaf: Leaf, value: Any) -> str:
    """Return what a form sends for one of the options; empty for what is none."""
    encoded = msgspec.json.encode(value)
    for key, one in option_keys(leaf.options).items():
        if msgspec.json.encode(one) == encoded:
            return key
    return ""


def label_of(leaf: Leaf, value: Any) -> Any:
    """Return what a choice is called; for what is none, the value itself."""
    key = key_of(leaf, value)
    return next((label for one, label in _choices(leaf) if key and one == key), value)


def _local_text(value: Any) -> str:
    try:
        moment = dt.datetime.fromisoformat(str(value))
        if timezone.is_aware(moment):
            moment = timezone.localtime(moment)
    except (ValueError, OverflowError):
        return str(value)
    has_seconds = moment.second or moment.microsecond
    return moment.replace(tzinfo=None).isoformat(timespec="seconds" if has_seconds else "minutes")


def _normal(sent: Any) -> Any:
    return sent.replace("\r\n", "\n").replace("\r", "\n") if isinstance(sent, str) else sent


def _line(_leaf: Leaf, sent: Any) -> str:
    return _text(_leaf, sent).strip()


def _text(_leaf: Leaf, sent: Any) -> str:
    text = str(_normal(sent))
    _check_nulls(text)
    return text


def _integer(_leaf: Leaf, sent: Any) -> int:
    text = sent.strip()
    if len(text) > MAX_DIGITS or not _WHOLE.match(text):
        raise ValidationError(_("Enter a whole number."), code="invalid")
    value = int(text.partition(".")[0])
    if not _SMALLEST <= value <= _LARGEST:
        raise ValidationError(_("This number is too large."), code="invalid")
    return value


def _decimal_of(sent: Any) -> Decimal:
    text = sent.strip()
    problem = ValidationError(_("Enter a number, such as 12.50."), code="invalid")
    if len(text) > MAX_DIGITS or not _FRACTION.match(text):
        raise problem
    try:
        return Decimal(text)
    except DecimalException:
        raise problem from None


def _number(_leaf: Leaf, sent: Any) -> float:
    exact = _decimal_of(sent)
    value = float(exact)
    if not math.isfinite(value):
        raise ValidationError(_("This number is too large."), code="invalid")
    if Decimal(repr(value)) != exact:
        raise ValidationError(_("This number has more digits than can be kept."), code="invalid")
    return value


def _decimal(_leaf: Leaf, sent: Any) -> str:
    return f"{_decimal_of(sent):f}"


def _boolean(_leaf: Leaf, sent: Any) -> bool:
    return bool(sent)


def _date(_leaf: Leaf, sent: Any) -> str:
    return str(forms.DateField().clean(sent).isoformat())


def _instant(_leaf: Leaf, sent: Any) -> str:
    field = forms.DateTimeField()
    moment = field.clean(sent.strip())
    try:
        return str(moment.astimezone(dt.UTC).isoformat().replace("+00:00", "Z"))
    except OverflowError:  # before the first year or after the last, in UTC
        raise ValidationError(field.error_messages["invalid"], code="invalid") from None


def _email(_leaf: Leaf, sent: Any) -> str:
    return str(forms.EmailField().clean(sent))


def _uri(_leaf: Leaf, sent: Any) -> str:
    return str(forms.URLField(assume_scheme="https").clean(sent))


def _choice(leaf: Leaf, sent: Any) -> Any:
    keys = option_keys(leaf.options)
    if sent not in keys:
        raise ValidationError(_("Choose one of these."), code="invalid_choice")
    return keys[sent]


def _several(leaf: Leaf, sent: Any) -> list[Any]:
    keys = option_keys(leaf.options)
    chosen = [one for one in sent or () if one]
    if not all(one in keys for one in chosen):
        raise ValidationError(_("Choose from these."), code="invalid_choice")
    return [value for key, value in keys.items() if key in chosen]


def _json(leaf: Leaf, sent: Any) -> Any:
    if len(sent) > MAX_JSON:
        raise ValidationError(
            _("Shorten this to %(limit)d characters at most."),
            code="max_length",
            params={"limit": MAX_JSON},
        )
    value = decode_json(sent)
    if leaf.checker is not None and (problems := leaf.checker.problems(value, leaf.pointer)):
        raise ValidationError(
            [
                ValidationError(
                    _("%(place)s: %(problem)s") if one.pointer else "%(problem)s",
                    code="schema",
                    params={"place": one.pointer, "problem": one.message},
                )
                for one in problems
            ]
        )
    return value


def decode_json(text: str) -> Any:
    """Decode JSON that a person wrote; raises ``ValidationError``."""
    try:
        value = msgspec.json.decode(text)
        check_shape(value, "JSON")
    except DescriptionError as error:
        raise ValidationError(str(error), code="invalid") from None
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValidationError(
            _("This is not JSON: %(problem)s."),
            code="invalid",
            params={"problem": str(error).removeprefix("JSON is malformed: ")},
        ) from None
    check_keys(value)
    return value


def check_keys(value: Any) -> None:
    """Refuse the key that a worker would take for something to run; raises ``ValidationError``."""
    if has_key(value, FORBIDDEN_KEY):
        raise ValidationError(
            _("The key %(key)s is not allowed."), code="forbidden", params={"key": FORBIDDEN_KEY}
        )


_CODE = {"spellcheck": "false", "class": "code"}
_WIDGETS: Mapping[Kind, tuple[type[forms.Widget], Mapping[str, Any]]] = {
    Kind.TEXT: (forms.Textarea, {"rows": 4}),
    Kind.JSON: (forms.Textarea, {"rows": 8, **_CODE}),
    Kind.INTEGER: (forms.TextInput, {"inputmode": "numeric", **_NUMERIC}),
    Kind.NUMBER: (forms.TextInput, {"inputmode": "decimal", **_NUMERIC}),
    Kind.DECIMAL: (forms.TextInput, {"inputmode": "decimal", **_NUMERIC}),
    Kind.BOOLEAN: (forms.CheckboxInput, {}),
    Kind.DATE: (forms.TextInput, {"type": "date"}),
    Kind.INSTANT: (forms.TextInput, {"type": "datetime-local"}),
    Kind.EMAIL: (forms.EmailInput, {}),
    Kind.URI: (forms.URLInput, {}),
}
_PARSERS: Mapping[Kind, Callable[[Leaf, Any], Any]] = {
    Kind.LINE: _line,
    Kind.TEXT: _text,
    Kind.INTEGER: _integer,
    Kind.NUMBER: _number,
    Kind.DECIMAL: _decimal,
    Kind.BOOLEAN: _boolean,
    Kind.DATE: _date,
    Kind.INSTANT: _instant,
    Kind.EMAIL: _email,
    Kind.URI: _uri,
    Kind.CHOICE: _choice,
    Kind.CHOICES: _several,
    Kind.JSON: _json,
}
