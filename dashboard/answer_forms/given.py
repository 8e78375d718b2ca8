"""Values that a program gives as JSON, turned into what the form of the page would send.

What is checked here is what JSON says and an input does not: of which type a value is, and that it
is asked for at all. All other rules are those of the form, which reads the result.
"""

import base64
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import accumulate, count
from typing import Any, NamedTuple

from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.core.files.uploadedfile import SimpleUploadedFile
from django.forms import BaseForm, FileField
from django.http import QueryDict
from django.utils.datastructures import MultiValueDict
from django.utils.translation import gettext_lazy as _
from msgspec import UNSET

from dashboard.answer_forms import leaves
from dashboard.answer_forms.files import KEPT, read_kept, to_kept
from dashboard.answer_forms.questions import ROOT, Fault
from dashboard.answer_forms.registered import load, schema_of
from dashboard.descriptions import Description, DescriptionError
from dashboard.descriptions.form import DJANGO, Named, parse_form
from dashboard.descriptions.formats import FORMATS
from dashboard.descriptions.json_schema import escape, find
from dashboard.descriptions.nodes import Group, Kind, Leaf, Node, Rows, is_same
from dashboard.descriptions.proposal import KEY, Proposal, difference
from dashboard.descriptions.schema import read_schema

_PATH = "form"
_UNKNOWN = _("Nothing of this name is asked for.")
_FIXED = _("This part cannot be changed.")


class Fields(NamedTuple):
    """What a page would send, and what is wrong with what a program gave.

    rows: by the name of a row on the page its number in the program's list, where that is another.
    """

    data: QueryDict
    files: MultiValueDict[str, Any]
    faults: list[Fault]
    rows: Mapping[str, str]

    def as_given(self, fault: Fault) -> Fault:
        """Return a fault with the name that its value has in what the program gave."""
        keys = fault.name.split("/")
        known = accumulate(keys, "{}/{}".format)
        names = [self.rows.get(name, key) for name, key in zip(known, keys, strict=True)]
        return fault._replace(name="/".join(names))


def fields_of(described: Description | None, values: Mapping[str, Any]) -> Fields:
    """Return the fields of a form for values, by the names that the form gives its inputs."""
    writer = _Writer()
    if described is not None and described.proposal is not None:
        writer.write_proposal(described.proposal, values)
    elif described is not None and described.form is not None:
        writer.write_form(described.form, values)
    else:
        for key in values:
            writer.refuse(f"{ROOT}/{escape(key)}", _UNKNOWN)
    return Fields(writer.data, writer.files, writer.faults, writer.rows)


