"""Reads a request whose signature is known to be right: its body as JSON, and its event's id."""

import hashlib
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from dashboard.descriptions.reading import DescriptionError, check_shape
from dashboard.models import WebhookAction, WebhookEndpoint
from dashboard.webhooks.mapping import SettleMapping, StartMapping, read_settle, read_start
from dashboard.webhooks.paths import Event, MissingError, Template

FORM = "application/x-www-form-urlencoded"
FORM_PAYLOAD = "payload"
MAX_EVENT_ID = 300
MAX_FIELDS = 1000


class MalformedError(ValueError):
    """The body cannot be read, or the event has no id."""


def mapping_of(endpoint: WebhookEndpoint) -> SettleMapping | StartMapping:
    """Return what an endpoint makes of events."""
    read = read_settle if endpoint.action == WebhookAction.SETTLE else read_start
    return read(endpoint.mapping, "mapping")


def read_event(endpoint: WebhookEndpoint, headers: Mapping[str, str], body: bytes) -> Event:
    """Return the event that a request reports; raises ``MalformedError``."""
    lowered = {name.lower(): text for name, text in headers.items()}
    is_form = lowered.get("content-type", "").partition(";")[0].strip().lower() == FORM
    event = Event(_read_form(body) if is_form else read_json(body), lowered)
    return Event(event.body, lowered, _event_id(endpoint, event, body))


def read_challenge(event_body: Any) -> str | None:
    """Return what Slack wants to hear again when an address is entered there."""
    match event_body:
        case {"type": "url_verification", "challenge": str(challenge)}:
            return challenge
    return None


def read_json(body: bytes | str) -> Any:
    """Return what a text of JSON says; raises ``MalformedError``."""
    try:
        value = msgspec.json.decode(body)
        check_shape(value, "body")
    except (msgspec.DecodeError, DescriptionError, RecursionError, UnicodeError) as error:
        msg = f"the body is not JSON that can be used: {error}"
        raise MalformedError(msg) from None
    return value


def _read_form(body: bytes) -> Any:
    """Read a form; one with a field ``payload`` carries JSON in it, as GitHub and Slack do."""
    try:
        fields = dict(
            parse_qsl(
                body.decode(), keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="strict"
            )
        )
        check_shape(fields, "body")
    except (ValueError, DescriptionError) as error:
        msg = f"the body is not a form that can be used: {error}"
        raise MalformedError(msg) from None
    return read_json(fields[FORM_PAYLOAD]) if FORM_PAYLOAD in fields else fields


def _event_id(endpoint: WebhookEndpoint, event: Event, body: bytes) -> str:
    if endpoint.preset == "slack" and read_challenge(event.body) is not None:
        return ""
    if not endpoint.event_id:
        return f"sha256-{hashlib.sha256(body).hexdigest()}"
    try:
        event_id = Template.read(endpoint.event_id, "event_id").render(event)
    except MissingError as error:
        msg = f"the event has no id: {error}"
        raise MalformedError(msg) from None
    if len(event_id) > MAX_EVENT_ID:
        msg = f"the event's id is longer than {MAX_EVENT_ID} characters"
        raise MalformedError(msg)
    return event_id
