"""The forms with which people answer."""

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from django import forms
from django.http import QueryDict
from django.utils.datastructures import MultiValueDict
from django.utils.translation import gettext_lazy as _

from dashboard.answer_forms.leaves import decode_json
from dashboard.answer_forms.parts import Filling
from dashboard.answer_forms.questions import Fault, NoQuestions, Questions, questions_for
from dashboard.answering import Answer
from dashboard.descriptions.answers import DEFAULT, AnswerOption, Need
from dashboard.models import HumanTask
from dashboard.question_ids import encode
from dashboard.rights import RefusedError
from dashboard.wording import label_of

MAX_COMMENT = 10_000
MAX_VALUE = 100_000

FILLED = "filled"
"""Sent by a form that shows its questions: without it they are answered as they begin."""
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

    def __init__(
        self,
        *args: Any,
        options: Sequence[AnswerOption] = DEFAULT,
        questions: Questions | None = None,
        **kwargs: Any,
    ) -> None:
        """Take the answers that can be chosen, and what is filled in with them."""
        super().__init__(*args, **kwargs)
        self.questions: Questions = questions or NoQuestions()
        self.values: Mapping[str, Any] = {}
        self._options = {one.name: one for one in options}
        self._has_faults = False
        chosen: Any = self.fields["answer"]
        chosen.choices = [(one.name, label_of(one)) for one in options]

    def clean(self) -> dict[str, Any]:
        """Ask for what the chosen answer needs."""
        super().clean()
        option = self._options.get(self.cleaned_data.get("answer", ""))
        if option is None:
            return self.cleaned_data
        if option.needs_comment and self.cleaned_data.get("comment") == "":
            self.add_error("comment", _("This answer needs a comment."))
        if _takes_values(option, self.questions):
            values = self.questions.clean()
            self._has_faults = values is None
            self.values = values or {}
        return self.cleaned_data

    def is_valid(self) -> bool:
        """Say whether it can be sent, with what is filled in."""
        return super().is_valid() and not self._has_faults

    @property
    def faults(self) -> list[Fault]:
        """What is wrong, in the order of the page."""
        if not self.is_bound:
            return []
        found = [Fault("", "", message) for message in self["answer"].errors]
        found += self.questions.faults
        return found + [
            Fault(field.auto_id, field.label, message)
            for field in self.visible_fields()
            for message in field.errors
        ]

    @property
    def typed(self) -> str:
        """What was filled in, for those whose answer came too late."""
        if not self.values:
            return ""
        return msgspec.json.format(msgspec.json.encode(self.values)).decode()

    def is_multipart(self) -> bool:
        """Whether files may come with it."""
        return super().is_multipart() or self.questions.is_multipart

    def to_answer(self) -> Answer:
        """Return the answer of a valid form."""
        return Answer(
            name=self.cleaned_data["answer"],
            comment=self.cleaned_data["comment"],
            request_key=self.cleaned_data["request_key"],
            values=self.values,
            given=self.cleaned_data.get("value", msgspec.UNSET),
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
        filling.data = sent
    word, _colon, name = again.partition(":")
    filling.added = name if word == "add" else ""
    filling.removed = name if word == "remove" else ""
    kind = DecisionForm if task.is_described else PlainDecisionForm
    form = kind(
        data,
        auto_id=filling.auto_id,
        initial=draft.dict() if draft else None,
        options=task.options,
        questions=questions_for(described, filling),
    )
    form.is_again = bool(again)
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


def _takes_values(option: AnswerOption, questions: Questions) -> bool:
    if option.form is Need.OPTIONAL:
        return not questions.is_blank()
    return option.form is Need.REQUIRED
