import json
import re

import pytest
from django.test import Client
from django.urls import reverse

from dashboard.models import (
    Action,
    AuditEntry,
    TargetKind,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookEvent,
    WebhookSecret,
)
from dashboard.webhooks import keys, logbook
from dashboard.webhooks.examples import example
from durable.models import Promise
from durable.protocol.states import PromiseState
from tests.dashboard.hooks import SECRET, SETTLE, headers_of, make_endpoint, post, pull_request
from tests.dashboard.people import ask_bare, client_of, make_user

pytestmark = [pytest.mark.django_db, pytest.mark.once]

Outcome = WebhookDelivery.Outcome
NEW = "/webhooks/new/?preset={}&action={}"


@pytest.fixture
def wim():
    return client_of(make_user("wim", rights=("manage_webhooks",), first_name="Wim"))


def fields(**changes):
    given = {
        "name": "Reviews",
        "slug": "reviews",
        "event_id": "{header:X-GitHub-Delivery}",
        "mapping": json.dumps(SETTLE),
        "networks": "",
        "max_bytes": "100000",
    } | changes
    return {name: value for name, value in given.items() if value is not None}


def generic(**changes):
    return fields(
        **{
            "event_id": "{id}",
            "signature_header": "X-Sig",
            "algorithm": "sha512",
            "encoding": "base64",
            "signature_prefix": "",
            "signed": "{timestamp}:{body}",
            "timestamp": "X-Time",
            "tolerance_s": "60",
        }
        | changes
    )


def shown_secret(response):
    return re.search(r'id="secret">([^<]+)<', response.text)[1]


def errors(response):
    return {name: list(found) for name, found in response.context["form"].errors.items()}


# --- Who sees what ---


def addresses():
    endpoint = make_endpoint(secrets=("first secret", "second secret"))
    ask_bare("pr-7-review")
    post(endpoint, pull_request(), secret="first secret")
    delivery, secret = WebhookDelivery.objects.get(), WebhookSecret.objects.first()
    return [
        ("get", reverse("signoff:webhooks")),
        ("get", reverse("signoff:new_webhook")),
        ("post", NEW.format("github", "settle")),
        *(
            (method, reverse(f"signoff:{name}", args=[endpoint.slug]))
            for method, name in (
                ("get", "webhook"),
                ("get", "edit_webhook"),
                ("post", "edit_webhook"),
                ("get", "test_webhook"),
                ("post", "test_webhook"),
                ("post", "rotate_webhook"),
            )
        ),
        ("post", reverse("signoff:retire_webhook_secret", args=[endpoint.slug, secret.pk])),
        ("get", reverse("signoff:webhook_delivery", args=[endpoint.slug, delivery.pk])),
        ("post", reverse("signoff:deliver_webhook_again", args=[endpoint.slug, delivery.pk])),
    ]


def state():
    return [
        list(model.objects.order_by("pk").values_list())
        for model in (WebhookEndpoint, WebhookSecret, WebhookEvent, WebhookDelivery, AuditEntry)
    ]


def test_strangers_find_nothing_and_change_nothing():
    stranger = client_of(
        make_user("eve", rights=("settle_any", "view_executions", "view_webhookendpoint"))
    )
    sleeper = make_user("ines", rights=("manage_webhooks",))
    found = addresses()
    before = state()

    for method, address in found:
        assert getattr(stranger, method)(address).status_code == 404, address
        response = getattr(Client(), method)(address)
        assert (response.status_code, response["Location"][:16]) == (302, "/accounts/login/")
    client = client_of(sleeper)
    sleeper.is_active = False
    sleeper.save()
    for method, address in found:
        assert getattr(client, method)(address).status_code == 302, address
    assert state() == before


def test_pages_are_there_for_those_who_manage_webhooks_and_change_nothing_by_get(wim):
    found = addresses()
    before = state()

    for method, address in found:
        if method == "get":
            response = wim.get(address)
            assert response.status_code == 200, address
            assert (
                response["Cache-Control"]
                == "max-age=0, no-cache, no-store, must-revalidate, private"
            )
        else:
            is_form = address.endswith(("edit/", "test/")) or "new/" in address
            assert wim.get(address).status_code == (200 if is_form else 405), address
    assert state() == before


