"""A form as it stands on a page: a tree of parts, filled from a request and read back from it."""

import datetime as dt
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote

from django.core.exceptions import ValidationError
from django.http import QueryDict
from django.utils import timezone
from django.utils.datastructures import MultiValueDict
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _
from msgspec import UNSET

from dashboard.answer_forms import leaves
from dashboard.answer_forms.files import KEPT, read_kept, read_upload, to_kept
from dashboard.clocks import date_text
from dashboard.descriptions.json_schema import escape
from dashboard.descriptions.nodes import (
    Branch,
    Condition,
    Group,
    Kind,
    Leaf,
    Node,
    Rows,
    is_same,
    words,
)

MAX_PARTS = 900
"""Django takes 1000 inputs of one form."""

_INDEX = re.compile(r"[0-9]{1,4}\Z")


@dataclass(slots=True)
class Filling:
    """What a form is filled with, and how its elements are called.

    data: what was sent; None shows what the questions begin with.
    is_draft: whether that is only shown again and not checked.
    added, removed: names of rows' lists and of rows, when a button asked for that.
    """

    auto_id: str
    data: QueryDict | None = None
    is_draft: bool = False
    files: MultiValueDict[str, Any] = field(default_factory=MultiValueDict)
    added: str = ""
    removed: str = ""
    left: int = MAX_PARTS

    def element_id(self, name: str) -> str:
        """Return the id of an element: without spaces, which separate ids."""
        return self.auto_id % quote(name, safe="/~")

    def take(self) -> bool:
        """Say whether there is room for one more part."""
        self.left -= 1
        return self.left >= 0


class Part:
    """What parts have in common."""

    kind = ""

    def __init__(self, node: Node, name: str, label: str, filling: Filling) -> None:
        """Fill in the part that has a name."""
        filling.take()
        self.name = name
        self.id = filling.element_id(name)
        self.label: Any = node.label or label or _("Value")
        self.help: Any = node.help
        self.is_required = node.required
        self.errors: list[Any] = []
        self.when = ""
        self.note: Any = ""
        self.has_focus = False
        self._filling = filling

    def clean(self) -> Any:
        """Return the value, or UNSET; what is wrong is in ``errors``, here and below."""
        raise NotImplementedError

    def is_blank(self) -> bool:
        """Say whether nothing was filled in."""
        raise NotImplementedError

    def is_untouched(self) -> bool:
        """Say whether it is as it began."""
        raise NotImplementedError

    def walk(self) -> "Iterator[Part]":
        """Yield this part and all below it."""
        yield self

    def forget_errors(self) -> None:
        """Forget what is wrong, here and below."""
        for one in self.walk():
            one.errors.clear()


