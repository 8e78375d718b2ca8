"""A release that GitHub reports on, in signed requests; one of them is forged."""

import json
from collections.abc import Mapping
from typing import Any

from dashboard.models import WebhookEndpoint
from dashboard.webhooks import endpoints, examples, keys, presets
from dashboard.webhooks.forms import EndpointForm
from dashboard.webhooks.receiving import Incoming, receive
from dashboard.webhooks.signatures import sign
from examples.company import release
from examples.story import actors

_ADDRESS = "203.0.113.40"


def make_webhooks() -> None:
    _make_webhook("github", "settle", "pull-requests", "Pull requests")
    _make_webhook("stripe", "start", "shop-payments", "Shop payments")


def _make_webhook(preset: str, action: str, slug: str, name: str) -> None:
    given = {
        "name": name,
        "slug": slug,
        "event_id": presets.PRESETS[preset].event_id,
        "mapping": json.dumps(examples.example(preset, action)),
        "networks": "",
        "max_bytes": "100000",
        "tolerance_s": str(presets.PRESETS[preset].scheme.tolerance),
        "secret": keys.make_secret(),
        "is_active": "on",
    }
    form = EndpointForm(preset, action, given)
    if not form.is_valid():
        raise ValueError(form.errors.as_text())
    endpoints.make_endpoint(preset, action, form.columns, given["secret"], actors.actor("olga"))


def start_release() -> None:
    actors.by("olga").start("release-2.4", release, "2.4", 128)


def _post(event: str, body: Mapping[str, Any], *, signed_with: str = "") -> None:
    """Send what GitHub would send."""
    endpoint = WebhookEndpoint.objects.get(slug="pull-requests")
    raw = json.dumps(body).encode()
    signature = sign(endpoint.scheme, signed_with or keys.live_secrets(endpoint)[0], raw, "")
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "GitHub-Hookshot/8a2f01c",
        "X-GitHub-Event": "pull_request",
        "X-GitHub-Delivery": event,
        endpoint.signature_header: signature,
    }
    receive(endpoint, Incoming(headers, raw, len(raw), _ADDRESS))


def _pull_request(number: int, action: str, *, merged: bool = False) -> dict[str, Any]:
    return {
        "action": action,
        "pull_request": {
            "number": number,
            "merged": merged,
            "merged_by": {"login": "nbecker"} if merged else None,
            "head": {"sha": "b7e23ec29af22b0b4e41da31e868d57226121c84"},
        },
        "sender": {"login": "nbecker"},
    }


def open_pull_request() -> None:
    _post("5f1d6c20-8b7e-11f0", _pull_request(128, "opened"))


def merge_pull_request() -> None:
    merged = _pull_request(128, "closed", merged=True)
    _post("9ac03b54-8b91-11f0", merged)
    _post("9ac03b54-8b91-11f0", merged)
    _post("a04417e2-8b91-11f0", _pull_request(131, "closed"))
    _post("b3c8d9f0-8b92-11f0", merged, signed_with="what somebody guessed")