def test_changes_need_the_token_of_the_form(wim):
    found = addresses()
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = wim.cookies
    for method, address in found:
        if method == "post":
            assert strict.post(address).status_code == 403, address


@pytest.mark.parametrize(
    "path",
    [
        "nobody/",
        "nobody/edit/",
        "nobody/test/",
        "reviews/deliveries/99/",
        "reviews/deliveries/99999999999999999999999/",
    ],
)
def test_what_is_not_there_is_404(wim, path):
    make_endpoint()
    assert wim.get(f"/webhooks/{path}").status_code == 404


def test_deliveries_and_secrets_belong_to_their_endpoint(wim):
    first, _second = (
        make_endpoint("one", secrets=("first secret", "other secret")),
        make_endpoint("two"),
    )
    post(first, b"{}", {})
    delivery, secret = WebhookDelivery.objects.get(), first.secrets.first()

    assert wim.get(f"/webhooks/two/deliveries/{delivery.pk}/").status_code == 404
    assert wim.post(f"/webhooks/two/deliveries/{delivery.pk}/again/").status_code == 404
    assert wim.post(f"/webhooks/two/secrets/{secret.pk}/retire/").status_code == 404


def test_navigation_leads_there_for_those_who_may(wim):
    assert 'href="/webhooks/"' in wim.get("/inbox/").text
    assert 'href="/webhooks/"' not in client_of(make_user("jon")).get("/inbox/").text


# --- Setting up ---


def test_endpoint_is_made_and_its_secret_shown_once(wim):
    assert "GitHub" in wim.get("/webhooks/new/").text
    response = wim.post(NEW.format("github", "settle"), fields())

    assert response.status_code == 201
    secret = shown_secret(response)
    assert "http://testserver/hooks/reviews/" in response.text
    endpoint = WebhookEndpoint.objects.get()
    assert keys.live_secrets(endpoint) == [secret]
    assert len(secret) >= 43
    for address in ("/webhooks/", "/webhooks/reviews/", "/webhooks/reviews/edit/"):
        assert secret not in wim.get(address).text
    assert f"•••{secret[-4:]}" in wim.get("/webhooks/reviews/").text
    ask_bare("pr-7-review")
    assert post(endpoint, pull_request(), secret=secret).status_code == 200


def test_new_endpoint_is_in_the_audit_trail_without_its_secret(wim):
    secret = shown_secret(wim.post(NEW.format("github", "settle"), fields()))

    entry = AuditEntry.objects.get(target="reviews")
    assert (entry.action, entry.target_kind) == (Action.ADD, TargetKind.WEBHOOK)
    assert (entry.actor_name, entry.sign_in) == ("Wim", "session")
    assert entry.details["after"]["mapping"] == SETTLE
    assert secret not in json.dumps(entry.details)


def test_sender_that_makes_the_secret_itself(wim):
    mapping = json.dumps(example("stripe", "settle"))
    given = fields(slug="pay", event_id="{id}", tolerance_s="300", mapping=mapping)

    response = wim.post(NEW.format("stripe", "settle"), given)
    assert (response.status_code, list(errors(response))) == (422, ["secret"])
    response = wim.post(NEW.format("stripe", "settle"), given | {"secret": "whsec_of_stripe"})

    assert response.status_code == 201
    assert "whsec_of_stripe" not in response.text
    assert keys.live_secrets(WebhookEndpoint.objects.get()) == ["whsec_of_stripe"]


@pytest.mark.parametrize("preset", ["github", "stripe", "slack", "generic"])
@pytest.mark.parametrize("action", ["settle", "start"])
def test_form_begins_with_what_can_be_saved(wim, preset, action):
    address = NEW.format(preset, action)
    form = wim.get(address).context["form"]
    given = {name: form.get_initial_for_field(field, name) for name, field in form.fields.items()}
    given |= {"name": "N", "slug": "n", "secret": "a secret of theirs"}

    response = wim.post(address, {k: v for k, v in given.items() if v is not None})

    assert response.status_code == 201, errors(response)