class LeafPart(Part):
    """One input."""

    kind = "leaf"

    def __init__(
        self, node: Leaf, name: str, label: str, filling: Filling, default: Any = UNSET
    ) -> None:
        """Fill in the input."""
        super().__init__(node, name, label, filling)
        self.leaf = _with_default(node, default)
        self.widget = leaves.widget_for(node)
        self.sent = self._read()
        self.old: Any = UNSET
        if node.kind is Kind.INSTANT:
            zone = gettext("Time zone: %(zone)s") % {"zone": timezone.get_current_timezone_name()}
            self.help = f"{self.help} {zone}".strip()

    @property
    def is_file(self) -> bool:
        """Whether a file is asked for."""
        return self.leaf.kind is Kind.FILE

    @property
    def is_fixed(self) -> bool:
        """Whether it is shown only."""
        return self.leaf.kind is Kind.FIXED

    @property
    def is_checkbox(self) -> bool:
        """Whether the label stands behind the input."""
        return self.leaf.kind is Kind.BOOLEAN

    @property
    def is_set(self) -> bool:
        """Whether it is several inputs under one heading."""
        return self.leaf.kind is Kind.CHOICES

    @property
    def kept_name(self) -> str:
        """Name of the hidden input that carries a file along."""
        return f"{self.name}{KEPT}"

    @property
    def kept(self) -> str:
        """A file that was sent and waits for the rest of the form."""
        if not isinstance(self.sent, dict):
            return ""
        return to_kept(self.sent)

    @property
    def kept_file_name(self) -> str:
        """Name of the file that is carried along."""
        return str(self.sent["name"]) if isinstance(self.sent, dict) else ""

    def clean(self) -> Any:
        """Read the value."""
        if self.leaf.kind is Kind.FIXED:
            return self.leaf.default
        if self.errors:  # a file that could not be read
            return UNSET
        try:
            if self.is_file and self.sent:
                return self.sent
            return leaves.parse(self.leaf, self.sent)
        except ValidationError as error:
            self.errors += error.messages
            return UNSET

    def is_blank(self) -> bool:
        """Say whether the input is empty."""
        return self.leaf.kind is Kind.FIXED or leaves.is_blank(self.sent)

    def is_untouched(self) -> bool:
        """Say whether the input has what it began with."""
        return self.leaf.kind is Kind.FIXED or leaves.is_untouched(self.leaf, self.sent)

    @property
    def has_value(self) -> bool:
        """Whether there is anything to show."""
        return self.sent is not UNSET

    @property
    def has_old(self) -> bool:
        """Whether something was proposed."""
        return self.old is not UNSET

    @property
    def old_label(self) -> Any:
        """What was proposed, as it is read: choices in their words, a day as people write it."""
        if self.leaf.kind is Kind.CHOICES and isinstance(self.old, list):
            return ", ".join(str(leaves.label_of(self.leaf, one)) for one in self.old)
        if self.leaf.kind is Kind.DATE:
            with suppress(TypeError, ValueError):
                return date_text(dt.date.fromisoformat(self.old))
        return leaves.label_of(self.leaf, self.old)

    @property
    def described_by(self) -> str:
        """Ids of what is said about the input."""
        said = {"old": self.has_old, "help": self.help, "note": self.note, "error": self.errors}
        return " ".join(f"{self.id}_{key}" for key, is_there in said.items() if is_there)

    @property
    def html(self) -> str:
        """The input itself."""
        attrs: dict[str, Any] = {"id": f"{self.id}_all" if self.is_set else self.id}
        if self.described_by and not self.is_set:
            attrs["aria-describedby"] = self.described_by
        if self.errors:
            attrs["aria-invalid"] = "true"
        if self.is_required and not self.is_set:
            attrs["aria-required"] = "true"
        if self.has_focus:
            attrs["autofocus"] = True
        value = None if self.is_file else self.sent
        return self.widget.render(self.name, value, attrs)

    def _read(self) -> Any:
        data = self._filling.data
        if self.leaf.kind is Kind.FIXED:
            return self.leaf.default
        if data is None:
            return leaves.shown(self.leaf)
        if self.is_file:
            return self._read_file(data)
        return self.widget.value_from_datadict(data, self._filling.files, self.name)

    def _read_file(self, data: QueryDict) -> Any:
        upload = self._filling.files.get(self.name)
        kept = data.get(self.kept_name)
        try:
            if upload is not None:
                return read_upload(upload, self.leaf.accept)
            return read_kept(kept, self.leaf.accept) if kept else None
        except ValidationError as error:
            self.errors += error.messages
            return None


