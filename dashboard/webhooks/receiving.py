"""Takes requests of other systems: checks, acts once an event, and keeps a log of all of them."""

import ipaddress
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from django.db import IntegrityError, transaction

from dashboard.answering import Actor
from dashboard.auditing import Author, acting, record
from dashboard.descriptions.reading import DescriptionError
from dashboard.models import Action, SignIn, WebhookDelivery, WebhookEndpoint, WebhookEvent
from dashboard.webhooks.applying import Effect, apply
from dashboard.webhooks.keys import live_secrets
from dashboard.webhooks.mapping import Settle, Start, UnmappedError
from dashboard.webhooks.paths import Event
from dashboard.webhooks.reading import MalformedError, mapping_of, read_challenge, read_event
from dashboard.webhooks.signatures import Verdict, check
from durable.clock import now_ms
from durable.conf import database_alias
from durable.protocol.states import PromiseState

logger = logging.getLogger(__name__)

KEPT_UNVERIFIED = 4096
MASKED = "•••"
MAX_HEADER = 2000
MAX_ID = 1024
MAX_PROBLEM = 1000
_LARGEST = 2**31 - 1
_SECRET_HEADER = re.compile(
    r"authorization|cookie|signature|token|secret|password|api-?key", re.IGNORECASE
)

Outcome = WebhookDelivery.Outcome

STATUS = {
    Outcome.UNKNOWN: 404,
    Outcome.UNMAPPED: 422,
    Outcome.MALFORMED: 400,
    Outcome.UNSIGNED: 401,
    Outcome.STALE: 401,
    Outcome.FORBIDDEN: 403,
    Outcome.TOO_LARGE: 413,
    Outcome.INACTIVE: 404,
    Outcome.FAILED: 500,
}
"""HTTP status by outcome; the rest is 200, but see ``status_of``."""

WORDS = {
    Outcome.RESOLVED: "resolved",
    Outcome.REJECTED: "rejected",
    Outcome.STARTED: "started",
    Outcome.REPEATED: "already applied",
    Outcome.LATE: "already settled",
    Outcome.RUNNING: "already started",
    Outcome.IGNORED: "ignored",
    Outcome.CHALLENGE: "confirmed",
    Outcome.UNKNOWN: "unknown promise",
    Outcome.UNMAPPED: "does not fit the mapping",
    Outcome.MALFORMED: "not readable",
    Outcome.UNSIGNED: "wrong signature",
    Outcome.STALE: "stale timestamp",
    Outcome.FORBIDDEN: "address not allowed",
    Outcome.TOO_LARGE: "too large",
    Outcome.INACTIVE: "not found",
    Outcome.FAILED: "failed",
}
"""What the sender is told, in the language of programs."""

_FINAL = frozenset(
    {Outcome.RESOLVED, Outcome.REJECTED, Outcome.STARTED, Outcome.RUNNING, Outcome.LATE}
)
"""After these an event is not acted upon again; after others it may be sent again and be."""

_PROBLEMS = {
    Verdict.UNSIGNED: "the header with the signature is missing, or has not the expected form",
    Verdict.UNDATED: "the time of the signature is missing, or no number of seconds",
    Verdict.WRONG: "no live secret of this endpoint signed this body",
    Verdict.STALE: "the time of the signature is further away than the endpoint tolerates",
}


@dataclass(frozen=True, slots=True)
class Incoming:
    """A request; ``body`` is None when it was too large to be read, and ``size`` what it is."""

    headers: Mapping[str, str]
    body: bytes | None
    size: int
    ip: str | None


class Answer(NamedTuple):
    """What the sender is told. ``challenge``: what Slack wants to hear again."""

    delivery_id: int
    outcome: WebhookDelivery.Outcome
    status: int
    problem: str = ""
    state: str = ""
    challenge: str = ""


@dataclass(frozen=True, slots=True)
class _Log:
    """Makes the row of a delivery."""

    endpoint: WebhookEndpoint
    incoming: Incoming
    is_verified: bool
    event_id: str = ""
    original: WebhookDelivery | None = None
    actor: Actor | None = None

    def write(self, effect: Effect, *, challenge: str = "") -> Answer:
        status = status_of(self.endpoint, effect.outcome)
        body = self.incoming.body or b""
        row = WebhookDelivery.objects.using(database_alias()).create(
            endpoint=self.endpoint,
            received_at=now_ms(),
            ip=self.incoming.ip,
            headers=_kept_headers(self.endpoint, self.incoming.headers),
            body=body if self.is_verified else body[:KEPT_UNVERIFIED],
            size=min(self.incoming.size, _LARGEST),
            is_verified=self.is_verified,
            event_id=self.event_id,
            outcome=effect.outcome,
            status=status,
            promise_id=effect.promise_id[:MAX_ID],
            problem=effect.problem[:MAX_PROBLEM],
            redelivery_of=self.original,
            redelivered_by_id=None if self.actor is None else self.actor.user.pk,
        )
        return Answer(row.pk, effect.outcome, status, effect.problem, effect.state, challenge)

    @property
    def author(self) -> Actor | Author:
        if self.actor is not None:
            return self.actor
        return Author(self.endpoint.name, SignIn.WEBHOOK, ip=self.incoming.ip)

    @property
    def details(self) -> Mapping[str, str]:
        found = {"webhook": self.endpoint.slug, "event": self.event_id}
        if self.original is not None:
            found["redelivery_of"] = str(self.original.pk)
        return found