def test_signature_of_a_sender_of_ones_own(wim):
    response = wim.post(NEW.format("generic", "settle"), generic())

    endpoint = WebhookEndpoint.objects.get()
    secret = shown_secret(response)
    headers = headers_of(endpoint, b'{"id": 1, "action": "x"}', secret=secret)
    assert set(headers) == {"Content-Type", "X-Time", "X-Sig"}
    assert post(endpoint, b'{"id": 1, "action": "x"}', headers).status_code == 200


@pytest.mark.parametrize(
    ("changes", "field", "problem"),
    [
        ({"name": ""}, "name", "required"),
        ({"slug": "a b"}, "slug", "valid"),
        ({"slug": "new"}, "slug", "taken"),
        ({"slug": "taken"}, "slug", "Another webhook"),
        ({"slug": "TAKEN"}, "slug", "Another webhook"),
        ({"secret": "short"}, "secret", "at least 8"),
        ({"signature_header": "X Sig"}, "signature_header", "letters, digits"),
        ({"algorithm": "md5"}, "algorithm", "valid choice"),
        ({"encoding": "rot13"}, "encoding", "valid choice"),
        ({"signed": "{timestamp}"}, "signed", "{body} once"),
        ({"signed": "{body}{body}"}, "signed", "{body} once"),
        ({"signed": "{timestamp}.{body}{id}"}, "signed", "{body} once"),
        ({"signed": "{body}"}, "signed", "not signed can be changed"),
        ({"timestamp": ""}, "timestamp", "where the time is"),
        ({"timestamp": "a b"}, "timestamp", "Name a header"),
        ({"tolerance_s": "0"}, "tolerance_s", "greater"),
        ({"event_id": "id"}, "event_id", "in braces"),
        ({"event_id": "{event:id}"}, "event_id", "in braces"),
        ({"event_id": "{id"}, "event_id", "brace"),
        ({"mapping": "{"}, "mapping", "not JSON"),
        ({"mapping": "[" * 5000}, "mapping", ""),
        ({"mapping": "{}"}, "mapping", "mapping.promise_id: is missing"),
        ({"mapping": '{"promise_id": "{a"}'}, "mapping", "mapping.promise_id: has a brace"),
        ({"networks": "10.0.0.0/8\nnowhere"}, "networks", "nowhere is neither"),
        ({"max_bytes": "99999999999"}, "max_bytes", "less"),
    ],
)
def test_mistakes_are_told_beside_the_fields_and_the_input_stays(wim, changes, field, problem):
    make_endpoint("taken")

    response = wim.post(NEW.format("generic", "settle"), generic(name="Kept") | changes)

    assert response.status_code == 422
    found = errors(response)
    assert list(found) == [field]
    assert problem in found[field][0]
    if field != "name":
        assert 'value="Kept"' in response.text
    assert WebhookEndpoint.objects.count() == 1


@pytest.mark.parametrize("query", ["?preset=x&action=settle", "?preset=github", "?action=start"])
def test_kind_that_is_none_is_asked_for_again(wim, query):
    assert wim.get(f"/webhooks/new/{query}").status_code == 422


def test_endpoint_is_changed_and_the_trail_has_both_sides(wim):
    endpoint = make_endpoint()
    given = fields(name="Pull requests", networks="10.0.0.7/8\n\n::1", is_active="on")

    response = wim.post("/webhooks/reviews/edit/", given)

    assert (response.status_code, response["Location"]) == (303, "/webhooks/reviews/")
    endpoint.refresh_from_db()
    assert (endpoint.name, endpoint.networks) == ("Pull requests", ["10.0.0.0/8", "::1/128"])
    entry = AuditEntry.objects.get(target="reviews")
    assert entry.action == Action.CHANGE
    assert entry.details == {
        "before": {"name": "Reviews", "networks": []},
        "after": {"name": "Pull requests", "networks": ["10.0.0.0/8", "::1/128"]},
    }


def test_endpoint_is_switched_off_and_renamed(wim):
    endpoint = make_endpoint()

    response = wim.post("/webhooks/reviews/edit/", fields(slug="prs"))

    assert response["Location"] == "/webhooks/prs/"
    endpoint.refresh_from_db()
    assert not endpoint.is_active
    assert "switched off" in wim.get("/webhooks/prs/").text
    assert post(endpoint, pull_request()).status_code == 404


def test_what_is_saved_as_it_was_is_no_change(wim):
    make_endpoint()
    wim.post("/webhooks/reviews/edit/", fields(is_active="on"))
    assert not AuditEntry.objects.exists()


