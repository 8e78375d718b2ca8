"""The forms with which people answer."""

import uuid
from typing import Any

import msgspec
from django import forms
from django.http import QueryDict
from django.utils.translation import gettext_lazy as _

from dashboard.decisions import Answer
from dashboard.models import Action, HumanTask
from dashboard.question_ids import encode

MAX_COMMENT = 10_000
MAX_VALUE = 100_000
_FORBIDDEN_KEY = "__py_pickle"
"""Python SDK workers would unpickle what stands under it."""


class DecisionForm(forms.Form):
    """Approve or reject, with a comment. The buttons are the choice, so it has no widget."""

    answer = forms.ChoiceField(
        choices=[(Action.APPROVE, _("Approve")), (Action.REJECT, _("Reject"))],
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

    def to_answer(self) -> Answer:
        """Return the answer of a valid form."""
        return Answer(
            action=Action(self.cleaned_data["answer"]),
            comment=self.cleaned_data["comment"],
            request_key=self.cleaned_data["request_key"],
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
        if not (text := self.cleaned_data["value"]):
            return msgspec.UNSET
        try:
            value = msgspec.json.decode(text)
        except (msgspec.DecodeError, RecursionError) as error:
            raise forms.ValidationError(
                _("This is not JSON: %(problem)s."),
                code="invalid",
                params={"problem": str(error).removeprefix("JSON is malformed: ")},
            ) from None
        if _has_key(value, _FORBIDDEN_KEY):
            raise forms.ValidationError(
                _("The key %(key)s is not allowed."),
                code="forbidden",
                params={"key": _FORBIDDEN_KEY},
            )
        return value


def form_for(task: HumanTask, data: QueryDict | None = None) -> DecisionForm:
    """Return the form that a question has."""
    form = DecisionForm if task.is_described else PlainDecisionForm
    # A page may hold several panels, and ids of elements are unique.
    return form(data, auto_id=f"{encode(task.pk)}-%s")


def _has_key(value: Any, key: str) -> bool:
    match value:
        case dict():
            return key in value or any(_has_key(one, key) for one in value.values())
        case list():
            return any(_has_key(one, key) for one in value)
    return False
