"""Pages on webhooks: endpoints, their secrets, the log of what came in, and a tester."""

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from dashboard.answering import Actor
from dashboard.models import Preset, WebhookAction, WebhookDelivery, WebhookEndpoint, WebhookSecret
from dashboard.payloads import Payload
from dashboard.permissions import MANAGE_WEBHOOKS, VIEW_EXECUTIONS, has
from dashboard.views.inbox import for_holders_of
from dashboard.webhooks import endpoints, keys, logbook
from dashboard.webhooks.forms import EndpointForm, KindForm, RequestForm, SecretForm
from dashboard.webhooks.receiving import WORDS, redeliver
from dashboard.webhooks.rehearsing import Reading, read, rehearse
from durable.clock import now_ms
from durable.conf import database_alias

_FOLDER = "dashboard/webhooks"
LIST = f"{_FOLDER}/list.html"
KIND = f"{_FOLDER}/kind.html"
FORM = f"{_FOLDER}/form.html"
SECRET = f"{_FOLDER}/secret.html"
ENDPOINT = f"{_FOLDER}/endpoint.html"
DELIVERY = f"{_FOLDER}/delivery.html"
TEST = f"{_FOLDER}/test.html"

_MAX_DIGITS = 18

for_managers = for_holders_of(MANAGE_WEBHOOKS)


@for_managers
@require_safe
def index(request: HttpRequest) -> HttpResponse:
    """List endpoints."""
    return _page(request, LIST, {"endpoints": logbook.list_endpoints()})


@for_managers
@require_http_methods(["GET", "HEAD", "POST"])
def new(request: HttpRequest) -> HttpResponse:
    """Ask who sends and what for, then for the rest; on POST, make the endpoint."""
    kind = KindForm(request.GET or None)
    if not kind.is_valid():
        return _page(request, KIND, {"form": kind}, 422 if kind.is_bound else 200)
    preset, action = kind.cleaned_data["preset"], kind.cleaned_data["action"]
    form = EndpointForm(preset, action, request.POST or None)
    if form.is_valid():
        secret = form.cleaned_data["secret"] or keys.make_secret()
        try:
            endpoint = endpoints.make_endpoint(
                preset, action, form.columns, secret, Actor.of(request)
            )
        except endpoints.TakenError:
            form.add_error("slug", _("Another webhook has this address."))
        else:
            return _show_secret(request, endpoint, secret, is_made=not form.cleaned_data["secret"])
    context = {"form": form, "preset": Preset(preset), "action": WebhookAction(action)}
    return _page(request, FORM, context, 422 if form.is_bound else 200)


@for_managers
@require_safe
def show(request: HttpRequest, slug: str) -> HttpResponse:
    """Show an endpoint and its log."""
    endpoint = _endpoint_or_404(slug)
    outcome = request.GET.get("outcome", "")
    if outcome not in WebhookDelivery.Outcome.values:
        outcome = ""
    before = _number(request.GET.get("before", ""))
    page = logbook.read_page(endpoint, outcome=outcome, before=before)
    context = {
        "endpoint": endpoint,
        "address": request.build_absolute_uri(reverse("signoff:hook", args=[slug])),
        "secrets": _secrets(endpoint),
        "secret_form": SecretForm(endpoint, endpoints.newest_secret(endpoint)),
        "page": page,
        "outcome": outcome,
        "outcomes": WebhookDelivery.Outcome.choices,
        "is_first": before is None,
        "older_query": _query(outcome=outcome, before=page.older),
        "newest_query": _query(outcome=outcome),
    }
    return _page(request, ENDPOINT, context)


@for_managers
@require_http_methods(["GET", "HEAD", "POST"])
def edit(request: HttpRequest, slug: str) -> HttpResponse:
    """Change an endpoint."""
    endpoint = _endpoint_or_404(slug)
    form = EndpointForm(endpoint.preset, endpoint.action, request.POST or None, endpoint=endpoint)
    if form.is_valid():
        try:
            endpoints.change_endpoint(endpoint, form.columns, Actor.of(request))
        except endpoints.TakenError:
            form.add_error("slug", _("Another webhook has this address."))
        else:
            messages.success(request, _("Saved."))
            return _see(form.columns["slug"])
    context = {
        "form": form,
        "endpoint": endpoint,
        "preset": Preset(endpoint.preset),
        "action": WebhookAction(endpoint.action),
    }
    return _page(request, FORM, context, 422 if form.is_bound else 200)


@for_managers
@require_POST
def rotate(request: HttpRequest, slug: str) -> HttpResponse:
    """Add a secret, and show it this once."""
    endpoint = _endpoint_or_404(slug)
    form = SecretForm(endpoint, 0, request.POST)
    if not form.is_valid():
        messages.error(request, " ".join(str(one) for some in form.errors.values() for one in some))
        return _see(slug)
    secret = form.cleaned_data["secret"] or keys.make_secret()
    try:
        endpoints.rotate(endpoint, secret, form.cleaned_data["newest"], Actor.of(request))
    except endpoints.RotatedError:
        messages.error(request, _("There is a newer secret already; no other was made."))
        return _see(slug)
    return _show_secret(request, endpoint, secret, is_made=not form.cleaned_data["secret"])