# --- Secrets ---


def rotate(client, newest=None, **data):
    newest = WebhookSecret.objects.latest("pk").pk if newest is None else newest
    return client.post("/webhooks/reviews/secrets/", {"newest": newest} | data)


def test_another_secret_is_shown_once_and_both_count(wim):
    endpoint = make_endpoint()
    first = WebhookSecret.objects.get()

    response = rotate(wim, first.pk)

    assert response.status_code == 201
    assert keys.live_secrets(endpoint) == [shown_secret(response), SECRET]
    entry = AuditEntry.objects.get(target="reviews")
    assert entry.details["before"] == {"secrets": [f"…{SECRET[-4:]}"]}
    assert len(entry.details["after"]["secrets"]) == 2


def test_page_that_is_loaded_again_makes_no_other_secret(wim):
    endpoint = make_endpoint()
    first = WebhookSecret.objects.get()
    made = shown_secret(rotate(wim, first.pk))

    response = wim.post("/webhooks/reviews/secrets/", {"newest": first.pk}, follow=True)

    assert "no other was made" in response.text
    assert keys.live_secrets(endpoint) == [made, SECRET]


def test_secret_that_is_no_good_is_refused(wim):
    endpoint = make_endpoint(preset="stripe")
    first = WebhookSecret.objects.get()
    for secret in ("", "short"):
        response = rotate(wim, first.pk, secret=secret)
        assert response.status_code == 303
    assert keys.live_secrets(endpoint) == [SECRET]


def test_old_secret_ends_and_the_last_one_stays(wim):
    endpoint = make_endpoint(secrets=("first secret", "second secret"))
    old, new = WebhookSecret.objects.order_by("pk")

    assert wim.post(f"/webhooks/reviews/secrets/{old.pk}/retire/").status_code == 303
    assert keys.live_secrets(endpoint) == ["second secret"]
    response = wim.post(f"/webhooks/reviews/secrets/{new.pk}/retire/", follow=True)
    assert "The last secret stays" in response.text
    assert keys.live_secrets(endpoint) == ["second secret"]
    assert AuditEntry.objects.filter(target="reviews").count() == 1


def test_secret_that_cannot_be_read_any_more_is_said(wim, settings):
    make_endpoint()
    WebhookSecret.objects.update(sealed="gone")
    assert "cannot be read" in wim.get("/webhooks/reviews/").text


# --- The log ---


def fill(endpoint, count):
    ask_bare("pr-7-review")
    for number in range(count):
        post(endpoint, pull_request(), event=f"e-{number}")


def ids_on(response):
    return re.findall(r'title="(e-\d+)"', response.text)


def test_log_is_read_page_by_page_whatever_comes_in(wim, monkeypatch):
    monkeypatch.setattr(logbook, "PAGE_SIZE", 2)
    endpoint = make_endpoint()
    fill(endpoint, 5)

    first = wim.get("/webhooks/reviews/")
    assert ids_on(first) == ["e-4", "e-3"]
    post(endpoint, pull_request(), event="e-9")
    second = wim.get("/webhooks/reviews/?" + first.context["older_query"])
    assert ids_on(second) == ["e-2", "e-1"]
    third = wim.get("/webhooks/reviews/?" + second.context["older_query"])
    assert ids_on(third) == ["e-0"]
    assert 'rel="next"' not in third.text


def test_log_is_filtered_by_outcome(wim):
    endpoint = make_endpoint()
    fill(endpoint, 2)
    post(endpoint, b"{}", {})

    assert ids_on(wim.get("/webhooks/reviews/?outcome=resolved")) == ["e-0"]
    assert ids_on(wim.get("/webhooks/reviews/?outcome=late")) == ["e-1"]
    assert "wrong signature" in wim.get("/webhooks/reviews/?outcome=unsigned").text
    assert "No request ended so" in wim.get("/webhooks/reviews/?outcome=stale").text
    assert ids_on(wim.get("/webhooks/reviews/?outcome=nonsense&before=x")) == ["e-1", "e-0"]
    assert wim.get("/webhooks/reviews/?outcome=%00").status_code == 404


