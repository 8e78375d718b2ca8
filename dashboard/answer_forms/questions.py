"""What is filled in with an answer, in whichever way a description asks for it."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import msgspec
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.forms import BoundField, FileField
from django.http import QueryDict
from django.utils.datastructures import MultiValueDict
from django.utils.translation import gettext_lazy as _
from msgspec import UNSET

from dashboard.answer_forms.files import with_contents
from dashboard.answer_forms.leaves import check_keys
from dashboard.answer_forms.parts import Filling, GroupPart, LeafPart, Part, part_for
from dashboard.answer_forms.registered import load, schema_of
from dashboard.answer_forms.values import to_json
from dashboard.descriptions.description import Description
from dashboard.descriptions.form import DJANGO, Named, parse_form
from dashboard.descriptions.proposal import Proposal, Row
from dashboard.descriptions.reading import DescriptionError
from dashboard.descriptions.schema import read_schema

ROOT = "values"
MAX_VALUES = 1024 * 1024
_PATH = "form"


class Fault(NamedTuple):
    """What is wrong, for the list above the form: a link to the input, its label, the sentence.

    ``name`` is that of the input, for programs: a JSON pointer without its first slash.
    """

    id: str
    label: Any
    message: Any
    name: str = ""


class Questions(Protocol):
    """The part of a form that asks for values."""

    @property
    def parts(self) -> Sequence[Any]: ...

    @property
    def fixed(self) -> Sequence[Row]: ...

    @property
    def is_multipart(self) -> bool: ...

    @property
    def files(self) -> Mapping[str, str]: ...

    def is_blank(self) -> bool: ...

    def clean(self) -> Mapping[str, Any] | None: ...

    @property
    def faults(self) -> Sequence[Fault]: ...


class SchemaQuestions:
    """Questions of a JSON Schema, of a pydantic model, or for the parts of a proposal."""

    def __init__(
        self,
        parts: Mapping[str, Part],
        *,
        proposal: Proposal | None = None,
        secrets: tuple[str, ...] = (),
    ) -> None:
        """Take the parts by the JSON pointer to their value."""
        self._by_pointer = parts
        self._proposal = proposal
        self._secrets = secrets
        self._faults: list[Fault] = []

    @property
    def parts(self) -> Sequence[Part]:
        """The parts in the order of the page; those of an object without the object itself."""
        [*parts] = self._by_pointer.values()
        if len(parts) == 1 and isinstance(parts[0], GroupPart) and not parts[0].node.is_list:
            return parts[0].parts
        return parts

    @property
    def fixed(self) -> Sequence[Row]:
        """What is proposed and cannot be changed."""
        return () if self._proposal is None else self._proposal.fixed(self._secrets)

    @property
    def is_multipart(self) -> bool:
        """Whether files may come with it."""
        return any(isinstance(one, LeafPart) and one.is_file for one in self._walk())

    @property
    def files(self) -> Mapping[str, str]:
        """The files that were sent, by the inputs that carry them along."""
        return {
            part.kept_name: part.kept
            for part in self._walk()
            if isinstance(part, LeafPart) and part.is_file and part.kept
        }

    def is_blank(self) -> bool:
        """Say whether nothing was filled in; what is proposed stands there without that."""
        if self._proposal is not None:
            return False
        return all(part.is_untouched() for part in self._by_pointer.values())

    def clean(self) -> Mapping[str, Any] | None:
        """Return the values; None when something is wrong."""
        found = {pointer: part.clean() for pointer, part in self._by_pointer.items()}
        if any(part.errors for part in self._walk()):
            return None
        if self._proposal is not None:
            found = {at: one for at, one in found.items() if one is not UNSET}
            return self._checked(self._proposal.edited(found))
        return self._checked(found[""])

    @property
    def faults(self) -> Sequence[Fault]:
        """What is wrong, in the order of the page."""
        found = [
            Fault(part.id, part.label, message, part.name)
            for part in self._walk()
            for message in part.errors
        ]
        return [*self._faults, *found]

    def _checked(self, values: Any) -> Mapping[str, Any] | None:
        try:
            check_values(values)
        except ValidationError as error:
            self._faults += [Fault("", "", message) for message in error.messages]
            return None
        made: Mapping[str, Any] = values
        return made

    def _walk(self) -> list[Part]:
        return [one for part in self._by_pointer.values() for one in part.walk()]


class PydanticQuestions(SchemaQuestions):
    """Questions of a model, which has the last word on the values.

    Where it wants bytes a file is asked for, and the model gets what is in it.
    """

    def __init__(self, model: Any, parts: Mapping[str, Part]) -> None:
        """Take the model."""
        super().__init__(parts)
        self._model = model

    def clean(self) -> Mapping[str, Any] | None:
        """Validate what the form has read, and return what the model makes of it."""
        values = super().clean()
        if values is None:
            return None
        try:
            made = self._validated(values).model_dump(mode="json")
        except UnicodeDecodeError:
            self._faults.append(Fault("", "", _("This takes files of plain text only.")))
            return None
        except ValueError as error:  # what pydantic raises is one
            self._place(error)
            return None
        return self._checked(made)

    def _validated(self, values: Mapping[str, Any]) -> Any:
        try:
            return self._model.model_validate(values)
        except ValueError as error:
            problems: list[dict[str, Any]] = getattr(error, "errors", list)()
            wanted = [one["input"] for one in problems if one.get("type") == "bytes_type"]
            if not wanted:
                raise
        return self._model.model_validate(with_contents(values, wanted))

    def _place(self, error: ValueError) -> None:
        """Put each problem beside the input that it is about."""
        problems = getattr(error, "errors", None)
        if problems is None:
            self._faults.append(Fault("", "", str(error)))
            return
        by_name = {part.name: part for part in self._walk()}
        for problem in problems():
            name = "/".join([ROOT, *(str(key) for key in problem["loc"])])
            part = self._nearest(by_name, name)
            if part is None:
                self._faults.append(Fault("", "", problem["msg"]))
            else:
                part.errors.append(problem["msg"])

    def _nearest(self, by_name: Mapping[str, Part], name: str) -> Part | None:
        while name and name != ROOT:
            if name in by_name:
                return by_name[name]
            name = name.rpartition("/")[0]
        return None


class DjangoPart:
    """A field of a Django form, as the page shows parts."""

    kind = "leaf"
    is_fixed = is_file = is_checkbox = is_set = False
    when = note = kept = described_by = ""
    has_old = False

    def __init__(self, field: BoundField) -> None:
        """Take the field."""
        self.name = field.html_name
        self.id = field.auto_id
        self.label = field.label
        self.help = field.help_text
        self.is_required = field.field.required
        self.errors = list(field.errors)
        self.is_checkbox = field.widget_type == "checkbox"
        self.is_set = bool(field.use_fieldset)
        self.html = str(field)


class DjangoQuestions:
    """Questions of a Django form."""

    fixed: Sequence[Row] = ()
    files: Mapping[str, str] = {}

    def __init__(self, form_class: Any, filling: Filling) -> None:
        """Fill in the form."""
        is_sent = filling.data is not None and not filling.is_draft
        self._form = form_class(
            data=filling.data if is_sent else None,
            files=filling.files if is_sent else None,
            prefix=ROOT,
            auto_id=filling.auto_id,
        )
        self._faults: list[Fault] = []
        if filling.data is not None and filling.is_draft:
            self._show_again(filling.data, filling.files)

    def _show_again(self, data: QueryDict, files: MultiValueDict[str, Any]) -> None:
        """Let the fields begin with what had been written, which is not checked yet."""
        for name, field in self._form.fields.items():
            if not isinstance(field, FileField):
                html_name = self._form[name].html_name
                self._form.initial[name] = field.widget.value_from_datadict(data, files, html_name)

    @property
    def parts(self) -> Sequence[DjangoPart]:
        """Its fields."""
        return [DjangoPart(field) for field in self._form.visible_fields()]

    @property
    def hidden(self) -> Sequence[BoundField]:
        """Its hidden fields."""
        return list(self._form.hidden_fields())

    @property
    def is_multipart(self) -> bool:
        """Whether files may come with it."""
        return bool(self._form.is_multipart())

    def is_blank(self) -> bool:
        """Say whether nothing was changed."""
        return not self._form.has_changed()

    def clean(self) -> Mapping[str, Any] | None:
        """Return the values; None when something is wrong."""
        if not self._form.is_bound:
            self._faults.append(Fault("", "", _("There is a form to fill in.")))
        if not self._form.is_valid():
            return None
        to_values = getattr(self._form, "to_values", None)
        try:
            found = to_values() if to_values else self._form.cleaned_data
            values: dict[str, Any] = to_json(found)
            check_values(values)
        except ValidationError as error:
            self._faults += [Fault("", "", message) for message in error.messages]
            return None
        return values

    @property
    def faults(self) -> Sequence[Fault]:
        """What is wrong."""
        if not self._form.is_bound:
            return self._faults
        general = [Fault("", "", message) for message in self._form.non_field_errors()]
        found = [
            Fault(field.auto_id, field.label, message, f"{ROOT}/{field.name}")
            for field in self._form
            for message in field.errors
        ]
        return [*self._faults, *general, *found]


class NoQuestions:
    """Nothing is asked for."""

    parts: Sequence[Part] = ()
    fixed: Sequence[Row] = ()
    faults: Sequence[Fault] = ()
    files: Mapping[str, str] = {}
    is_multipart = False

    def is_blank(self) -> bool:
        """Say that nothing was filled in."""
        return True

    def clean(self) -> Mapping[str, Any]:
        """Return no values."""
        return {}


class MissingQuestions(NoQuestions):
    """The class that has the questions is no longer there: nobody can give the values."""

    def __init__(self, problem: str) -> None:
        """Take the reason."""
        self.problem = problem
        self.faults: Sequence[Fault] = ()

    def clean(self) -> None:  # type: ignore[override]
        """Refuse."""
        text = _("The form of this question cannot be shown: %(problem)s")
        self.faults = [Fault("", "", text % {"problem": self.problem})]


def questions_for(described: Description | None, filling: Filling) -> Questions:
    """Return what a description asks to be filled in."""
    if described is not None and described.proposal is not None:
        return _for_proposal(described.proposal, filling, described.secrets)
    if described is None or described.form is None:
        return NoQuestions()
    try:
        form = parse_form(described.form, _PATH)
        if isinstance(form, Named):
            return _for_class(form, filling)
    except (DescriptionError, ImproperlyConfigured) as error:
        return MissingQuestions(str(error))
    return SchemaQuestions({"": part_for(form, ROOT, "", filling)})


def check_values(values: Any) -> None:
    """Refuse values that no worker should get; raises ``ValidationError``."""
    if not isinstance(values, dict):
        raise ValidationError(_("Write a JSON object."), code="invalid")
    check_keys(values)
    if len(msgspec.json.encode(values)) > MAX_VALUES:
        raise ValidationError(_("This is too large to be sent."), code="too_large")


def _for_class(named: Named, filling: Filling) -> Questions:
    found = load(named)
    if named.kind == DJANGO:
        return DjangoQuestions(found, filling)
    node = read_schema(schema_of(found), _PATH)
    return PydanticQuestions(found, {"": part_for(node, ROOT, "", filling)})


def _for_proposal(
    proposal: Proposal, filling: Filling, secrets: tuple[str, ...]
) -> SchemaQuestions:
    parts = {
        pointer: _with_old(part_for(node, f"{ROOT}{pointer}", "", filling))
        for pointer, node in proposal.editable.items()
    }
    return SchemaQuestions(parts, proposal=proposal, secrets=secrets)


def _with_old(part: Part) -> Part:
    """Let inputs say what was proposed."""
    for one in part.walk():
        if isinstance(one, LeafPart) and not one.is_file:
            one.old = one.leaf.default
    return part
