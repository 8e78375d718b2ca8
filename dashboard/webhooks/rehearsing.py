"""Says what a request would do, step by step; changes nothing."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from dashboard.descriptions.reading import DescriptionError
from dashboard.models import WebhookDelivery, WebhookEndpoint
from dashboard.webhooks.applying import Effect, foresee
from dashboard.webhooks.keys import live_secrets
from dashboard.webhooks.mapping import Settle, Start, UnmappedError
from dashboard.webhooks.reading import MalformedError, mapping_of, read_challenge, read_event
from dashboard.webhooks.receiving import is_seen, status_of
from dashboard.webhooks.signatures import Verdict, check
from durable.clock import now_ms

Outcome = WebhookDelivery.Outcome


class Reading(NamedTuple):
    """What the mapping makes of a body; ``effect`` is what would be done now."""

    effect: Effect
    event_id: str = ""
    body: Any = None
    settle: Settle | None = None
    start: Start | None = None


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What would become of a request, and with which status it would be answered."""

    verdict: Verdict
    reading: Reading
    outcome: WebhookDelivery.Outcome
    status: int


def rehearse(endpoint: WebhookEndpoint, headers: Mapping[str, str], text: str) -> Rehearsal:
    """Say what becomes of a request that somebody pasted.

    A browser sends lines with other ends than they may have had, so several spellings are tried.
    """
    body, verdict = _likeliest(endpoint, headers, text)
    reading = read(endpoint, headers, body)
    outcome = reading.effect.outcome
    if verdict is not Verdict.GENUINE:
        outcome = Outcome.STALE if verdict is Verdict.STALE else Outcome.UNSIGNED
    elif reading.event_id and is_seen(endpoint, reading.event_id):
        outcome = Outcome.REPEATED
    if not endpoint.is_active:
        outcome = Outcome.INACTIVE
    return Rehearsal(verdict, reading, outcome, status_of(endpoint, outcome))


def read(endpoint: WebhookEndpoint, headers: Mapping[str, str], body: bytes) -> Reading:
    """Say what today's mapping makes of a body, as if it had come now for the first time."""
    try:
        event = read_event(endpoint, headers, body)
    except MalformedError as error:
        return Reading(Effect(Outcome.MALFORMED, problem=str(error)))
    if endpoint.preset == "slack" and read_challenge(event.body) is not None:
        return Reading(Effect(Outcome.CHALLENGE), "", event.body)
    try:
        plan = mapping_of(endpoint).plan(event)
    except (UnmappedError, DescriptionError) as error:
        effect = Effect(Outcome.UNMAPPED, problem=str(error))
        return Reading(effect, event.id, event.body)
    if plan is None:
        return Reading(Effect(Outcome.IGNORED), event.id, event.body)
    effect = foresee(plan)
    if isinstance(plan, Settle):
        return Reading(effect, event.id, event.body, settle=plan)
    return Reading(effect, event.id, event.body, start=plan)


def parse_headers(text: str) -> dict[str, str]:
    """Read lines of ``Name: value``; raises ``ValueError`` with the line that is none."""
    found = {}
    for line in text.splitlines():
        if not line.strip():
            continue
        name, colon, value = line.partition(":")
        if not colon or not name.strip():
            raise ValueError(line.strip())
        found[name.strip()] = value.strip()
    return found


def _likeliest(
    endpoint: WebhookEndpoint, headers: Mapping[str, str], text: str
) -> tuple[bytes, Verdict]:
    plain = text.replace("\r\n", "\n")
    tried = dict.fromkeys(one.encode() for one in (plain, plain.rstrip("\n"), f"{plain}\n", text))
    secrets = live_secrets(endpoint)
    now = now_ms() / 1000
    found = [(body, check(endpoint.scheme, secrets, headers, body, now)) for body in tried]
    signed = [one for one in found if one[1] in {Verdict.GENUINE, Verdict.STALE}]
    return (signed or found)[0]