def test_pages_take_a_fixed_number_of_queries(wim, django_assert_max_num_queries):
    endpoint = make_endpoint()
    fill(endpoint, 10)
    with django_assert_max_num_queries(10):
        wim.get("/webhooks/reviews/")
    for number in range(5):
        make_endpoint(f"w{number}")
    with django_assert_max_num_queries(7):
        wim.get("/webhooks/")


def test_delivery_shows_what_came_and_what_the_mapping_makes_of_it(wim):
    endpoint = make_endpoint()
    fill(endpoint, 1)

    page = wim.get(f"/webhooks/reviews/deliveries/{WebhookDelivery.objects.get().pk}/").text

    for text in ("octocat", "X-Github-Delivery", "pr-7-review", "merged_by", "settled already"):
        assert text in page
    assert "•••" in page


def test_body_is_text_and_not_markup(wim):
    endpoint = make_endpoint()
    body = b'{"action": "<script>alert(1)</script>"}'
    post(endpoint, body)
    post(endpoint, b"<script>alert(2)</script>", {"X-Hub-Signature-256": "<script>", "X-A": "<b>"})

    for row in WebhookDelivery.objects.all():
        page = wim.get(f"/webhooks/reviews/deliveries/{row.pk}/").text
        assert "<script>alert" not in page
        assert "&lt;script&gt;" in page


# --- Delivering again ---


def again(client, row):
    return client.post(f"/webhooks/reviews/deliveries/{row.pk}/again/", follow=True)


def test_delivery_is_applied_again_under_todays_mapping(wim):
    endpoint = make_endpoint()
    ask_bare("pr-7-review")
    ask_bare("other-7")
    post(endpoint, pull_request())
    WebhookEndpoint.objects.update(mapping=SETTLE | {"promise_id": "other-{pull_request.number}"})
    first = WebhookDelivery.objects.get()

    response = again(wim, first)

    assert "Delivered again: resolved" in response.text
    second = WebhookDelivery.objects.latest("pk")
    assert (second.outcome, second.promise_id) == (Outcome.RESOLVED, "other-7")
    assert (second.redelivery_of, second.redelivered_by.username) == (first, "wim")
    assert second.raw == first.raw
    assert Promise.objects.get(pk="other-7").state == PromiseState.RESOLVED
    assert f"deliveries/{first.pk}/" in response.text
    assert f"deliveries/{second.pk}/" in wim.get(f"/webhooks/reviews/deliveries/{first.pk}/").text


def test_who_delivers_again_is_in_the_audit_trail(wim):
    endpoint = make_endpoint()
    post(endpoint, pull_request())  # nothing waits yet
    ask_bare("pr-7-review")
    first = WebhookDelivery.objects.get()

    again(wim, first)

    entry = AuditEntry.objects.get(target="pr-7-review")
    assert (entry.actor_name, entry.sign_in) == ("Wim", "session")
    assert entry.details == {"webhook": "reviews", "event": "e-1", "redelivery_of": str(first.pk)}
    assert post(endpoint, pull_request()).json() == {"status": "already applied"}


def test_delivery_of_what_is_settled_settles_nothing_twice(wim):
    endpoint = make_endpoint()
    fill(endpoint, 1)
    assert "already settled" in again(wim, WebhookDelivery.objects.get()).text
    assert AuditEntry.objects.filter(target="pr-7-review", is_effective=True).count() == 1


def test_delivery_that_nobody_signed_is_not_delivered_again(wim):
    endpoint = make_endpoint()
    ask_bare("pr-7-review")
    post(endpoint, pull_request(), {})
    row = WebhookDelivery.objects.get()

    assert "Deliver again" not in wim.get(f"/webhooks/reviews/deliveries/{row.pk}/").text
    assert "cannot be delivered again" in again(wim, row).text
    assert Promise.objects.get(pk="pr-7-review").state == PromiseState.PENDING
    assert WebhookDelivery.objects.count() == 1


def test_start_is_delivered_again_to_the_same_execution(wim):
    endpoint = make_endpoint(preset="stripe", action="start")
    post(endpoint, b'{"id": "evt_1"}')
    assert "already started" in again(wim, WebhookDelivery.objects.get()).text
    assert Promise.objects.count() == 1


# --- The tester ---


