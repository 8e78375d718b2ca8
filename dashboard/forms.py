"""The forms with which people answer."""

import uuid
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
from django import forms
from django.http import QueryDict
from django.utils.datastructures import MultiValueDict
from django.utils.translation import gettext_lazy as _

from dashboard import confirming
from dashboard.answer_forms.given import fields_of
from dashboard.answer_forms.leaves import decode_json
from dashboard.answer_forms.parts import Filling
from dashboard.answer_forms.questions import Fault, NoQuestions, Questions, questions_for
from dashboard.answering import Answer
from dashboard.descriptions.answers import DEFAULT, AnswerOption, Need
from dashboard.descriptions.confirmation import Confirmation
from dashboard.models import HumanTask
from dashboard.question_ids import encode
from dashboard.rights import CHANGED, RefusedError
from dashboard.wording import label_of

MAX_COMMENT = 10_000
MAX_VALUE = 100_000
MAX_CONFIRMATION = 4096

FILLED = "filled"
"""Sent by a form that shows its questions: without it they are answered as they begin."""
SEEN = "described_at"
"""Sent by forms on pages: which description was read, if the API gave it; it may give another."""
AGAIN = "again"
"""Sent by buttons that add or remove a row: the form comes back and nothing is decided."""


class DecisionForm(forms.Form):
    """Approve or reject, with a comment. The buttons are the choice, so it has no widget."""

    answer = forms.ChoiceField(
        widget=forms.HiddenInput,
        error_messages={
            "required": _("Choose an answer."),
            "invalid_choice": _("Choose one of the answers."),
        },
    )
    comment = forms.CharField(
        label=_("Comment"),
        required=False,
        max_length=MAX_COMMENT,
        widget=forms.Textarea(attrs={"rows": 3}),
        error_messages={
            "max_length": _("Shorten the comment to %(limit_value)d characters at most."),
        },
    )
    request_key = forms.CharField(
        required=False, max_length=64, widget=forms.HiddenInput, initial=uuid.uuid4
    )

    is_again = False
    is_outdated = False
    is_given = False
    asked_at: int | None = None

    def __init__(
        self,
        *args: Any,
        options: Sequence[AnswerOption] = DEFAULT,
        questions: Questions | None = None,
        confirmed: Mapping[str, Confirmation] | None = None,
        confirmation_label: Any = "",
        **kwargs: Any,
    ) -> None:
        """Take the answers that can be chosen, and what is filled in with them.

        ``confirmed`` are the names of those that have to be confirmed.
        """
        super().__init__(*args, **kwargs)
        self._confirmed = confirmed or {}
        for confirmation in list(self._confirmed.values())[:1]:
            self.fields["confirmation"] = _confirmation_field(confirmation, confirmation_label)
        self.questions: Questions = questions or NoQuestions()
        self.values: Mapping[str, Any] = {}
        self._options = {one.name: one for one in options}
        self._has_faults = False
        chosen: Any = self.fields["answer"]
        chosen.choices = [(one.name, label_of(one)) for one in options]

    def clean(self) -> dict[str, Any]:
        """Ask for what the chosen answer needs."""
        super().clean()
        if self.is_outdated:
            self.add_error("answer", CHANGED)
        option = self._options.get(self.cleaned_data.get("answer", ""))
        if option is None:
            return self.cleaned_data
        if option.needs_comment and self.cleaned_data.get("comment") == "":
            self.add_error("comment", _("This answer needs a comment."))
        self._check_confirmation(option)
        if self._takes_values(option):
            values = self.questions.clean()
            self._has_faults = values is None
            self.values = values or {}
        return self.cleaned_data

    def _check_confirmation(self, option: AnswerOption) -> None:
        """Ask for it; whether a password is right is looked at when the answer is given."""
        confirmation = self._confirmed.get(option.name)
        given = self.cleaned_data.get("confirmation")
        if confirmation is None or given is None:
            return
        if confirmation.is_password and not given:
            self.add_error("confirmation", _("Enter your password to confirm this answer."))
        elif not given:
            self.add_error("confirmation", _("Fill this in."))
        elif not (confirmation.is_password or confirmation.is_text(given)):
            self.add_error("confirmation", confirming.NOT_THE_TEXT)

    def _takes_values(self, option: AnswerOption) -> bool:
        if option.form is Need.OPTIONAL:
            return self.is_given or not self.questions.is_blank()
        return option.form is Need.REQUIRED

    def is_valid(self) -> bool:
        """Say whether it can be sent, with what is filled in."""
        return super().is_valid() and not self._has_faults

    @property
    def faults(self) -> list[Fault]:
        """What is wrong, in the order of the page."""
        if not self.is_bound:
            return []
        found = [Fault("", "", message, "answer") for message in self["answer"].errors]
        found += self.questions.faults
        return found + [
            Fault(field.auto_id, field.label, message, field.name)
            for field in self.visible_fields()
            for message in field.errors
        ]

    @property
    def confirmation_field(self) -> forms.BoundField | None:
        """The field that stands beside the buttons, if an answer has to be confirmed."""
        return self["confirmation"] if "confirmation" in self.fields else None

    @property
    def confirms_all(self) -> bool:
        """Whether every answer has to be confirmed."""
        return self._options.keys() == self._confirmed.keys()

    @property
    def typed(self) -> str:
        """What was filled in, for those whose answer came too late."""
        if not self.values:
            return ""
        return msgspec.json.format(msgspec.json.encode(self.values)).decode()

    def is_multipart(self) -> bool:
        """Whether files may come with it."""
        return super().is_multipart() or self.questions.is_multipart

    def to_give_back(self, sent: QueryDict) -> QueryDict:
        """Return what was sent and the files with it, to be filled in again."""
        data = sent.copy()
        for name, file in self.questions.files.items():
            data[name] = file
        return data

    def to_answer(self) -> Answer:
        """Return the answer of a valid form."""
        return Answer(
            name=self.cleaned_data["answer"],
            comment=self.cleaned_data["comment"],
            request_key=self.cleaned_data["request_key"],
            values=self.values,
            given=self.cleaned_data.get("value", msgspec.UNSET),
            confirmation=self.cleaned_data.get("confirmation", ""),
            asked_at=self.asked_at,
        )


