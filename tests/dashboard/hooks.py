"""Makers of webhooks, and of requests as their senders make them."""

import json
import time
from typing import Any

from django.test import Client

from dashboard.models import WebhookEndpoint
from dashboard.webhooks.keys import add_secret
from dashboard.webhooks.presets import PRESETS
from dashboard.webhooks.signatures import sign
from durable.clock import now_ms

SECRET = "a secret of two systems"

SETTLE = {
    "promise_id": "pr-{pull_request.number}-review",
    "outcome": [
        {"when": {"action": "closed", "pull_request.merged": True}, "outcome": "resolve"},
        {"when": {"action": "closed"}, "outcome": "reject", "reason": "closed by {sender.login}"},
    ],
    "value": {"merged_by": "sender.login"},
}
START = {
    "function": "handle_payment",
    "execution_id": "webhook/{event:id}",
    "args": ["amount"],
    "kwargs": {"customer": "customer"},
    "target": "nobody",
}


# One for all: its handler loads the middleware once, which takes longer than a request.
_sender = Client(enforce_csrf_checks=True)


def make_endpoint(
    slug: str = "reviews",
    *,
    preset: str = "github",
    action: str = "settle",
    secrets: tuple[str, ...] = (SECRET,),
    **columns: Any,
) -> WebhookEndpoint:
    known = PRESETS[preset]
    scheme = known.scheme
    given = {
        "name": slug.title(),
        "signature_header": scheme.header,
        "algorithm": scheme.algorithm,
        "encoding": scheme.encoding,
        "signature_prefix": scheme.prefix,
        "signed": scheme.signed,
        "timestamp": scheme.timestamp,
        "tolerance_s": scheme.tolerance,
        "event_id": known.event_id,
        "max_bytes": 100_000,
        "mapping": SETTLE if action == "settle" else START,
        "made_at": now_ms(),
        "changed_at": now_ms(),
    } | columns
    endpoint = WebhookEndpoint.objects.create(slug=slug, preset=preset, action=action, **given)
    for secret in secrets:
        add_secret(endpoint, secret)
    return endpoint


def pull_request(number: int = 7, *, action: str = "closed", merged: bool = True) -> bytes:
    return json.dumps(
        {
            "action": action,
            "pull_request": {"number": number, "merged": merged},
            "sender": {"login": "octocat"},
        }
    ).encode()


def headers_of(
    endpoint: WebhookEndpoint,
    body: bytes,
    *,
    event: str = "e-1",
    secret: str = SECRET,
    at: float | None = None,
) -> dict[str, str]:
    """What the sender puts beside a body."""
    scheme = endpoint.scheme
    timestamp = str(int(time.time() if at is None else at)) if scheme.timestamp else ""
    signature = sign(scheme, secret, body, timestamp)
    found = {"Content-Type": "application/json"}
    if endpoint.preset == "github":
        found["X-GitHub-Delivery"] = event
    if scheme.timestamp.endswith("="):
        signature = f"{scheme.timestamp}{timestamp},{signature}"
    elif scheme.timestamp:
        found[scheme.timestamp] = timestamp
    return found | {scheme.header: signature}


def post(
    endpoint: WebhookEndpoint,
    body: bytes,
    headers: dict[str, str] | None = None,
    *,
    client: Client | None = None,
    **options: Any,
) -> Any:
    """Send a body as the sender does: signed, unless headers are given."""
    headers = dict(headers_of(endpoint, body, **options) if headers is None else headers)
    kind = headers.pop("Content-Type", "application/json")
    return (client or _sender).post(
        f"/hooks/{endpoint.slug}/", data=body, content_type=kind, headers=headers
    )