@for_managers
@require_POST
def retire(request: HttpRequest, slug: str, secret_id: int) -> HttpResponse:
    """End a secret at once."""
    endpoint = _endpoint_or_404(slug)
    secret = get_object_or_404(endpoint.secrets.select_related("endpoint"), pk=secret_id)
    if endpoints.retire(secret, Actor.of(request)):
        messages.success(request, _("What is signed with it is refused from now on."))
    else:
        messages.error(request, _("The last secret stays: add another first, or switch it off."))
    return _see(slug)


@for_managers
@require_safe
def delivery(request: HttpRequest, slug: str, delivery_id: int) -> HttpResponse:
    """Show one request, what became of it, and what today's mapping makes of it."""
    endpoint = _endpoint_or_404(slug)
    one = _delivery_or_404(endpoint, delivery_id)
    reading = read(endpoint, one.headers, one.raw) if one.is_whole else None
    context = {
        "endpoint": endpoint,
        "delivery": one,
        "shown": logbook.show(one.outcome),
        "headers": sorted(one.headers.items()),
        "body": _body(reading, one.raw),
        "again": logbook.deliveries_of(endpoint).filter(redelivery_of=one).only("pk"),
        "may_see_run": has(request.user, VIEW_EXECUTIONS),
        **_made_of(reading),
    }
    return _page(request, DELIVERY, context)


@for_managers
@require_POST
def deliver_again(request: HttpRequest, slug: str, delivery_id: int) -> HttpResponse:
    """Act upon a request once more, under today's mapping."""
    endpoint = _endpoint_or_404(slug)
    one = _delivery_or_404(endpoint, delivery_id)
    try:
        answer = redeliver(one, Actor.of(request))
    except ValueError:
        messages.error(request, _("Nobody signed this: it cannot be delivered again."))
        return _see_delivery(slug, one.pk)
    label = str(WebhookDelivery.Outcome(answer.outcome).label)
    messages.success(request, _("Delivered again: %(outcome)s") % {"outcome": label})
    return _see_delivery(slug, answer.delivery_id)


@for_managers
@require_http_methods(["GET", "HEAD", "POST"])
def test(request: HttpRequest, slug: str) -> HttpResponse:
    """Say what a pasted request would do; it does nothing."""
    endpoint = _endpoint_or_404(slug)
    form = RequestForm(request.POST or None)
    context: dict[str, Any] = {"endpoint": endpoint, "form": form}
    if form.is_valid():
        result = rehearse(endpoint, form.cleaned_data["headers"], form.cleaned_data["body"])
        context |= {
            "result": result,
            "shown": logbook.show(result.outcome),
            "words": WORDS[result.outcome],
            **_made_of(result.reading),
        }
    return _page(request, TEST, context, 422 if form.is_bound and not form.is_valid() else 200)


def _page(
    request: HttpRequest, template: str, context: dict[str, Any], status: int = 200
) -> HttpResponse:
    shared = {"section": "webhooks", "now": now_ms()}
    return render(request, template, shared | context, status=status)


def _show_secret(
    request: HttpRequest, endpoint: WebhookEndpoint, secret: str, *, is_made: bool
) -> HttpResponse:
    context = {
        "endpoint": endpoint,
        "address": request.build_absolute_uri(reverse("signoff:hook", args=[endpoint.slug])),
        "secret": secret if is_made else "",
    }
    return _page(request, SECRET, context, 201)


def _secrets(endpoint: WebhookEndpoint) -> list[tuple[WebhookSecret, bool]]:
    """Return live secrets, and whether each can still be read."""
    found = []
    for row in keys.live_rows(endpoint):
        try:
            keys.unseal(row.sealed)
        except keys.SealedError:
            found.append((row, False))
        else:
            found.append((row, True))
    return found


def _made_of(reading: Reading | None) -> dict[str, Any]:
    """Return what a mapping makes of a body, as the pages show it."""
    if reading is None:
        return {}
    plan = reading.settle or reading.start
    value = None
    if reading.settle is not None:
        value = reading.settle.value
    elif reading.start is not None:
        value = {"args": list(reading.start.args), "kwargs": dict(reading.start.kwargs)}
    return {
        "reading": reading,
        "plan": plan,
        "value": _payload(value),
        "effect": logbook.show(reading.effect.outcome),
    }


def _body(reading: Reading | None, raw: bytes) -> Payload:
    if reading is not None and reading.body is not None:
        return _payload(reading.body)
    return Payload(is_empty=not raw, text=raw.decode(errors="replace"))


def _payload(value: Any) -> Payload:
    return Payload(is_empty=value is None, is_json=True, value=value)


def _endpoint_or_404(slug: str) -> WebhookEndpoint:
    return get_object_or_404(WebhookEndpoint.objects.using(database_alias()), slug=slug)


def _delivery_or_404(endpoint: WebhookEndpoint, delivery_id: int) -> WebhookDelivery:
    rows = logbook.deliveries_of(endpoint).select_related("endpoint", "redelivered_by")
    return get_object_or_404(rows, pk=delivery_id)


def _number(text: str) -> int | None:
    is_number = text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS
    return int(text) if is_number else None


def _query(**parts: Any) -> str:
    query = QueryDict(mutable=True)
    query.update({name: value for name, value in parts.items() if value})
    return query.urlencode()


def _see(slug: str) -> HttpResponse:
    return HttpResponseRedirect(reverse("signoff:webhook", args=[slug]), status=303)


def _see_delivery(slug: str, delivery_id: int) -> HttpResponse:
    address = reverse("signoff:webhook_delivery", args=[slug, delivery_id])
    return HttpResponseRedirect(address, status=303)
