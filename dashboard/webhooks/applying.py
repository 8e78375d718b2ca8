"""Does what an event asks for: settles a promise or starts an execution, through the engine."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import durable
from dashboard.confirming import takes_a_person
from dashboard.models import WebhookDelivery, WebhookEndpoint
from dashboard.sweep import latent_promises
from dashboard.votes import lock_questions
from dashboard.webhooks.mapping import Outcome, Settle, Start
from durable import promises
from durable.clock import now_ms
from durable.conf import database_alias
from durable.models import Promise
from durable.protocol.states import PromiseState

STARTER = "webhook:"
"""Executions are noted as started by this and the end of the endpoint's address."""

TAKES_A_PERSON = "this question has to be confirmed by a person"

Outcomes = WebhookDelivery.Outcome


class Effect(NamedTuple):
    """What an event did, or would do; ``state`` is that of a promise that was settled before."""

    outcome: WebhookDelivery.Outcome
    promise_id: str = ""
    problem: str = ""
    state: str = ""


def apply(endpoint: WebhookEndpoint, plan: Settle | Start) -> Effect:
    """Settle or start, in the caller's transaction."""
    try:
        return _settle(plan) if isinstance(plan, Settle) else _start(endpoint, plan)
    except durable.PromiseNotFoundError as error:
        return Effect(Outcomes.UNKNOWN, error.promise_id)
    except (durable.DurableError, TypeError) as error:
        return Effect(Outcomes.UNMAPPED, _id_of(plan), str(error))


def foresee(plan: Settle | Start) -> Effect:
    """Say what ``apply`` would do now; nothing is changed."""
    found = Promise.objects.using(database_alias()).filter(pk=_id_of(plan)).first()
    if isinstance(plan, Start):
        outcome = Outcomes.STARTED if found is None else Outcomes.RUNNING
        return Effect(outcome, plan.execution_id)
    if found is None or not _is_latent(plan.promise_id):
        return Effect(Outcomes.UNKNOWN, plan.promise_id)
    if found.state != PromiseState.PENDING or found.timeout_at <= now_ms():
        return Effect(Outcomes.LATE, plan.promise_id, state=found.state)
    if _takes_a_person(plan):
        return Effect(Outcomes.UNMAPPED, plan.promise_id, TAKES_A_PERSON)
    return Effect(_done(plan), plan.promise_id)


def _settle(plan: Settle) -> Effect:
    # Executions and timers are not for others to end: what is below them would go on.
    if not _is_latent(plan.promise_id):
        return Effect(Outcomes.UNKNOWN, plan.promise_id)
    lock_questions([plan.promise_id])  # so that it asks the same until it is settled
    if _takes_a_person(plan):
        return Effect(Outcomes.UNMAPPED, plan.promise_id, TAKES_A_PERSON)
    if plan.outcome is Outcome.RESOLVE:
        settlement = promises.resolve(plan.promise_id, plan.value)
    else:
        reason = plan.reason or "rejected by a webhook"
        settlement = promises.reject(plan.promise_id, reason, _beside(plan.value))
    if not settlement.applied:
        return Effect(Outcomes.LATE, plan.promise_id, state=settlement.promise.state)
    return Effect(_done(plan), plan.promise_id)


def _start(endpoint: WebhookEndpoint, plan: Start) -> Effect:
    is_known = Promise.objects.using(database_alias()).filter(pk=plan.execution_id).exists()
    starter = durable.options(target=plan.target or None, started_by=f"{STARTER}{endpoint.slug}")
    starter.start(plan.execution_id, plan.function, *plan.args, **plan.kwargs)
    return Effect(Outcomes.RUNNING if is_known else Outcomes.STARTED, plan.execution_id)


def _is_latent(promise_id: str) -> bool:
    return latent_promises(database_alias()).filter(pk=promise_id).exists()


def _takes_a_person(plan: Settle) -> bool:
    return takes_a_person(plan.promise_id, resolves=plan.outcome is Outcome.RESOLVE)


def _done(plan: Settle) -> WebhookDelivery.Outcome:
    return Outcomes.RESOLVED if plan.outcome is Outcome.RESOLVE else Outcomes.REJECTED


def _beside(value: Any) -> Mapping[str, Any]:
    """Return what goes beside the message of a rejection."""
    return value if isinstance(value, dict) else {"value": value}


def _id_of(plan: Settle | Start) -> str:
    return plan.promise_id if isinstance(plan, Settle) else plan.execution_id