class _Writer:
    """Goes along the questions and the values that belong to them."""

    def __init__(self) -> None:
        self.data = QueryDict(mutable=True)
        self.files: MultiValueDict[str, Any] = MultiValueDict()
        self.faults: list[Fault] = []
        self.rows: dict[str, str] = {}
        self._proposed: Any = UNSET

    def refuse(self, name: str, sentence: Any) -> None:
        """Say what is wrong with a value."""
        self.faults.append(Fault("", "", sentence, name))

    def write_form(self, form: Mapping[str, Any], values: Mapping[str, Any]) -> None:
        """Write the values of a schema, a model or a Django form."""
        try:
            asked = parse_form(form, _PATH)
            if isinstance(asked, Named):
                found = load(asked)
                if asked.kind == DJANGO:
                    self._write_django(found(prefix=ROOT), values)
                    return
                asked = read_schema(schema_of(found), _PATH)
        except (DescriptionError, ImproperlyConfigured):
            return  # the form says so itself
        self.write(asked, values, ROOT)

    def write_proposal(self, proposal: Proposal, values: Mapping[str, Any]) -> None:
        """Write what may be edited; what is not given stays as it is proposed."""
        self._proposed = proposal.value
        given: Any = values if isinstance(proposal.value, dict) else values.get(KEY, UNSET)
        if given is not UNSET:
            for change in difference(proposal.value, given):
                if change.new is not UNSET and not _is_within(change.pointer, proposal.editable):
                    self.refuse(f"{ROOT}{change.pointer}", _FIXED)
        for pointer, node in proposal.editable.items():
            try:
                part = _part_of(given, pointer)
            except LookupError:
                faults = len(self.faults)
                self.write(node, find(proposal.value, pointer), f"{ROOT}{pointer}")
                del self.faults[faults:]  # what is proposed is not for the answerer to mend
            else:
                self.write(node, part, f"{ROOT}{pointer}")

    def write(self, node: Node, value: Any, name: str) -> None:
        """Write the value of a question."""
        if value is None and node.blank is None:
            return  # left empty
        if isinstance(node, Group):
            self._write_group(node, value, name)
        elif isinstance(node, Rows):
            self._write_rows(node, value, name)
        elif isinstance(node, Leaf):
            self._write_leaf(node, value, name)

    def _write_leaf(self, leaf: Leaf, value: Any, name: str) -> None:
        is_kept = leaf.keeps and self._is_as_proposed(name, value)
        if is_kept and leaf.kind is Kind.FIXED:
            return
        if is_kept and leaf.kind is Kind.INSTANT:
            # In the words of the form, which then finds that it is as it was.
            self.data.appendlist(name, leaves.to_input(leaf, value))
            return
        try:
            for field, text in _texts(leaf, value, name):
                self.data.appendlist(field, text)
        except ValidationError as error:
            for sentence in error.messages:
                self.refuse(name, sentence)

    def _write_group(self, group: Group, value: Any, name: str) -> None:
        if group.is_list:
            if not isinstance(value, list) or len(value) != len(group.members):
                limit = {"count": len(group.members)}
                self.refuse(name, _("This must be a list of %(count)d.") % limit)
                return
            value = {str(index): one for index, one in enumerate(value)}
        if not isinstance(value, dict):
            self.refuse(name, _("This must be an object."))
            return
        members = _members_of(group, value)
        for key, one in value.items():
            at = f"{name}/{escape(key)}"
            if key in members:
                self.write(members[key], one, at)
            elif not (group.keeps and self._is_as_proposed(at, one)):
                self.refuse(at, _UNKNOWN)

    def _write_rows(self, rows: Rows, value: Any, name: str) -> None:
        if not isinstance(value, list):
            self.refuse(name, _("This must be a list."))
            return
        proposed = self._proposed_at(name) if rows.keeps else UNSET
        numbers = _numbers(rows.item, value[: rows.most + 1], proposed)
        for index, (number, one) in enumerate(zip(numbers, value, strict=False)):
            self.data.appendlist(name, str(number))
            self.rows[f"{name}/{number}"] = str(index)
            self.write(rows.item, one, f"{name}/{number}")

    def _is_as_proposed(self, name: str, value: Any) -> bool:
        return is_same(self._proposed_at(name), value)

    def _proposed_at(self, name: str) -> Any:
        """Return what is proposed where an input is; UNSET for nothing."""
        if self._proposed is UNSET:
            return UNSET
        try:
            return find(self._proposed, name.removeprefix(ROOT))
        except LookupError:
            return UNSET

    def _write_django(self, form: BaseForm, values: Mapping[str, Any]) -> None:
        for key, value in values.items():
            if key not in form.fields:
                self.refuse(f"{ROOT}/{escape(key)}", _UNKNOWN)
                continue
            bound = form[key]
            if isinstance(bound.field, FileField):
                self._write_file(f"{ROOT}/{key}", bound.html_name, value)
                continue
            suffixes = getattr(bound.field.widget, "widgets_names", None)  # of one with parts
            if suffixes is not None and isinstance(value, list):
                parts = [f"{bound.html_name}{suffix}" for suffix in suffixes]
                for part, one in zip(parts, value, strict=False):
                    self.data.appendlist(part, _as_sent(one))
            else:
                for one in value if isinstance(value, list) else [value]:
                    if one is not None and one is not False:
                        self.data.appendlist(bound.html_name, _as_sent(one))

    def _write_file(self, name: str, field: str, value: Any) -> None:
        try:
            file = read_kept(to_kept(value))
        except ValidationError as error:
            self.refuse(name, error.messages[0])
            return
        content = base64.b64decode(file["base64"])
        self.files[field] = SimpleUploadedFile(file["name"], content, file["type"])


def _is_fixed(node: Node) -> bool:
    return isinstance(node, Leaf) and node.kind is Kind.FIXED


def _numbers(item: Node, values: list[Any], proposed: Any) -> Iterator[int]:
    """Yield a number for each row: of the row that is proposed and only changed, else a new one.

    What a row holds that cannot be changed says which it is.
    """
    old = dict(enumerate(proposed)) if isinstance(proposed, list) else {}
    new = count(len(old))
    for index, value in enumerate(values):
        found = [one for one in (index, *old) if one in old and _is_row(item, value, old[one])]
        number = found[0] if found else next(new)
        old.pop(number, None)
        yield number


