"""Questions to people: the description of a human task, and the decision that comes back.

The engine passes a description on as it is; unknown keys are kept.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from durable.protocol.records import PromiseRecord
from durable.protocol.states import PromiseState
from durable.workflow import codec, instants, results
from durable.workflow.results import Result

KEY = "human_task"
SCHEMA = 1
EXPIRED = "Expired"
"""Name of the error of a question that nobody answered, when its asker wants it raised."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What people decided.

    outcome: what the promise was settled to, ``resolved`` or ``rejected``.
    approved: yes or no.
    answer: key of the answer that was chosen; None when it was plain yes or no.
    values: what was filled in.
    comment: what was said about it.
    by: who decided, a user name.
    at: when.
    """

    outcome: str
    approved: bool
    answer: str | None = None
    values: Mapping[str, Any] = field(default_factory=dict)
    comment: str = ""
    by: str | None = None
    at: datetime | None = None


def describe(
    title: str,
    *,
    question: str | None,
    users: Iterable[Any],
    groups: Iterable[Any],
    facts: Any,
    consequence: str | None,
    rest: Mapping[str, Any],
) -> dict[str, Any]:
    """Return a description as JSON will hold it; what was not given is left out."""
    given = {
        "question": question,
        "users": [_user(user) for user in _listed(users)] or None,
        "groups": [_group(group) for group in _listed(groups)] or None,
        "facts": facts,
        "consequence": consequence,
        **rest,
    }
    kept = {key: value for key, value in given.items() if value is not None}
    return {"schema": SCHEMA, "title": title, **kept}


def _listed(names: Iterable[Any]) -> Iterable[Any]:
    return (names,) if isinstance(names, str) or not isinstance(names, Iterable) else names


def _user(user: Any) -> str:
    return user if isinstance(user, str) else str(user.get_username())


def _group(group: Any) -> str:
    return group if isinstance(group, str) else str(group.name)


def to_param(description: Mapping[str, Any], due: int | None) -> Any:
    """Return the document for ``param.data``; ``due`` is epoch ms."""
    timed = {} if due is None else {"due": instants.to_text(due)}
    return {KEY: {**description, **timed}}


def read(record: PromiseRecord) -> Result:
    """Return the decision of a settled promise, also of a rejected one; the rest are errors.

    A rejection that says that nobody answered is an error as well.
    """
    at = None if record.settled_at is None else instants.to_datetime(record.settled_at)
    if record.state is PromiseState.RESOLVED:
        answered = codec.decode(record.value, f"the value of {record.id!r}")
        return Result(_decide(record.state, answered, at, approved=True))
    if record.state is PromiseState.REJECTED:
        answered = codec.decode(record.value, f"the error of {record.id!r}")
        if isinstance(answered, dict) and answered.get("name") == EXPIRED:
            return results.read(record)
        return Result(_decide(record.state, answered, at, approved=False))
    return Result(error=results.read_end(record))


def _decide(state: PromiseState, answered: Any, at: datetime | None, *, approved: bool) -> Decision:
    """Read a decision out of whatever JSON came back: by hand or by SDK it may be anything.

    What was resolved approves unless it says otherwise; what was rejected never does.
    """
    if isinstance(answered, bool):
        return Decision(state.value, approved=approved and answered, at=at)
    if isinstance(answered, str):
        answered = {"answer": answered} if approved else {"comment": answered}
    if not isinstance(answered, dict):
        return Decision(state.value, approved=approved, at=at)
    values = answered.get("values")
    comment = answered.get("comment", None if approved else answered.get("message"))
    return Decision(
        outcome=state.value,
        approved=approved and answered.get("approved") is not False,
        answer=_text(answered.get("answer")),
        values=values if isinstance(values, dict) else {},
        comment=_text(comment) or "",
        by=_text(answered.get("by")),
        at=at,
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