class PlainDecisionForm(DecisionForm):
    """For what nothing describes: the asker may expect any value, so one may be given as JSON."""

    field_order = ("value", "comment")

    value = forms.CharField(
        label=_("Value to hand back"),
        required=False,
        strip=True,
        max_length=MAX_VALUE,
        widget=forms.Textarea(attrs={"rows": 2, "spellcheck": "false", "class": "code"}),
        help_text=_(
            "JSON, used when you approve. Left empty, your decision itself is handed back."
        ),
    )

    def clean_value(self) -> Any:
        """Decode the JSON; an empty field hands back nothing of its own."""
        text = self.cleaned_data["value"]
        return decode_json(text) if text else msgspec.UNSET


def form_for(
    task: HumanTask,
    data: QueryDict | None = None,
    files: MultiValueDict[str, Any] | None = None,
    *,
    draft: QueryDict | None = None,
) -> DecisionForm:
    """Return the form that a question has; ``draft`` is what had been written and not sent."""
    described = task.described
    # A page may hold several panels, and ids of elements are unique.
    filling = Filling(f"{encode(task.pk)}-%s", files=files or MultiValueDict())
    again = "" if data is None else data.get(AGAIN, "")
    if data is not None and again:  # shown as it is, not checked
        data, draft = None, data
    sent = draft if data is None else data
    if sent is not None and FILLED in sent:
        filling.data, filling.is_draft = sent, data is None
    word, _colon, name = again.partition(":")
    filling.added = name if word == "add" else ""
    filling.removed = name if word == "remove" else ""
    kind = DecisionForm if task.is_described else PlainDecisionForm
    confirmed = {
        one.name: confirmation
        for one in task.options
        if (confirmation := confirming.confirmation_of(task, one)) is not None
    }
    form = kind(
        data,
        auto_id=filling.auto_id,
        initial=draft.dict() if draft else None,
        options=task.options,
        questions=questions_for(described, filling),
        confirmed=confirmed,
        confirmation_label=next((confirming.label_of(task, one) for one in confirmed.values()), ""),
    )
    form.is_again = bool(again)
    form.asked_at = task.asked_at
    seen = str(task.described_at or 0)
    form.is_outdated = data is not None and data.get(SEEN, seen) != seen
    return form


def answer_without_form(
    task: HumanTask, name: str, *, comment: str = "", request_key: str = ""
) -> Answer:
    """Return an answer that is given by a button alone: what is asked for stays as it begins.

    Raises ``RefusedError`` where that is not enough.
    """
    data = QueryDict(mutable=True)
    data.update({"answer": name, "comment": comment, "request_key": request_key})
    form = form_for(task, data)
    if form.is_valid():
        return form.to_answer()
    if form.errors:
        raise RefusedError(str(next(iter(form.errors.values()))[0]))
    raise RefusedError(_("Open the question to answer it: there is a form to fill in."))


class Sent(NamedTuple):
    """An answer as a program sends it.

    values: None answers with what the form begins with, as a button without a form does.
    value: what is handed back in place of the decision; UNSET for the decision itself.
    confirmation: what questions of high risk ask for besides.
    """

    name: str
    comment: str = ""
    values: Mapping[str, Any] | None = None
    value: Any = msgspec.UNSET
    request_key: str = ""
    confirmation: str = ""


class WrongAnswerError(Exception):
    """What a program sent breaks rules of the form; ``faults`` are all of them."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        """``faults`` have the names of what they are about."""
        super().__init__("; ".join(f"{one.name}: {one.message}" for one in faults))
        self.faults = faults


def read_sent(task: HumanTask, sent: Sent) -> tuple[Answer, QueryDict]:
    """Return the answer that a program sends, as the form checks it that people fill in, and that.

    Raises ``WrongAnswerError``.
    """
    given = fields_of(task.described, sent.values or {})
    faults = list(given.faults)
    data = given.data
    data.update({"answer": sent.name, "comment": sent.comment, "request_key": sent.request_key})
    data["confirmation"] = sent.confirmation
    if sent.values is not None:
        data[FILLED] = "1"
    if sent.value is not msgspec.UNSET:
        if task.is_described:
            faults.append(Fault("", "", _("This question has answers of its own."), "value"))
        data["value"] = msgspec.json.encode(sent.value).decode()
    form = form_for(task, data, given.files)
    form.is_given = bool(sent.values)  # also those that the form begins with
    is_right = form.is_valid()
    if is_right and not faults:
        return form.to_answer(), data
    known = {one.name for one in faults}
    faults += [one for one in form.faults if one.name not in known]
    raise WrongAnswerError([given.as_given(one) for one in faults])


def _confirmation_field(confirmation: Confirmation, label: Any) -> forms.CharField:
    widget: forms.Widget = forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"})
    if confirmation.is_password:
        widget = forms.PasswordInput(attrs={"autocomplete": "current-password"})
    return forms.CharField(
        label=label,
        required=False,
        strip=not confirmation.is_password,
        max_length=MAX_CONFIRMATION,
        widget=widget,
    )