class GroupPart(Part):
    """An object, or a list of a length that stays."""

    kind = "group"

    def __init__(
        self, node: Group, name: str, label: str, filling: Filling, default: Any = UNSET
    ) -> None:
        """Fill in the parts."""
        super().__init__(node, name, label, filling)
        self.node = node
        given = node.default if default is UNSET else default
        self._given = _as_members(given)
        self._is_there = node.keeps and isinstance(given, dict)
        self._rest: dict[str, Part] = {}
        self._members = {key: self._part(key, one) for key, one in node.members.items()}
        self._branches = [(branch, self._branch(branch)) for branch in node.branches]
        asked = {key for key, _part in self._all()}
        # What is proposed and the schema says nothing of is shown, and handed back.
        self._rest = {
            key: self._part(key, Leaf(kind=Kind.FIXED, default=value))
            for key, value in self._given.items()
            if self._is_there and key not in asked
        }

    @property
    def parts(self) -> list[Part]:
        """All parts in the order of the page."""
        return [one for _key, one in self._all()]

    def clean(self) -> Any:
        """Read the members; one whose condition does not hold is left out."""
        if not self.is_required and not self._is_there and self.is_blank():
            return UNSET
        found = {}
        for key, part in self._members.items():
            if (value := part.clean()) is not UNSET:
                found[key] = value
        self._clean_branches(found)
        found |= {key: part.clean() for key, part in self._rest.items()}
        return list(found.values()) if self.node.is_list else found

    def _clean_branches(self, found: dict[str, Any]) -> None:
        required: set[str] = set()
        start = dict(found)
        for branch, parts in self._branches:
            if branch.condition.holds(start) is not branch.wanted:
                for one in parts.values():
                    one.forget_errors()  # of files that are not asked for
                continue
            required |= branch.required
            for key, part in parts.items():
                if (value := part.clean()) is not UNSET:
                    found[key] = value
        for key, part in self._all():
            has_error = any(one.errors for one in part.walk())
            if key in required and key not in found and not has_error:
                part.errors.append(_("Fill this in."))

    def is_blank(self) -> bool:
        """Say whether no part was filled in."""
        return all(part.is_blank() for part in self.parts)

    def is_untouched(self) -> bool:
        """Say whether every part is as it began."""
        return all(part.is_untouched() for part in self.parts)

    def walk(self) -> Iterator[Part]:
        """Yield this part and all below it."""
        yield self
        for part in self.parts:
            yield from part.walk()

    def _all(self) -> Iterator[tuple[str, Part]]:
        yield from self._members.items()
        for _branch, parts in self._branches:
            yield from parts.items()
        yield from self._rest.items()

    def _part(self, key: str, node: Node) -> Part:
        label = "" if self.node.is_list else words(key)
        name = f"{self.name}/{escape(key)}"
        return part_for(node, name, label, self._filling, self._given.get(key, UNSET))

    def _branch(self, branch: Branch) -> dict[str, Part]:
        parts = {key: self._part(key, one) for key, one in branch.members.items()}
        sentence = self._sentence(branch.condition)
        for part in parts.values():
            part.when = self._script_condition(branch)
            text = _("Only if %(condition)s.") if branch.wanted else _("Unless %(condition)s.")
            part.note = text % {"condition": sentence}
        for key in branch.required - parts.keys():
            if (known := self._members.get(key)) is not None and not known.is_required:
                text = _("Required if %(condition)s.")
                if not branch.wanted:
                    text = _("Required unless %(condition)s.")
                known.note = text % {"condition": sentence}
        return parts

    def _sentence(self, condition: Condition) -> str:
        said = []
        for key in dict.fromkeys([*condition.values, *sorted(condition.present)]):
            label = self._members[key].label
            if key in condition.values:
                options = [self._option_label(key, one) for one in condition.values[key]]
                text = gettext("%(field)s is %(values)s")
                said.append(text % {"field": label, "values": _either(options)})
            else:
                said.append(gettext("%(field)s is filled in") % {"field": label})
        return gettext(" and ").join(said)

    def _option_label(self, key: str, value: Any) -> str:
        leaf = self.node.members[key]
        if isinstance(leaf, Leaf):
            for option in leaf.options:
                if option.value == value:
                    return option.label
        if isinstance(value, bool):
            return gettext("yes") if value else gettext("no")
        return str(value)

    def _script_condition(self, branch: Branch) -> str:
        condition = branch.condition
        values: dict[str, list[str]] = {}
        present: list[str] = []
        for key in sorted(condition.present | condition.values.keys()):
            part, name = self._members[key], f"{self.name}/{escape(key)}"
            if not isinstance(part, LeafPart):
                continue
            if part.is_fixed:  # no input says it: what has no input never holds
                known = {} if part.sent is UNSET else {key: part.sent}
                present += [] if condition.only(key).holds(known) else [name]
                continue
            if key in condition.values:
                wanted = condition.values[key]
                values[name] = [leaves.condition_text(part.leaf, one) for one in wanted]
            present += [name] if key in condition.present else []
        return json.dumps({"wanted": branch.wanted, "values": values, "present": present})