def receive(endpoint: WebhookEndpoint, incoming: Incoming) -> Answer:
    """Take a request; whatever becomes of it is in the log."""
    log = _Log(endpoint, incoming, is_verified=False)
    if not endpoint.is_active:
        return log.write(Effect(Outcome.INACTIVE))
    if not is_allowed(endpoint.networks, incoming.ip):
        return log.write(Effect(Outcome.FORBIDDEN, problem=f"the request came from {incoming.ip}"))
    if incoming.body is None:
        problem = f"the body is longer than {endpoint.max_bytes} bytes"
        return log.write(Effect(Outcome.TOO_LARGE, problem=problem))
    verdict = check(
        endpoint.scheme, live_secrets(endpoint), incoming.headers, incoming.body, now_ms() / 1000
    )
    if verdict is not Verdict.GENUINE:
        outcome = Outcome.STALE if verdict is Verdict.STALE else Outcome.UNSIGNED
        return log.write(Effect(outcome, problem=_PROBLEMS[verdict]))
    return _handle(_Log(endpoint, incoming, is_verified=True), incoming.body)


def redeliver(delivery: WebhookDelivery, actor: Actor) -> Answer:
    """Read a genuine request once more, under today's mapping, whether or not it was acted upon.

    Raises ``ValueError`` for one that was not genuine when it came.
    """
    if not delivery.is_verified:
        msg = "only what was signed is delivered again"
        raise ValueError(msg)
    incoming = Incoming(delivery.headers, delivery.raw, delivery.size, delivery.ip)
    log = _Log(delivery.endpoint, incoming, is_verified=True, original=delivery, actor=actor)
    return _handle(log, delivery.raw)


def status_of(endpoint: WebhookEndpoint, outcome: WebhookDelivery.Outcome) -> int:
    """Return the HTTP status that an outcome is told with."""
    if outcome is Outcome.LATE and not endpoint.accepts_late_news:
        return 409
    return STATUS.get(outcome, 200)


def is_allowed(networks: list[str], ip: str | None) -> bool:
    """Whether an address is in one of the networks; with none given every address is."""
    if not networks:
        return True
    if ip is None:
        return False
    address = ipaddress.ip_address(ip)
    address = getattr(address, "ipv4_mapped", None) or address
    return any(address in ipaddress.ip_network(one) for one in networks)


def is_seen(endpoint: WebhookEndpoint, event_id: str) -> bool:
    """Whether an event was acted upon."""
    found = WebhookEvent.objects.using(database_alias())
    return found.filter(endpoint=endpoint, event_id=event_id).exists()


def _handle(log: _Log, body: bytes) -> Answer:
    """Act upon a genuine request."""
    endpoint = log.endpoint
    try:
        event = read_event(endpoint, log.incoming.headers, body)
    except MalformedError as error:
        return log.write(Effect(Outcome.MALFORMED, problem=str(error)))
    if endpoint.preset == "slack" and (challenge := read_challenge(event.body)) is not None:
        return log.write(Effect(Outcome.CHALLENGE), challenge=challenge)
    log = _Log(endpoint, log.incoming, log.is_verified, event.id, log.original, log.actor)
    try:
        return _act(log, event)
    except Exception:
        logger.exception(
            "A webhook could not be acted upon",
            extra={"action": "signoff_webhook_failed", "endpoint": endpoint.slug},
        )
        return log.write(Effect(Outcome.FAILED, problem="see the log of the server"))


def _act(log: _Log, event: Event) -> Answer:
    endpoint = log.endpoint
    is_again = log.original is not None
    if not is_again and is_seen(endpoint, event.id):
        return log.write(Effect(Outcome.REPEATED))
    try:
        plan = mapping_of(endpoint).plan(event)
    except (UnmappedError, DescriptionError) as error:
        return log.write(Effect(Outcome.UNMAPPED, problem=str(error)))
    if plan is None:
        return log.write(Effect(Outcome.IGNORED))
    with transaction.atomic(using=database_alias()):
        # Of the same request sent twice at once, the second waits here for the first.
        claim = _claim(endpoint, event.id)
        if claim is None and not is_again:
            return log.write(Effect(Outcome.REPEATED))
        effect = _apply(log, plan)
        if claim is not None and effect.outcome not in _FINAL:
            claim.delete()
        return log.write(effect)


def _apply(log: _Log, plan: Settle | Start) -> Effect:
    with acting(log.author, details=log.details):
        effect = apply(log.endpoint, plan)
    if effect.outcome is Outcome.LATE:
        record(
            Action.SETTLE,
            effect.promise_id,
            log.author,
            before=PromiseState(effect.state),
            after=PromiseState(effect.state),
            details=log.details,
            is_effective=False,
        )
    return effect


def _claim(endpoint: WebhookEndpoint, event_id: str) -> WebhookEvent | None:
    """Note that an event is acted upon; None when it was before."""
    using = database_alias()
    try:
        with transaction.atomic(using=using):
            return WebhookEvent.objects.using(using).create(
                endpoint=endpoint, event_id=event_id, seen_at=now_ms()
            )
    except IntegrityError:
        return None


def _kept_headers(endpoint: WebhookEndpoint, headers: Mapping[str, str]) -> dict[str, str]:
    """Return headers for the log: what signs or signs in is not for its readers."""
    return {
        _printable(name): MASKED
        if name.lower() == endpoint.signature_header.lower() or _SECRET_HEADER.search(name)
        else _printable(text)
        for name, text in headers.items()
    }


def _printable(text: str) -> str:
    return text.replace("\0", "")[:MAX_HEADER]
