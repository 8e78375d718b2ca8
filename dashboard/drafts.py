"""What somebody has written and not sent: kept on the server, so that nothing is lost."""

from collections.abc import Mapping, Sequence
from typing import Any

from django.contrib.auth.models import AbstractBaseUser
from django.http import QueryDict

from dashboard.answer_forms.files import KEPT
from dashboard.models import Draft, HumanTask
from durable.clock import now_ms
from durable.conf import database_alias

MAX_BYTES = 200_000
MAX_WITH_FILES = 4_000_000
_NOT_KEPT = frozenset(
    {"csrfmiddlewaretoken", "answer", "request_key", "next", "confirmation", "described_at"}
)


def save_draft(task: HumanTask, user: AbstractBaseUser, data: QueryDict) -> bool:
    """Keep the fields of a form; return whether there was anything to keep."""
    return keep_fields(task, user, fields_of(data))


def fields_of(data: QueryDict) -> dict[str, list[str]]:
    """Return what of a form may be kept."""
    return {
        name.replace("\0", ""): [value.replace("\0", "") for value in data.getlist(name)]
        for name in data
        if name not in _NOT_KEPT
    }


def keep_fields(
    task: HumanTask, user: AbstractBaseUser, fields: Mapping[str, Sequence[str]]
) -> bool:
    """Keep what ``fields_of`` returned; return whether there was anything to keep.

    What is too long leaves what was kept before.
    """
    drafts = Draft.objects.using(database_alias())
    typed = {name: values for name, values in fields.items() if not name.endswith(KEPT)}
    if _length(fields) > MAX_WITH_FILES:
        fields = typed
    if _length(typed) > MAX_BYTES:
        return False
    if not any(value for values in fields.values() for value in values):
        drafts.filter(task=task.pk, user=user.pk).delete()
        return False
    drafts.update_or_create(
        task_id=task.pk, user_id=user.pk, defaults={"fields": dict(fields), "saved_at": now_ms()}
    )
    return True


def _length(fields: Mapping[str, Sequence[str]]) -> int:
    return sum(len(one) for values in fields.values() for one in values)


def read_draft(task: HumanTask, user: Any) -> QueryDict | None:
    """Return what a user had written, as it would be sent; None for nothing."""
    draft = find_draft(task, user)
    return None if draft is None else to_query(draft.fields)


def to_query(fields: Mapping[str, Sequence[str]]) -> QueryDict:
    """Return kept fields as they would be sent."""
    data = QueryDict(mutable=True)
    for name, values in fields.items():
        data.setlist(name, list(values))
    return data


def find_draft(task: HumanTask, user: Any) -> Draft | None:
    """Return what a user had written, as it is kept; None for nothing."""
    return Draft.objects.using(database_alias()).filter(task=task.pk, user=user.pk).first()


def drop_draft(task: HumanTask, user: AbstractBaseUser) -> None:
    """Forget it: it was sent."""
    Draft.objects.using(database_alias()).filter(task=task.pk, user=user.pk).delete()
