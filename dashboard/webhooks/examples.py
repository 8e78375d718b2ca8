"""Mappings to begin with, by who sends and what for."""

from typing import Any

_SETTLE: dict[str, Any] = {
    "github": {
        "promise_id": "pr-{pull_request.number}-review",
        "outcome": [
            {"when": {"action": "closed", "pull_request.merged": True}, "outcome": "resolve"},
            {
                "when": {"action": "closed"},
                "outcome": "reject",
                "reason": "closed by {sender.login} without a merge",
            },
        ],
        "value": {"merged_by": "pull_request.merged_by.login", "commit": "/pull_request/head/sha"},
    },
    "stripe": {
        "promise_id": "payment-{data.object.metadata.order}",
        "outcome": [
            {"when": {"type": "payment_intent.succeeded"}, "outcome": "resolve"},
            {
                "when": {"type": "payment_intent.payment_failed"},
                "outcome": "reject",
                "reason": "{data.object.last_payment_error.message}",
            },
        ],
        "value": {"amount": "data.object.amount", "currency": "data.object.currency"},
    },
    "slack": {
        "promise_id": "thread-{event.item.ts}",
        "outcome": [
            {
                "when": {"event.type": "reaction_added", "event.reaction": "white_check_mark"},
                "outcome": "resolve",
            },
            {
                "when": {"event.type": "reaction_added", "event.reaction": "x"},
                "outcome": "reject",
                "reason": "crossed out by {event.user}",
            },
        ],
        "value": {"by": "event.user"},
    },
    "generic": {
        "promise_id": "job-{job_id}",
        "outcome": [
            {"when": {"state": "succeeded"}, "outcome": "resolve"},
            {"when": {"state": ["failed", "cancelled"]}, "outcome": "reject", "reason": "{error}"},
        ],
        "value": "result",
    },
}

_START: dict[str, Any] = {
    "github": {
        "function": "build",
        "execution_id": "github/{event:id}",
        "outcome": [{"when": {"header:X-GitHub-Event": "push"}, "outcome": "start"}],
        "args": ["repository.full_name", "after"],
    },
    "stripe": {
        "function": "fulfil",
        "execution_id": "stripe/{event:id}",
        "outcome": [{"when": {"type": "checkout.session.completed"}, "outcome": "start"}],
        "args": ["data.object"],
    },
    "slack": {
        "function": "answer_mention",
        "execution_id": "slack/{event:id}",
        "outcome": [{"when": {"event.type": "app_mention"}, "outcome": "start"}],
        "args": ["event.channel", "event.text"],
    },
    "generic": {
        "function": "handle_event",
        "execution_id": "webhook/{event:id}",
        "args": [""],
    },
}


def example(preset: str, action: str) -> Any:
    """Return a mapping that fits what the sender really sends."""
    return (_START if action == "start" else _SETTLE)[preset]
