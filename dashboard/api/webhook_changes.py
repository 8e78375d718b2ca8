"""Webhooks as operators set them up: endpoints, their secrets, what a request would do."""

import json
from typing import Annotated, Any, NoReturn

from django.utils.translation import gettext as _
from msgspec import UNSET, Meta, Struct, UnsetType

from dashboard.api.filling import given_in, require_valid
from dashboard.api.lookups import row_of
from dashboard.api.operations import Call, operation
from dashboard.api.problems import ProblemError, Wrong, refuse
from dashboard.api.values import MAX_NUMBER
from dashboard.api.webhooks import EndpointShown, endpoint_of
from dashboard.models import Preset, WebhookAction
from dashboard.permissions import MANAGE_WEBHOOKS
from dashboard.webhooks import endpoints, keys
from dashboard.webhooks.forms import EndpointForm, SecretForm
from dashboard.webhooks.receiving import WORDS
from dashboard.webhooks.rehearsing import rehearse


class EndpointFields(Struct, forbid_unknown_fields=True, kw_only=True):
    """An endpoint. How requests are signed is asked only for senders that are not known here.

    What is left out is as the page suggests it, or stays.
    """

    name: str | UnsetType = UNSET
    slug: str | UnsetType = UNSET
    signature_header: str | UnsetType = UNSET
    algorithm: str | UnsetType = UNSET
    encoding: str | UnsetType = UNSET
    signature_prefix: str | UnsetType = UNSET
    signed: str | UnsetType = UNSET
    timestamp: str | UnsetType = UNSET
    tolerance_s: int | UnsetType = UNSET
    event_id: str | UnsetType = UNSET
    networks: list[str] | UnsetType = UNSET
    max_bytes: int | UnsetType = UNSET
    mapping: Any | UnsetType = UNSET


class NewEndpoint(EndpointFields, forbid_unknown_fields=True, kw_only=True):
    """An endpoint that is made. Without ``secret`` one is made, where the sender brings none."""

    preset: Preset
    action: WebhookAction
    name: str
    slug: str
    secret: str = ""


class EndpointChange(EndpointFields, forbid_unknown_fields=True, kw_only=True):
    """What is changed of an endpoint."""

    is_active: bool | UnsetType = UNSET


class EndpointMade(Struct):
    """An endpoint, and the secret that was made for it: it is shown this once."""

    endpoint: EndpointShown
    secret: str


class SecretBody(Struct, forbid_unknown_fields=True):
    """The next secret, made here if left out; ``newest`` is the id of the last that one knows."""

    newest: Annotated[int, Meta(ge=0, le=MAX_NUMBER)]
    secret: str = ""


class RehearsalBody(Struct, forbid_unknown_fields=True):
    """A request, as its sender would make it."""

    body: Annotated[str, Meta(max_length=500_000)]
    headers: dict[str, str] = {}


class Rehearsed(Struct):
    """What would become of a request, and how it would be answered.

    verdict: of its signature. outcome, status: of the whole. promise, problem: what its mapping
    leads to, or why to nothing.
    """

    verdict: str
    outcome: str
    answer: str
    status: int
    event_id: str
    promise: str
    problem: str


@operation(
    "POST",
    "webhooks",
    body=NewEndpoint,
    result=EndpointMade,
    statuses=(201,),
    permission=MANAGE_WEBHOOKS,
)
def make_webhook(call: Call) -> EndpointMade:
    """Make an address that another system posts to."""
    body: NewEndpoint = call.body
    given = given_in(body)
    preset, action = given.pop("preset"), given.pop("action")
    form = _filled(EndpointForm(preset, action), given)
    secret = form.cleaned_data["secret"] or keys.make_secret()
    try:
        made = endpoints.make_endpoint(preset, action, form.columns, secret, call.actor)
    except endpoints.TakenError:
        _refuse_taken()
    return EndpointMade(EndpointShown.of(call, made), "" if body.secret else secret)


@operation(
    "PATCH",
    "webhooks/{slug}",
    body=EndpointChange,
    result=EndpointShown,
    permission=MANAGE_WEBHOOKS,
)
def change_webhook(call: Call, slug: str) -> EndpointShown:
    """Change one of these addresses, or switch it off."""
    endpoint = endpoint_of(slug)
    form = EndpointForm(endpoint.preset, endpoint.action, endpoint=endpoint)
    try:
        endpoints.change_endpoint(endpoint, _filled(form, given_in(call.body)).columns, call.actor)
    except endpoints.TakenError:
        _refuse_taken()
    endpoint.refresh_from_db()
    return EndpointShown.of(call, endpoint)


@operation(
    "POST",
    "webhooks/{slug}/secrets",
    body=SecretBody,
    result=EndpointMade,
    statuses=(201,),
    permission=MANAGE_WEBHOOKS,
    refusals=(409,),
)
def rotate_webhook_secret(call: Call, slug: str) -> EndpointMade:
    """Add a secret; the one before it stays good until it is retired."""
    endpoint = endpoint_of(slug)
    form = SecretForm(endpoint, 0, given_in(call.body))
    require_valid(form)
    given = form.cleaned_data
    secret = given["secret"] or keys.make_secret()
    try:
        endpoints.rotate(endpoint, secret, given["newest"], call.actor)
    except endpoints.RotatedError:
        sentence = _("There is a newer secret already; no other was made.")
        raise ProblemError(409, sentence) from None
    return EndpointMade(EndpointShown.of(call, endpoint), "" if given["secret"] else secret)


@operation(
    "POST",
    "webhooks/{slug}/secrets/{secret_id}/retire",
    result=EndpointShown,
    permission=MANAGE_WEBHOOKS,
    refusals=(409,),
)
def retire_webhook_secret(call: Call, slug: str, secret_id: int) -> EndpointShown:
    """End a secret at once: what is signed with it is refused from now on."""
    endpoint = endpoint_of(slug)
    secret = row_of(endpoint.secrets.select_related("endpoint"), secret_id)
    if not endpoints.retire(secret, call.actor):
        raise ProblemError(409, _("The last secret stays: add another first, or switch it off."))
    return EndpointShown.of(call, endpoint)


@operation(
    "POST",
    "webhooks/{slug}/rehearse",
    body=RehearsalBody,
    result=Rehearsed,
    permission=MANAGE_WEBHOOKS,
)
def rehearse_webhook(call: Call, slug: str) -> Rehearsed:
    """Say what a request would do; it does nothing."""
    body: RehearsalBody = call.body
    found = rehearse(endpoint_of(slug), body.headers, body.body)
    effect = found.reading.effect
    return Rehearsed(
        verdict=found.verdict,
        outcome=found.outcome,
        answer=WORDS[found.outcome],
        status=found.status,
        event_id=found.reading.event_id,
        promise=effect.promise_id,
        problem=effect.problem,
    )


def _filled(form: EndpointForm, given: dict[str, Any]) -> EndpointForm:
    """Fill in the form of the page, of which the rest stays as it begins."""
    if unknown := [name for name in given if name not in form.fields]:
        raise ProblemError(
            422, errors=[Wrong(one, _("This is known of such a sender.")) for one in unknown]
        )
    if "mapping" in given:
        given["mapping"] = json.dumps(given["mapping"], ensure_ascii=False)
    if "networks" in given:
        given["networks"] = "\n".join(given["networks"])
    filled = EndpointForm(
        form.preset, form.action, {**form.initial, **given}, endpoint=form.endpoint
    )
    require_valid(filled)
    return filled


def _refuse_taken() -> NoReturn:
    refuse("slug", _("Another webhook has this address."))