def _is_row(item: Node, value: Any, old: Any) -> bool:
    """Whether a row could be what another was changed into."""
    if not (isinstance(item, Group) and isinstance(value, dict) and isinstance(old, dict)):
        return True
    asked = {key for key, one in _members_of(item, value).items() if not _is_fixed(one)}
    return all(is_same(value[key], old.get(key, UNSET)) for key in value if key not in asked)


def _part_of(given: Any, pointer: str) -> Any:
    if given is UNSET:
        raise LookupError(pointer)
    return find(given, pointer)


def _is_within(pointer: str, others: Iterable[str]) -> bool:
    return any(pointer == one or pointer.startswith(f"{one}/") for one in others)


def _members_of(group: Group, value: Mapping[str, Any]) -> dict[str, Node]:
    """Return the questions of an object: of two of one name the one that its values lead to."""
    members = dict(group.members)
    for branch in group.branches:
        applies = branch.condition.holds(value) is branch.wanted
        for key, node in branch.members.items():
            if applies or key not in members:
                members[key] = node
    return members


def _as_sent(value: Any) -> str:
    if value is True:
        return "on"
    return json.dumps(value) if isinstance(value, dict | list) else str(value)


type _Sent = Iterator[tuple[str, str]]


def _texts(leaf: Leaf, value: Any, name: str) -> _Sent:
    """Yield the inputs of one question; raises ``ValidationError`` for a wrong type."""
    if (write := _WRITERS.get(leaf.kind)) is not None:
        yield from write(leaf, value, name)
        return
    has_type, sentence = _TYPES.get(leaf.kind, (_is_text, _("This must be text.")))
    if not has_type(value):
        raise ValidationError(sentence)
    yield name, str(value)


def _fixed(leaf: Leaf, value: Any, _name: str) -> _Sent:
    if not is_same(value, leaf.default):
        raise ValidationError(_FIXED)
    yield from ()


def _boolean(_leaf: Leaf, value: Any, name: str) -> _Sent:
    if not isinstance(value, bool):
        raise ValidationError(_("This must be true or false."))
    if value:
        yield name, "on"


def _json(_leaf: Leaf, value: Any, name: str) -> _Sent:
    yield name, json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _file(_leaf: Leaf, value: Any, name: str) -> _Sent:
    if not isinstance(value, dict):
        raise ValidationError(_("This must be an object with name, type and base64."))
    yield f"{name}{KEPT}", to_kept(value)


def _choices(leaf: Leaf, value: Any, name: str) -> _Sent:
    if not isinstance(value, list):
        raise ValidationError(_("This must be a list."))
    for one in value:
        yield from _choice(leaf, one, name)


def _choice(leaf: Leaf, value: Any, name: str) -> _Sent:
    if not (key := leaves.key_of(leaf, value)):
        raise ValidationError(_("Choose one of these."), code="invalid_choice")
    yield name, key


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_date(value: Any) -> bool:
    return _is_text(value) and _is_of(FORMATS["date"], value)


def _is_instant(value: Any) -> bool:
    return _is_text(value) and _is_of(FORMATS["date-time"], value)


def _is_of(check: Callable[[object], bool], value: str) -> bool:
    try:
        return check(value)
    except ValueError:
        return False


def _is_whole(value: Any) -> bool:
    return _is_number(value) and (isinstance(value, int) or value.is_integer())


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_WRITERS: Mapping[Kind, Callable[[Leaf, Any, str], _Sent]] = {
    Kind.FIXED: _fixed,
    Kind.BOOLEAN: _boolean,
    Kind.JSON: _json,
    Kind.FILE: _file,
    Kind.CHOICES: _choices,
    Kind.CHOICE: _choice,
}
_TYPES: Mapping[Kind, tuple[Callable[[Any], bool], Any]] = {
    Kind.DATE: (_is_date, _("This must be a date, such as 2026-05-31.")),
    Kind.INSTANT: (
        _is_instant,
        _("This must be a time with its zone, such as 2026-05-31T14:00:00Z."),
    ),
    Kind.INTEGER: (_is_whole, _("This must be a whole number.")),
    Kind.NUMBER: (_is_number, _("This must be a number.")),
}