def try_it(client, headers, body):
    text = "\n".join(f"{name}: {value}" for name, value in headers.items())
    return client.post("/webhooks/reviews/test/", {"headers": text, "body": body})


def test_pasted_request_says_what_it_would_do_and_does_nothing(wim):
    endpoint = make_endpoint()
    ask_bare("pr-7-review")
    before = state()

    response = try_it(wim, headers_of(endpoint, pull_request()), pull_request().decode())

    result = response.context["result"]
    assert (result.verdict, result.outcome, result.status) == ("genuine", Outcome.RESOLVED, 200)
    for text in ("200 resolved", "pr-7-review", "it waits", "merged_by"):
        assert text in response.text
    assert Promise.objects.get(pk="pr-7-review").state == PromiseState.PENDING
    assert state() == before


@pytest.mark.parametrize("ending", ["", "\n", "\r\n"])
def test_pasted_lines_are_signed_whatever_the_browser_makes_of_them(wim, ending):
    endpoint = make_endpoint()
    body = '{"action":\n "opened"\n}' + ending
    if ending == "\r\n":
        body = body.replace("\n", "\r\n").replace("\r\r", "\r")
    headers = headers_of(endpoint, body.encode())

    response = try_it(wim, headers, body.replace("\r\n", "\n").replace("\n", "\r\n"))

    assert response.context["result"].verdict == "genuine"
    assert response.context["result"].outcome == Outcome.IGNORED


@pytest.mark.parametrize(
    ("options", "verdict", "answer"),
    [
        ({}, "genuine", "404 unknown promise"),
        ({"secret": "another secret"}, "wrong", "401 wrong signature"),
        ({"at": 1_600_000_000}, "stale", "401 stale timestamp"),
    ],
)
def test_tester_tells_what_is_wrong(wim, options, verdict, answer):
    endpoint = make_endpoint(preset="stripe", mapping=SETTLE)
    body = json.dumps(json.loads(pull_request()) | {"id": "evt_1"})

    response = try_it(wim, headers_of(endpoint, body.encode(), **options), body)

    assert response.context["result"].verdict == verdict
    assert answer in response.text
    assert "nothing waits under this id" in response.text


def test_tester_knows_what_was_applied_and_what_was_started(wim):
    endpoint = make_endpoint(preset="stripe", action="start")
    body = '{"id": "evt_1", "amount": 5}'
    headers = headers_of(endpoint, body.encode())
    assert "not started yet" in try_it(wim, headers, body).text
    post(endpoint, body.encode())

    response = try_it(wim, headers, body)
    assert response.context["result"].outcome == Outcome.REPEATED
    assert "was started already" in response.text


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("{", "is not JSON"),
        ('{"action": "closed"}', "pull_request.number is missing"),
        ('{"action": "x"}', "the event is ignored"),
    ],
)
def test_tester_reads_the_body_though_nobody_signed_it(wim, body, text):
    make_endpoint()
    response = try_it(wim, {"X-GitHub-Delivery": "e"}, body)
    assert response.context["result"].verdict == "unsigned"
    assert text in response.text


def test_tester_of_an_endpoint_that_is_off(wim):
    endpoint = make_endpoint(is_active=False)
    response = try_it(wim, headers_of(endpoint, pull_request()), pull_request().decode())
    assert "404 not found" in response.text


def test_headers_that_are_none_are_told(wim):
    make_endpoint()
    response = wim.post("/webhooks/reviews/test/", {"headers": "no header", "body": "{}"})
    assert response.status_code == 422
    assert "no header is not of the form" in response.text


# --- Admin ---


def test_admin_shows_deliveries_and_endpoints_to_be_read(admin_client):
    endpoint = make_endpoint()
    fill(endpoint, 1)
    row = WebhookDelivery.objects.get()

    for model, pk in (("webhookdelivery", row.pk), ("webhookendpoint", endpoint.pk)):
        assert admin_client.get(f"/admin/signoff/{model}/").status_code == 200
        page = admin_client.get(f"/admin/signoff/{model}/{pk}/change/")
        assert page.status_code == 200
        assert SECRET not in page.text
        assert admin_client.post(f"/admin/signoff/{model}/{pk}/change/", {}).status_code == 403
        assert admin_client.post(f"/admin/signoff/{model}/{pk}/delete/", {}).status_code == 403