class RowsPart(Part):
    """A list with rows that people add and remove."""

    kind = "rows"

    def __init__(
        self, node: Rows, name: str, label: str, filling: Filling, default: Any = UNSET
    ) -> None:
        """Fill in the rows."""
        super().__init__(node, name, label, filling)
        self.node = node
        given = node.default if default is UNSET else default
        self._is_there = node.keeps and isinstance(given, list)
        self._given: list[Any] = given if isinstance(given, list) else []
        self.is_cut = False
        self.rows: list[tuple[int, Part]] = []
        for number in self._numbers():
            # All that is there is shown, else it could not be taken away.
            if len(self.rows) > max(node.most, len(self._given)) or filling.left <= 0:
                self.is_cut = True
                break
            self._add(number)
        if filling.added == name and self.may_add:
            # A number that no row ever had: what stood there before must not come back.
            numbers = [number for number, _part in self.rows]
            self._add(max([len(self._given) - 1, *numbers]) + 1, focus=True)

    @property
    def may_add(self) -> bool:
        """Whether there is room for another row."""
        return len(self.rows) < self.node.most and self._filling.left > 0

    @property
    def add_value(self) -> str:
        """What the button for another row sends."""
        return f"add:{self.name}"

    def clean(self) -> Any:
        """Read the rows."""
        if not self.is_required and not self._is_there and not self.rows:
            return UNSET
        values = [part.clean() for _number, part in self.rows]
        self._check_length()
        if self.node.is_unique and _has_twice(values):
            self.errors.append(_("Two of these are the same."))
        return values

    def _check_length(self) -> None:
        least, most = self.node.least, self.node.most
        if len(self.rows) < least:
            text = ngettext("Add at least %(limit)d.", "Add at least %(limit)d.", least)
            self.errors.append(text % {"limit": least})
        if len(self.rows) > most or self.is_cut:
            text = ngettext("%(limit)d at most.", "%(limit)d at most.", most)
            self.errors.append(text % {"limit": most})

    def is_blank(self) -> bool:
        """Say whether there is no row."""
        return not self.rows

    def is_untouched(self) -> bool:
        """Say whether the rows are those that it began with."""
        if [number for number, _part in self.rows] != list(self._first_numbers()):
            return False
        return all(part.is_untouched() for _number, part in self.rows)

    def walk(self) -> Iterator[Part]:
        """Yield this part and all below it."""
        yield self
        for _number, part in self.rows:
            yield from part.walk()

    def _add(self, number: int, *, focus: bool = False) -> None:
        given = self._given[number] if number < len(self._given) else UNSET
        filling = self._filling
        label = f"{self.label} {len(self.rows) + 1}"
        name = f"{self.name}/{number}"
        if focus:  # what is not there yet begins as the schema says
            filling = Filling(filling.auto_id, left=filling.left)
        part = part_for(self.node.item, name, label, filling, given)
        if self.node.item.label:
            part.label = f"{self.node.item.label} {len(self.rows) + 1}"
        if focus:
            self._filling.left = filling.left
            _focus(part)
        self.rows.append((number, part))

    def _first_numbers(self) -> range:
        """Return the numbers of the rows that it begins with."""
        return range(len(self._given) or self.node.least)

    def _numbers(self) -> Iterator[int]:
        """Yield the numbers of the rows, in their order."""
        data = self._filling.data
        if data is None:
            yield from self._first_numbers()
            return
        sent = [one for one in data.getlist(self.name) if _INDEX.match(one)]
        start = f"{self.name}/"
        for name in [*data, *self._filling.files]:
            if name.startswith(start):
                number = name[len(start) :].partition("/")[0].partition("~")[0]
                if _INDEX.match(number):
                    sent.append(number)
        for number in dict.fromkeys(int(one) for one in sent):
            if f"{self.name}/{number}" != self._filling.removed:
                yield number


def part_for(
    node: Node, name: str, label: str, filling: Filling, default: Any = UNSET
) -> LeafPart | GroupPart | RowsPart:
    """Return the part for a question."""
    if isinstance(node, Group):
        return GroupPart(node, name, label, filling, default)
    if isinstance(node, Rows):
        return RowsPart(node, name, label, filling, default)
    assert isinstance(node, Leaf)  # noqa: S101 - there are three kinds
    return LeafPart(node, name, label, filling, default)


def _with_default(leaf: Leaf, default: Any) -> Leaf:
    is_own = leaf.kind is Kind.FIXED and not leaf.keeps
    return leaf if default is UNSET or is_own else replace(leaf, default=default)


def _as_members(given: Any) -> Mapping[str, Any]:
    if isinstance(given, list):
        return {str(index): one for index, one in enumerate(given)}
    return given if isinstance(given, dict) else {}


def _either(options: list[str]) -> str:
    if len(options) < 2:
        return "".join(options)
    text = gettext("%(others)s or %(last)s")
    return text % {"others": ", ".join(options[:-1]), "last": options[-1]}


def _focus(part: Part) -> None:
    for one in part.walk():
        if isinstance(one, LeafPart) and not one.is_fixed:
            one.has_focus = True
            return


def _has_twice(values: list[Any]) -> bool:
    return any(is_same(one, other) for index, one in enumerate(values) for other in values[:index])
